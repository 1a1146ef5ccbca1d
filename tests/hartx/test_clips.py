"""Training clips: where in a recording they lie, and what all of their modalities share."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import base
from edge.sampling import regular_track
from hartx.data import clips
from hartx.data.pipeline import _TrainingClip
from hartx.data.source import Recording

RNG = np.random.default_rng(0)
ALL_ON = {
    "augment.flip": True,
    "augment.temporal_elastic": 0.3,
    "augment.temporal_mask_ratio": 0.25,
    "augment.rgb_scale": (0.5, 1.1),
    "augment.depth_noise": 0.02,
    "augment.depth_erase": 0.3,
    "augment.tilt_degrees": 10.0,
    "augment.body_stretch": 0.1,
    "augment.body_shear": 0.1,
    "augment.limb_scale": 0.1,
    "augment.joint_dropout": 0.1,
}

seeds = st.integers(0, 2**31 - 1)
lengths = st.integers(2, 90)


def recording(depth=40, skeleton=40, rgb=20):
    """Depth whose body's distance, and joints whose place, tell the time."""
    frames = np.zeros((depth, 24, 32), np.uint16)
    frames[:, 6:18, 12:20] = 2000 + 10 * np.arange(depth)[:, None, None]
    joints = RNG.standard_normal((1, 20, 3)) + np.arange(skeleton)[:, None, None] / 30
    video = RNG.integers(0, 256, (rgb, 20, 24, 3), np.uint8)
    tracks = {
        "rgb": regular_track(video, 15.0),
        "depth": regular_track(frames, 30.0),
        "skeleton": regular_track(joints.astype(np.float32), 30.0),
    }
    return Recording("a1_s1_t1", 1, 3, tracks)


def configured(**changes):
    config = base.get_config()
    config.streams = ("rgb", "depth", "skeleton")
    config.clip.num_frames, config.clip.skeleton_frames = 8, 16
    config.clip.resize, config.clip.crop = 20, 16
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in changes.items()})
    return config


def view_of(seed, config, given_=None):
    return clips.random_view(given_ or recording(), config, np.random.default_rng(seed))


@given(seeds, lengths, lengths, st.floats(0, 0.9), st.sampled_from(["uniform", "window"]), st.floats(0, 0.9))
def test_every_instant_lies_inside_the_recording(seed, depth, skeleton, crop, sampling, alpha):
    config = configured(augment__temporal_crop=crop, clip__sampling=sampling, augment__temporal_elastic=alpha)
    given_ = recording(depth, skeleton, 45)
    view = view_of(seed, config, given_)
    stop_s = min(track.duration_s for track in given_.tracks.values())
    assert -1e-9 <= view.start_s < view.stop_s <= stop_s + 1e-9
    for count, offset in ((8, view.offset), (16, 0.5)):
        instants = view.instants(count, offset)
        assert (np.diff(instants) > 0).all()
        assert instants[0] >= view.start_s - 1e-9 and instants[-1] <= view.stop_s + 1e-9


@given(seeds, st.floats(0, 0.9))
def test_a_crop_takes_no_more_than_its_share(seed, crop):
    view = view_of(seed, configured(augment__temporal_crop=crop))
    whole_s = 40 / 30
    assert (1 - crop) * whole_s - 1e-9 <= view.stop_s - view.start_s <= whole_s + 1e-9


def test_training_clips_are_cropped_jittered_and_warped_as_far_as_the_config_says():
    config = configured(augment__temporal_crop=0.4, augment__temporal_elastic=0.3)
    views = [view_of(seed, config) for seed in range(200)]
    kept = np.array([view.stop_s - view.start_s for view in views]) / (40 / 30)
    assert 0.6 <= kept.min() < 0.62 and 0.98 < kept.max() <= 1
    offsets = np.array([view.offset for view in views])
    assert offsets.shape == (200, 8) and offsets.min() < 0.01 and 0.99 < offsets.max() < 1
    speeds = np.array([view.speeds for view in views])
    assert 0.7 <= speeds.min() < 0.71 and 1.29 < speeds.max() <= 1.3


