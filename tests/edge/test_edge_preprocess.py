"""What frames and skeletons become, as properties."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import preprocess
from edge.joints import KINECT20, KINECT25, to_kinect25
from edge.preprocess import DepthSpec, InertialSpec, SkeletonSpec, VideoSpec
from edge.sampling import Track, regular_track

quick = settings(max_examples=25, deadline=None)


# --- colour ---------------------------------------------------------------------------------------


def area_weights(source: int, target: int) -> np.ndarray:
    """Return (target, source): the share of each source pixel that a target pixel covers."""
    edges = np.arange(target + 1) * (source / target)
    pixels = np.arange(source)
    low, high = edges[:-1, None], edges[1:, None]
    overlap = np.clip(np.minimum(high, pixels + 1) - np.maximum(low, pixels), 0, None)
    return overlap / overlap.sum(axis=1, keepdims=True)


@quick
@given(st.integers(24, 90), st.integers(24, 90), st.integers(0, 2**31))
def test_a_frame_becomes_the_mean_over_the_area_that_each_pixel_covers_of_its_middle_square(height, width, seed):
    frame = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    spec = VideoSpec(num_frames=1, resize=20, crop=16, mean=(0, 0, 0), std=(1, 1, 1))
    side = round(0.8 * min(height, width))
    top, left = (height - side) // 2, (width - side) // 2
    weights = area_weights(side, 16)
    expected = np.einsum("ih,hwc,jw->ijc", weights, frame[top : top + side, left : left + side].astype(float), weights)
    np.testing.assert_allclose(preprocess.prepare_video([frame], spec)[0] * 255, expected, atol=1.0)


@quick
@given(st.integers(0, 2**31))
def test_normalising_is_the_formula(seed):
    rng = np.random.default_rng(seed)
    spec = VideoSpec(mean=tuple(rng.uniform(0.1, 0.9, 3)), std=tuple(rng.uniform(0.1, 0.9, 3)))
    frames = rng.integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    expected = (frames / 255 - np.array(spec.mean)) / np.array(spec.std)
    result = preprocess.normalise_video(frames, spec)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_normalising_reads_mirrored_frames_in_their_order():
    frames = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    mirrored = preprocess.normalise_video(frames[:, :, ::-1], VideoSpec())
    np.testing.assert_array_equal(mirrored, preprocess.normalise_video(frames, VideoSpec())[:, :, ::-1])


@quick
@given(st.integers(1, 12), st.integers(1, 12))
def test_a_frame_smaller_than_the_crop_is_enlarged(height, width):
    clip = preprocess.prepare_video([np.full((height, width, 3), 9, np.uint8)], VideoSpec(1, 20, 16))
    assert clip.shape == (1, 16, 16, 3)


# --- depth ----------------------------------------------------------------------------------------


def person(distance_mm: float, row: int = 120, column: int = 160, relief_mm: float = 150) -> np.ndarray:
    """Return 3 depth frames (240, 320) of an upright ellipsoid, as a pinhole camera sees it."""
    pixels_per_m = preprocess.FOCAL_LENGTH_PER_WIDTH * 320 * 1000 / distance_mm
    rows, columns = np.mgrid[:240, :320]
    y, x = (rows - row) / pixels_per_m / 0.8, (columns - column) / pixels_per_m / 0.3
    inside = x**2 + y**2 < 1
    surface = distance_mm - relief_mm * np.sqrt(np.clip(1 - x**2 - y**2, 0, None))
    return np.repeat(np.where(inside, surface, 0).astype(np.uint16)[None], 3, axis=0)


@quick
@given(st.integers(-10, 10), st.integers(-40, 40))
def test_depth_does_not_see_where_in_the_frame_a_person_stands(down, right):
    still = preprocess.prepare_depth(person(3000), DepthSpec(3))
    moved = preprocess.prepare_depth(person(3000, 120 + 2 * down, 160 + 2 * right), DepthSpec(3))
    np.testing.assert_array_equal(moved, still)


@quick
@given(st.floats(2000, 4000))
def test_depth_does_not_see_how_far_away_a_person_stands(distance_mm):
    reference = preprocess.prepare_depth(person(2500), DepthSpec(3))
    assert reference.max() > 0.5
    moved = preprocess.prepare_depth(person(distance_mm), DepthSpec(3))
    assert np.abs(moved - reference).mean() < 0.02  # resampling at the outline


@quick
@given(st.integers(0, 400))
def test_depth_is_relative_to_the_body(further_mm):
    """Adding a distance to all of a body changes the size of the picture, not what is nearer."""
    frames = person(2500)
    moved = np.where(frames > 0, frames + further_mm, 0).astype(np.uint16)
    body, other = preprocess.find_body(frames), preprocess.find_body(moved)
    assert other.distance_mm - body.distance_mm == further_mm
    same_size = DepthSpec(3, extent_m=2.4 * other.distance_mm / body.distance_mm)
    first = preprocess.crop_depth(frames[0], body, DepthSpec(3))
    np.testing.assert_allclose(preprocess.crop_depth(moved[0], other, same_size), first, atol=1e-6)


def test_nearer_is_larger_and_background_is_zero():
    picture = preprocess.prepare_depth(person(2500), DepthSpec(3))[0, ..., 0]
    assert picture[0, 0] == 0
    assert picture[32, 32] == picture.max()
    assert 0 < picture[32, 26] < picture[32, 32]


def test_a_person_at_the_border_is_cropped_with_zeros():
    picture = preprocess.prepare_depth(person(2500, row=20, column=5), DepthSpec(3))
    assert picture.shape == (3, 64, 64, 1)
    assert picture[0, :, 0].max() == 0


def test_frames_without_a_person_are_zero():
    np.testing.assert_array_equal(preprocess.prepare_depth(np.zeros((2, 24, 32), np.uint16), DepthSpec(2)), 0)


def test_depth_in_a_wrong_unit_takes_no_more_memory_than_a_near_person():
    metres = np.full((1, 240, 320), 2, np.uint16)
    assert preprocess.depth_side(preprocess.find_body(metres), 320, DepthSpec(1)) < 3000
    assert preprocess.prepare_depth(metres, DepthSpec(1)).shape == (1, 64, 64, 1)


# --- skeletons ------------------------------------------------------------------------------------


def random_skeletons(seed: int, joints: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(9, joints, 3)).astype(np.float32)


@quick
@given(st.integers(0, 2**31), st.floats(0.2, 5), st.tuples(*[st.floats(-5, 5)] * 3), st.sampled_from([20, 25]))
def test_skeletons_do_not_see_place_and_size(seed, scale, shift, joints):
    given_ = random_skeletons(seed, joints)
    moved = given_ * np.float32(scale) + np.array(shift, np.float32)
    result = preprocess.prepare_skeleton(given_, SkeletonSpec(9))
    np.testing.assert_allclose(preprocess.prepare_skeleton(moved, SkeletonSpec(9)), result, rtol=1e-3, atol=1e-3)


@quick
@given(st.integers(0, 2**31))
def test_the_torso_is_the_unit_and_the_hips_the_origin(seed):
    joints = preprocess.normalise_skeleton(random_skeletons(seed), "kinect20")
    hip, neck = joints[:, KINECT20.index("hip_center")], joints[:, KINECT20.index("shoulder_center")]
    np.testing.assert_allclose(hip.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.median(np.linalg.norm(neck - hip, axis=-1)), 1, rtol=1e-5)


def test_a_walk_stays_visible():
    still = np.repeat(random_skeletons(0)[:1], 9, axis=0)
    walking = still + np.arange(9, dtype=np.float32)[:, None, None] * np.array([0.1, 0, 0], np.float32)
    clip = preprocess.prepare_skeleton(walking, SkeletonSpec(9)).reshape(9, 25, 3)
    assert np.all(np.diff(clip[:, 0, 0]) > 0)


def test_all_joints_at_one_point_stay_finite():
    assert np.isfinite(preprocess.prepare_skeleton(np.ones((4, 20, 3), np.float32), SkeletonSpec(4))).all()


def test_the_twenty_joints_keep_their_names_in_the_larger_layout():
    given_ = random_skeletons(1)
    larger = to_kinect25(given_)
    for name in KINECT20:
        np.testing.assert_array_equal(larger[:, KINECT25.index(name)], given_[:, KINECT20.index(name)])


def test_derived_joints_are_where_their_docstring_says():
    given_ = random_skeletons(2)
    larger = to_kinect25(given_)
    at = {name: larger[:, i] for i, name in enumerate(KINECT25)}
    np.testing.assert_allclose(at["spine_shoulder"], (at["left_shoulder"] + at["right_shoulder"]) / 2)
    np.testing.assert_allclose(at["left_hand_tip"] - at["left_hand"], at["left_hand"] - at["left_wrist"], atol=1e-5)
    np.testing.assert_array_equal(at["right_thumb"], at["right_hand"])
    assert to_kinect25(larger) is larger


@pytest.mark.parametrize("layout, joints", [("kinect25", 21), ("kinect20", 25)])
def test_another_number_of_joints_is_refused(layout, joints):
    with pytest.raises(ValueError, match=rf"\(9, {joints}, 3\) was given"):
        preprocess.normalise_skeleton(random_skeletons(0, joints), layout)


# --- inertial samples -----------------------------------------------------------------------------


@quick
@given(st.integers(0, 2**31), st.floats(0.1, 10))
def test_inertial_units_do_not_follow_the_data(seed, factor):
    """Twice the motion is twice the numbers: nothing is measured on the clip."""
    samples = np.random.default_rng(seed).normal(size=(9, 6)).astype(np.float32)
    clip = preprocess.prepare_inertial(samples, InertialSpec(9))
    larger = preprocess.prepare_inertial(samples * np.float32(factor), InertialSpec(9))
    assert clip.dtype == np.float32
    np.testing.assert_allclose(larger, clip * np.float32(factor), rtol=1e-5)


def test_one_g_and_a_hundred_degrees_a_second_are_one():
    samples = np.tile(np.array([0, 1, 0, 100, 0, -50], np.float32), (3, 1))
    np.testing.assert_allclose(preprocess.prepare_inertial(samples, InertialSpec(3))[1], [0, 1, 0, 1, 0, -0.5])


@pytest.mark.parametrize("shape", [(9, 3), (8, 6), (9, 6, 1)])
def test_inertial_samples_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="inertial samples of shape"):
        preprocess.prepare_inertial(np.zeros(shape, np.float32), InertialSpec(9))


# --- a whole clip ---------------------------------------------------------------------------------


@quick
@given(st.sampled_from([15.0, 30.0, 60.0]), st.integers(2, 48))
def test_a_clip_of_skeletons_does_not_see_the_rate_of_recording(rate_hz, num_frames):
    """The same straight motion of 2 seconds, recorded at another rate, gives the same clip."""
    rng = np.random.default_rng(0)
    still, speed = rng.normal(size=(20, 3)), rng.normal(size=(20, 3))

    def clip(rate_hz):
        time_s = np.arange(round(2 * rate_hz)) / rate_hz
        track = regular_track(still + time_s[:, None, None] * speed, rate_hz)
        spec = {"skeleton": SkeletonSpec(num_frames)}
        return preprocess.prepare_clip({"skeleton": track}, spec, span=(0.0, 1.9))["skeleton"]

    np.testing.assert_allclose(clip(rate_hz), clip(30.0), atol=1e-3)


def test_a_clip_aligns_modalities_by_time():
    """Colour at 15 frames a second and depth at 30: the clip shows the same instants of both."""
    rgb = [np.full((16, 16, 3), i, np.uint8) for i in range(15)]
    depth = np.full((30, 16, 16), 2000, np.uint16)
    specs = {"rgb": VideoSpec(5, 16, 16, (0, 0, 0), (1, 1, 1)), "depth": DepthSpec(5, 16)}
    tracks = {"rgb": regular_track(rgb, 15.0), "depth": regular_track(depth, 30.0)}
    clip = preprocess.prepare_clip(tracks, specs)
    np.testing.assert_allclose(clip["rgb"][:, 0, 0, 0] * 255, [1, 4, 7, 10, 13], atol=1e-4)


def test_inertial_samples_are_aligned_with_the_skeleton_by_time():
    """80 samples and 30 skeletons a second, both of the same slope: the clip shows the same instants of both."""
    time_s = np.arange(160) / 80
    samples = np.tile(time_s[:, None], (1, 6))
    joints = np.zeros((60, 20, 3))
    joints[:, KINECT20.index("shoulder_center"), 1] = 1  # the torso, the unit
    joints[:, KINECT20.index("head"), 0] = np.arange(60) / 30
    tracks = {"skeleton": regular_track(joints, 30.0), "inertial": regular_track(samples, 80.0)}
    specs = {"skeleton": SkeletonSpec(7), "inertial": InertialSpec(7)}
    clip = preprocess.prepare_clip(tracks, specs, span=(0.3, 1.7))
    head = clip["skeleton"].reshape(7, 25, 3)[:, KINECT25.index("head"), 0]
    np.testing.assert_allclose(clip["inertial"][:, 0], head, atol=1e-5)
    np.testing.assert_allclose(clip["inertial"][:, 0], 0.3 + 0.2 * (np.arange(7) + 0.5), atol=1e-5)


def test_frames_of_a_colour_video_are_read_one_at_a_time():
    """Sixteen frames of a 4K video together would be 400 MB."""
    alive = []

    class Frames:
        def __getitem__(self, index):
            assert sum(seen() is not None for seen in alive) <= 1, "a frame is kept while others are read"
            frame = np.full((32, 32, 3), index, np.uint8)
            alive.append(weakref.ref(frame))
            return frame

    track = Track(Frames(), np.arange(20) / 20)
    clip = preprocess.prepare_clip({"rgb": track}, {"rgb": VideoSpec(16, 16, 16)}, span=(0.0, 1.0))
    assert clip["rgb"].shape == (16, 16, 16, 3) and len(alive) == 16


def test_a_missing_modality_is_zeros():
    specs = {"depth": DepthSpec(4, 16), "skeleton": SkeletonSpec(6), "inertial": InertialSpec(5)}
    clip = preprocess.prepare_clip({"skeleton": regular_track(random_skeletons(0), 30.0)}, specs)
    shapes = {name: array.shape for name, array in clip.items()}
    assert shapes == {"depth": (4, 16, 16, 1), "skeleton": (6, 75), "inertial": (5, 6)}
    assert not clip["depth"].any() and not clip["inertial"].any() and clip["skeleton"].any()


def test_a_clip_of_nothing_is_refused():
    with pytest.raises(ValueError, match="none of the modalities"):
        preprocess.prepare_clip({}, {"depth": DepthSpec()})


@pytest.mark.parametrize("modality", sorted(preprocess.SPECS))
def test_a_specification_survives_json(modality):
    import json

    spec = preprocess.SPECS[modality]()
    values = json.loads(json.dumps(preprocess.spec_to_dict(spec)))
    assert preprocess.spec_from_dict(modality, values) == spec
    with pytest.raises(ValueError, match="'frames'"):
        preprocess.spec_from_dict(modality, {"frames": 3})


@pytest.mark.parametrize(
    "field, value",
    [
        *[("resize", value) for value in (0, -1, 256.0, "256", True, None)],
        *[("std", value) for value in ([0.2, 0.2], [0.2, 0.2, 0.0], [0.2, 0.2, float("nan")], 0.2)],
        *[("mean", value) for value in ([0.5, 0.5], ["a", "b", "c"], [float("inf")] * 3)],
    ],
)
def test_a_specification_no_clip_can_be_made_with_is_refused(field, value):
    """An edited bundle would divide by 0, or predict something else without a word."""
    with pytest.raises(ValueError, match=f"rgb: {field} is .*; something like .* is expected"):
        preprocess.spec_from_dict("rgb", {**preprocess.spec_to_dict(preprocess.VideoSpec()), field: value})


@pytest.mark.parametrize("modality", list(preprocess.SPECS))
def test_a_specification_has_all_of_its_fields_and_no_other(modality):
    """What a bundle leaves out is not what usually stands there."""
    whole = preprocess.spec_to_dict(preprocess.SPECS[modality]())
    for values in ({**whole, "more": 1}, *({k: v for k, v in whole.items() if k != name} for name in whole)):
        with pytest.raises(ValueError, match=f"{modality}: .* were given; .* are expected"):
            preprocess.spec_from_dict(modality, values)


def test_a_mean_may_be_anything_finite():
    whole = preprocess.spec_to_dict(preprocess.VideoSpec())
    assert preprocess.spec_from_dict("rgb", {**whole, "mean": [0, -0.5, 2.0]}).mean == (0, -0.5, 2.0)


def test_a_window_has_the_instants_of_its_video_or_else_of_its_first_modality():
    skeleton, depth = preprocess.SkeletonSpec(48), preprocess.DepthSpec(24)
    assert preprocess.window_frames({"skeleton": skeleton, "depth": depth}) == 24
    assert preprocess.window_frames({"skeleton": skeleton, "inertial": preprocess.InertialSpec(96)}) == 48


@pytest.mark.parametrize(
    ("depth_mm", "expected"), [(2500, 0.5), (2100, 0.75), (1700, 1), (1500, 1), (2900, 0.25), (3400, 0), (0, 0)]
)
def test_depth_becomes_half_at_the_body_and_one_a_range_before_it(depth_mm, expected):
    frame = np.full((240, 320), depth_mm, np.uint16)
    picture = preprocess.crop_depth(frame, preprocess.Body(120, 160, 2500), DepthSpec(1, range_m=0.8))
    assert picture[32, 32] == pytest.approx(expected)


def test_depth_is_the_mean_of_what_a_pixel_covers():
    frame = np.where(np.arange(320) % 2, 2100, 2900).astype(np.uint16)[None].repeat(240, axis=0)
    picture = preprocess.crop_depth(frame, preprocess.Body(120, 160, 2500), DepthSpec(1))
    np.testing.assert_allclose(picture[20:44, 20:44], 0.5, atol=0.1)
