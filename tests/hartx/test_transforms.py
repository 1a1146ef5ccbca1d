"""Random draws on video: what they keep and what they change."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import base
from edge import preprocess
from edge.joints import KINECT25
from edge.preprocess import DepthSpec, SkeletonSpec, VideoSpec
from hartx.data import transforms
from hartx.data.draws import NO_DRAW, ClipDraw, DepthDraw, draw_clip
from hartx.data.skeleton_transforms import map_joints, rotation, skeleton_clip

RNG = np.random.default_rng(0)
VIDEO = [RNG.integers(0, 256, (60, 80, 3), np.uint8) for _ in range(4)]
VIDEO_SPEC = VideoSpec(4, 48, 40)
DEPTH_SPEC = DepthSpec(4, 32)

seeds = st.integers(0, 2**31 - 1)


def person(row=120, column=160, distance=2800):
    """A box of a person before an empty background."""
    frame = np.zeros((240, 320), np.uint16)
    frame[row - 60 : row + 60, column - 20 : column + 20] = distance
    return frame


DEPTH = [person(column=150 + 5 * i) for i in range(4)]


def depth_of(frames=DEPTH, spec=DEPTH_SPEC, seed=0, **drawn):
    """(T, H, W) of a clip with the draws given: those of depth by name, those of all modalities as `draw`."""
    draw = drawn.pop("draw", NO_DRAW)
    draw = dataclasses.replace(draw, depth=DepthDraw(**drawn)) if drawn else draw
    return transforms.depth_clip(frames, spec, draw, np.random.default_rng(seed))[..., 0]


def test_without_a_draw_video_is_what_the_device_sees():
    np.testing.assert_array_equal(
        transforms.video_clip(VIDEO, VIDEO_SPEC, NO_DRAW), preprocess.prepare_video(VIDEO, VIDEO_SPEC)
    )


def test_without_a_draw_depth_is_what_the_device_sees():
    np.testing.assert_array_equal(depth_of(draw=NO_DRAW)[..., None], preprocess.prepare_depth(DEPTH, DEPTH_SPEC))


@settings(max_examples=50)
@given(seeds)
def test_every_frame_of_a_clip_gets_the_same_draw(seed):
    augment = base.get_config().augment
    augment.update({"flip": True, "rgb_scale": (0.5, 1.2), "depth_stretch": 0.2, "depth_erase": 0.5})
    draw = draw_clip(np.random.default_rng(seed), augment)
    video = transforms.video_clip([VIDEO[0]] * 3, VIDEO_SPEC, draw)
    depth = depth_of([DEPTH[0]] * 3, draw=draw)
    for clip in (video, depth):
        assert (clip == clip[:1]).all()
        assert np.isfinite(clip).all()


def test_flip_mirrors_both_video_and_depth():
    flip = ClipDraw(flip=True)
    plain, flipped = (transforms.video_clip(VIDEO, VIDEO_SPEC, draw) for draw in (NO_DRAW, flip))
    np.testing.assert_array_equal(flipped, plain[:, :, ::-1])
    np.testing.assert_array_equal(depth_of(draw=flip), depth_of()[:, :, ::-1])


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


def test_rotation_turns_video_and_skeleton_the_same_way():
    """Counter-clockwise as seen in the picture: what is on the right goes up."""
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[30:34, 50:54] = 255
    spec = VideoSpec(1, 64, 64)
    clip = transforms.video_clip([frame], spec, ClipDraw(angle=45.0))[0, :, :, 0]
    row, _ = np.unravel_index(clip.argmax(), clip.shape)
    assert row < 25
    joints = np.zeros((1, 25, 3), np.float32)
    joints[0, 11] = (1, 0, 0)
    assert map_joints(joints, rotation(0.0, 0.0, 45.0))[0, 11, 1] > 0.5


def test_colour_jitter_at_zero_strength_is_the_identity_and_stays_in_range():
    frame = VIDEO[0]
    assert transforms.jitter_colour(frame, (1.0, 1.0, 1.0, 0.0)) is frame
    changed = transforms.jitter_colour(frame, (1.2, 0.8, 1.2, 0.1))
    assert changed.dtype == np.uint8 and changed.shape == frame.shape and (changed != frame).any()


def test_brightness_and_saturation_do_what_they_say():
    frame = np.full((4, 4, 3), (100, 50, 20), np.uint8)
    np.testing.assert_array_equal(transforms.jitter_colour(frame, (1.5, 1.0, 1.0, 0.0))[0, 0], (150, 75, 30))
    grey = transforms.jitter_colour(frame, (1.0, 1.0, 0.0, 0.0))[0, 0]
    assert len(set(grey.tolist())) == 1


def test_a_third_of_a_turn_of_hue_makes_red_green():
    red = np.full((2, 2, 3), (200, 0, 0), np.uint8)
    turned = transforms.jitter_colour(red, (1.0, 1.0, 1.0, 1 / 3))[0, 0]
    assert turned.argmax() == 1 and turned[0] < 20


@pytest.mark.parametrize("area", [0.3, 0.64, 1.0, 1.4])
def test_a_crop_of_an_area_shows_that_area(area):
    """A picture that gets brighter to the right: the crop's range of brightness is its width."""
    ramp = np.repeat(np.arange(48, dtype=np.uint8)[None, :, None] * 5, 48, 0).repeat(3, 2)
    spec = VideoSpec(1, 48, 40, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    clip = transforms.video_clip([ramp], spec, ClipDraw(area=area))
    assert clip.shape == (1, 40, 40, 3)
    width = (clip[0, 20, -1, 0] - clip[0, 20, 0, 0]) * 255 / 5 + 1
    assert width == pytest.approx(40 * area**0.5, abs=1.1)


@given(seeds)
def test_the_drawn_area_is_within_its_range(seed):
    augment = base.get_config().augment
    augment.rgb_scale = (0.5, 1.2)
    assert 0.5 <= draw_clip(np.random.default_rng(seed), augment).area <= 1.2


def test_depth_stretches_in_height_and_width():
    extent = [np.ptp(np.nonzero(depth_of(stretch=stretch)[0]), axis=1) for stretch in ((1.0, 1.0), (1.5, 0.5))]
    height, width = extent[1] / extent[0]
    assert height == pytest.approx(1.5, abs=0.2) and width == pytest.approx(0.5, abs=0.2)


@given(seeds, st.floats(0.01, 0.5))
def test_depth_noise_is_on_the_body_only_and_as_large_as_stated(seed, noise):
    body = np.zeros((4, 32, 32), np.float32)
    body[:, 8:24, 8:24] = 0.5
    changed = transforms.add_depth_noise(body, noise, np.random.default_rng(seed))
    assert (changed[body == 0] == 0).all()
    assert changed.min() >= 0 and changed.max() <= 1
    if noise < 0.2:  # beyond, much of it is clipped
        assert changed[body > 0].std() == pytest.approx(0.5 * noise, rel=0.15)


@given(st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5))
def test_an_erased_box_is_background_and_the_rest_stays(top, left, height, width):
    clip = np.full((3, 32, 32), 0.7, np.float32)
    erased = transforms.erase_box(clip, (top, left, height, width))
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
    augment.update({"depth_stretch": 0.2, "depth_noise": 0.1, "depth_erase": 0.4})
    draw = draw_clip(np.random.default_rng(0), augment)
    assert (depth_of([np.zeros((240, 320), np.uint16)] * frames, draw=draw) == 0).all()


def test_all_zero_config_draws_nothing():
    """Every field of `config.augment` at 0; a factor on an area is off at 1, and `place` has no strength."""
    augment = base.get_config().augment
    for name, value in augment.items():
        augment[name] = tuple(0.0 for _ in value) if isinstance(value, tuple) else type(value)(0)
    augment.rgb_scale = (1.0, 1.0)
    draw = draw_clip(np.random.default_rng(1), augment)
    assert dataclasses.replace(draw, place=(0.5, 0.5)) == NO_DRAW


def test_the_drawing_of_one_does_not_depend_on_what_is_off():
    """Neither do the earlier draws change with one that is switched on."""
    off, on = base.get_config().augment, base.get_config().augment
    on.update({"inertial_scale": 0.2, "rgb_scale": (0.5, 1.0)})
    plain, more = (draw_clip(np.random.default_rng(5), augment) for augment in (off, on))
    assert plain != more
    assert dataclasses.replace(more, area=1.0, inertial=plain.inertial) == plain
