"""Random draws on depth: what they keep and what they change."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import base
from edge import preprocess
from edge.joints import KINECT20, KINECT25
from edge.preprocess import FOCAL_LENGTH_PER_WIDTH, Body, DepthSpec, SkeletonSpec
from hartx.data import depth_transforms
from hartx.data.draws import NO_DRAW, BodyDraw, ClipDraw, DepthDraw, draw_clip
from hartx.data.skeleton_transforms import skeleton_clip
from hartx.data.space import body_matrix

DEPTH_SPEC = DepthSpec(4, 32)
FOCAL = FOCAL_LENGTH_PER_WIDTH * 320
MIDDLE = Body(120.0, 160.0, 2500.0)

seeds = st.integers(0, 2**31 - 1)
degrees = st.floats(-40, 40)


def person(row=120, column=160, distance=2800):
    """A box of a person before an empty background."""
    frame = np.zeros((240, 320), np.uint16)
    frame[row - 60 : row + 60, column - 20 : column + 20] = distance
    return frame


DEPTH = [person(column=150 + 5 * i) for i in range(4)]


def depth_of(frames=DEPTH, spec=DEPTH_SPEC, seed=0, draw=NO_DRAW, **drawn):
    """(T, H, W) of a clip with the draws given: those of depth by name, those of all modalities as `draw`."""
    draw = dataclasses.replace(draw, depth=DepthDraw(**drawn)) if drawn else draw
    thinned = preprocess.thin_depth(frames, spec)
    square = depth_transforms.place_square(thinned, spec, draw)
    return depth_transforms.depth_clip(thinned, square, spec, draw.depth, np.random.default_rng(seed))[..., 0]


def picture(point):
    """One frame with a blob of 3 x 3 pixels where a point (x, y, z from the middle, in metres) is seen, and where."""
    x, y, z = 1000 * np.asarray(point)
    distance = MIDDLE.distance_mm + z
    row, column = round(MIDDLE.row - FOCAL * y / distance), round(MIDDLE.column + FOCAL * x / distance)
    frame = np.zeros((240, 320), np.uint16)
    frame[row - 1 : row + 2, column - 1 : column + 2] = round(distance)
    return frame, np.array([row, column, distance])


def place(frame):
    """Mean row, mean column and mean distance of what is seen."""
    rows, columns = np.nonzero(frame)
    return np.array([rows.mean(), columns.mean(), frame[rows, columns].mean()])


def moved(frame, matrix):
    return depth_transforms.move_body(frame[None], MIDDLE, matrix)[0]


coordinates = st.floats(-0.5, 0.5)


@given(st.tuples(coordinates, coordinates, coordinates), degrees, degrees, degrees, st.floats(0.7, 1.3))
def test_a_point_of_the_body_goes_where_the_matrix_sends_a_joint(point, turn, tilt, angle, scale):
    """The very matrix that skeletons are multiplied by, so that the two modalities stay one body."""
    matrix = body_matrix(BodyDraw(turn=turn, tilt=tilt, scale=scale), angle)
    frame, _ = picture(point)
    _, wanted = picture(matrix @ point)
    # A pixel is 9 mm wide at this distance: half of it may end up in the depth.
    assert (np.abs(place(moved(frame, matrix)) - wanted) <= (2.0, 2.0, 20.0)).all()


@settings(max_examples=30)
@given(st.tuples(coordinates, coordinates, coordinates), seeds, st.booleans())
def test_a_joint_comes_to_lie_where_the_depth_around_it_does(point, seed, flip):
    """A blob in the depth frame, a joint in the camera's space: one place in the square that the network sees."""
    frame, (row, column, distance) = picture(point)
    frame[110:130, 150:170] = np.where(frame[110:130, 150:170] == 0, 2500, frame[110:130, 150:170])  # the body
    augment = base.get_config().augment
    augment.flip, augment.tilt_degrees, augment.body_stretch = flip, 10.0, 0.1
    draw = dataclasses.replace(draw_clip(np.random.default_rng(seed), augment), colour=NO_DRAW.colour)
    spec = DepthSpec(1, 160, 2.4)
    placed = depth_transforms.place_square(preprocess.thin_depth([frame], spec), spec, draw)
    joint = np.array([(column - 160) * distance / FOCAL, (120 - row) * distance / FOCAL, distance]) / 1000
    x, y, z = depth_transforms.joints_in_square(np.tile(joint, (1, 20, 1)), placed)[0, 0]

    alone, _ = picture(point)
    blob = alone if placed.matrix is None else depth_transforms.move_body(alone[None], placed.body, placed.matrix)[0]
    if not blob.any():  # moved out of the frame
        return
    seen_row, seen_column, seen_mm = place(blob)
    right = (seen_column - placed.column) / placed.side
    away = (seen_mm - placed.body.distance_mm) / (placed.body.distance_mm * placed.side / FOCAL)
    assert abs((-x if placed.flip else x) - right) < 0.02
    assert abs(y - (placed.row - seen_row) / placed.side) < 0.02
    assert abs(z - away) < 0.02