def test_windows_at_test_are_of_the_first_stride_and_evenly_spread():
    config = configured(clip__sampling="window", clip__strides=(1, 2), clip__views=3)
    views = clips.test_views(recording(), config)
    window_s, room_s = 8 / 15, 40 / 30 - 8 / 15  # 8 frames of the slowest track
    np.testing.assert_allclose([view.start_s for view in views], room_s * np.array([1, 3, 5]) / 6)
    np.testing.assert_allclose([view.stop_s - view.start_s for view in views], window_s)


def test_windows_span_their_stride_and_both_strides_are_drawn():
    config = configured(clip__sampling="window", clip__strides=(1, 2))
    spans = {round((v.stop_s - v.start_s) * 15) for v in (view_of(seed, config) for seed in range(20))}
    assert spans == {8, 16}  # frames of the slowest track
    starts = [view_of(seed, config).start_s for seed in range(20)]
    assert len(set(starts)) > 10


def test_a_recording_shorter_than_the_window_is_taken_whole():
    view = view_of(0, configured(clip__sampling="window", clip__strides=(2,)), recording(10, 10, 5))
    assert (view.start_s, view.stop_s) == (0.0, pytest.approx(10 / 30))


def test_at_zero_strength_instants_are_those_of_the_segments():
    view = view_of(3, configured(augment__temporal_jitter=False, augment__temporal_crop=0.0))
    assert view == clips.View(0.0, view.stop_s)
    np.testing.assert_array_equal(view.instants(8, 0.5), clips.segment_times(0.0, view.stop_s, 8, 0.5))


@given(seeds)
def test_modalities_stay_aligned_under_an_elastic_warp(seed):
    """Twice the instants, two in each segment: their means follow the coarser ones."""
    view = view_of(seed, configured(augment__temporal_elastic=0.5))
    coarse, fine = view.instants(8, 0.5), view.instants(16, 0.5)
    assert (fine[0::2] < coarse).all() and (coarse < fine[1::2]).all()


@settings(max_examples=30)
@given(seeds, st.floats(0.1, 0.8))
def test_all_modalities_are_masked_by_the_stated_share(seed, ratio):
    config = configured(augment__temporal_mask_ratio=ratio)
    inputs = clips.training_clip(recording(), config, clips.input_specs(config), np.random.default_rng(seed))
    for values in inputs.values():
        masked = (values.reshape(len(values), -1) == 0).all(axis=1)
        assert masked.sum() == round(ratio * len(values))


@settings(max_examples=30)
@given(seeds, st.sampled_from(["uniform", "window"]))
def test_a_seed_gives_the_same_clip_and_the_label_is_never_touched(seed, sampling):
    config = configured(clip__sampling=sampling)
    config.update_from_flattened_dict(ALL_ON)
    given_ = recording()
    one, other = (_TrainingClip(config).random_map(given_, np.random.default_rng(seed)) for _ in range(2))
    assert one["label"] == other["label"] == 3 and one["name"] == "a1_s1_t1"
    for stream, spec in clips.input_specs(config).items():
        np.testing.assert_array_equal(one["inputs"][stream], other["inputs"][stream])
        assert one["inputs"][stream].shape == spec.shape and one["inputs"][stream].dtype == np.float32
        assert np.isfinite(one["inputs"][stream]).all()


def test_the_joints_in_each_depth_frame_come_along_where_they_are_learnt():
    config = configured(model__depth_members=("pose",))
    config.streams = ("depth",)
    given_ = recording()
    skeleton, tracks = given_.tracks["skeleton"], {"depth": given_.tracks["depth"]}
    given_ = dataclasses.replace(given_, tracks=tracks, skeleton=skeleton)

    def clip(given_):
        return clips.training_clip(given_, config, clips.input_specs(config), np.random.default_rng(0))

    joints = clip(given_)["joints"]
    assert joints.shape == (8, 60) and (np.diff(joints.reshape(8, 20, 3)[:, :, 2].mean(axis=1)) > 0).all()
    assert not clip(dataclasses.replace(given_, skeleton=None))["joints"].any()
    config.model.depth_members = ("video",)
    assert set(clip(given_)) == {"depth"}