def test_a_mirrored_body_has_its_hands_exchanged():
    joints = np.random.default_rng(0).normal((0, 0, 2.5), 0.2, (1, 20, 3))
    left, right = KINECT20.index("left_hand"), KINECT20.index("right_hand")
    squares = [
        depth_transforms.place_square(np.stack(DEPTH), DEPTH_SPEC, ClipDraw(flip=flip)) for flip in (False, True)
    ]
    seen, mirrored = (depth_transforms.joints_in_square(joints, square)[0] for square in squares)
    np.testing.assert_allclose(mirrored[left], seen[right] * (-1, 1, 1), rtol=1e-6)
    np.testing.assert_allclose(mirrored[right], seen[left] * (-1, 1, 1), rtol=1e-6)


@given(seeds)
def test_the_identity_keeps_every_pixel_of_the_body(seed):
    rng = np.random.default_rng(seed)
    frame = np.where(rng.uniform(size=(240, 320)) < 0.3, rng.integers(500, 5000, (240, 320)), 0).astype(np.uint16)
    same = moved(frame, np.eye(3))
    np.testing.assert_array_equal(same[frame > 0], frame[frame > 0])


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.5])
def test_a_surface_that_is_scaled_has_no_gaps_and_the_right_size(scale):
    frame = person(distance=2500)
    scaled = moved(frame, scale * np.eye(3))
    rows, columns = np.nonzero(scaled)
    assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == pytest.approx((120 * scale, 40 * scale), abs=2)


def test_the_nearest_surface_hides_the_others():
    frame = person(distance=2500)
    frame[110:130, 100:120] = 2000  # a hand beside the body
    flattened = moved(frame, np.diag([0.0, 1.0, 1.0]))  # everything at one column: in each row the nearest is left
    column = flattened[:, 160]
    assert column[120] == 2000 and column[70] == 2500


def test_a_body_beyond_the_picture_is_cut_off():
    after = moved(person(row=80, distance=2500), 2.0 * np.eye(3))  # 120 pixels high, 80 above the middle
    assert (after[:159, 125:195] > 0).all() and not after[162:].any()


def test_without_a_draw_depth_is_what_the_device_sees():
    np.testing.assert_array_equal(depth_of(draw=NO_DRAW)[..., None], preprocess.prepare_depth(DEPTH, DEPTH_SPEC))


def test_flip_of_depth_agrees_with_flip_of_the_skeleton():
    """A hand that is raised on one side of the depth picture is raised on that side of the skeleton."""
    frame = person()
    frame[60:90, 180:200] = 2800  # raised on the right of the picture, +x of the skeleton
    upper = depth_of([frame], dataclasses.replace(DEPTH_SPEC, num_frames=1), draw=ClipDraw(flip=True))[0, :16]
    assert upper[:, :16].sum() > upper[:, 16:].sum()
    joints = np.zeros((1, 25, 3), np.float32)
    joints[0, KINECT25.index("right_hand")] = (0.3, 0.5, 0)
    joints[0, KINECT25.index("shoulder_center")] = (0, 0.5, 0)
    clip = skeleton_clip(joints, SkeletonSpec(1), ClipDraw(flip=True), np.random.default_rng(0))
    assert clip.reshape(25, 3)[KINECT25.index("left_hand"), 0] < 0


@given(seeds, st.floats(0.01, 0.5))
def test_depth_noise_is_on_the_body_only_and_as_large_as_stated(seed, noise):
    body = np.zeros((4, 32, 32), np.float32)
    body[:, 8:24, 8:24] = 0.5
    changed = depth_transforms.add_depth_noise(body, noise, np.random.default_rng(seed))
    assert (changed[body == 0] == 0).all()
    assert changed.min() >= 0 and changed.max() <= 1
    if noise < 0.2:  # beyond, much of it is clipped
        assert changed[body > 0].std() == pytest.approx(0.5 * noise, rel=0.15)


@given(st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5))
def test_an_erased_box_is_background_and_the_rest_stays(top, left, height, width):
    clip = np.full((3, 32, 32), 0.7, np.float32)
    erased = depth_transforms.erase_box(clip, (top, left, height, width))
    rows, columns = (round(32 * (a + b)) - round(32 * a) for a, b in ((top, height), (left, width)))
    assert ((erased == 0).sum(axis=(1, 2)) == rows * columns).all()
    assert set(np.unique(erased)) <= {np.float32(0), np.float32(0.7)} and (clip == np.float32(0.7)).all()
    assert (erased == erased[:1]).all()


@given(seeds, st.floats(0.05, 0.95))
def test_the_drawn_box_is_inside_and_no_larger_than_stated(seed, largest):
    augment = base.get_config().augment
    augment.depth_erase = largest
    top, left, height, width = draw_clip(np.random.default_rng(seed), augment).depth.erased
    assert 0 < height <= largest and 0 < width <= largest
    assert 0 <= top <= 1 - height and 0 <= left <= 1 - width


@pytest.mark.parametrize("frames", [1, 3])
def test_depth_without_anybody_stays_background(frames):
    augment = base.get_config().augment
    augment.update({"body_stretch": 0.2, "depth_noise": 0.1, "depth_erase": 0.4})
    draw = draw_clip(np.random.default_rng(0), augment)
    assert (depth_of([np.zeros((240, 320), np.uint16)] * frames, draw=draw) == 0).all()


@settings(max_examples=50)
@given(seeds)
def test_every_frame_of_a_clip_gets_the_same_draw(seed):
    augment = base.get_config().augment
    augment.update({"flip": True, "tilt_degrees": 10.0, "body_stretch": 0.2, "body_shear": 0.1, "depth_erase": 0.5})
    clip = depth_of([DEPTH[0]] * 3, draw=draw_clip(np.random.default_rng(seed), augment))
    assert (clip == clip[:1]).all()
    assert clip.min() >= 0 and clip.max() <= 1


def test_flip_mirrors_depth():
    np.testing.assert_array_equal(depth_of(draw=ClipDraw(flip=True)), depth_of()[:, :, ::-1])


def test_the_square_moves_by_shares_of_its_side():
    thinned = preprocess.thin_depth(DEPTH, DEPTH_SPEC)
    draws = (NO_DRAW, ClipDraw(depth=DepthDraw(shift=(0.1, -0.2))))
    still, moved = (depth_transforms.place_square(thinned, DEPTH_SPEC, draw) for draw in draws)
    assert moved.row - still.row == pytest.approx(0.1 * still.side)
    assert moved.column - still.column == pytest.approx(-0.2 * still.side)
