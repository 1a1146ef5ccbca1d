"""Recordings of a prepared dataset as tracks, and the clips they give."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.preprocess import prepare_clip
from hartx.data import clips, window_s
from hartx.data.source import Recordings, RecordingSource
from hartx.errors import HartxError
from hartx.protocol import RecordingId, Sides
from tests.hartx import small_config

STREAMS = ("skeleton", "inertial")


def record(num_skeletons=45, num_samples=120):
    """A recording as TFDS gives it, 1.5 seconds long; every value is the time in seconds."""
    skeleton_s, inertial_s = np.arange(num_skeletons) / 30, np.arange(num_samples) * (1.5 / max(num_samples, 1))
    joints = np.random.default_rng(0).normal(size=(20, 3)) + skeleton_s[:, None, None]
    return {
        "name": b"a1_s2_t3",
        "subject": 2,
        "action": 0,
        "skeleton": {"joints": joints.astype(np.float32), "time_s": skeleton_s.astype(np.float32)},
        "inertial": {
            "samples": np.tile(inertial_s[:, None], (1, 6)).astype(np.float32),
            "time_s": inertial_s.astype(np.float32),
        },
    }


def recording(streams=STREAMS, **changes):
    return RecordingSource([record(**changes)], streams, cache_gib=0.0)[0]


@pytest.fixture
def config():
    config = small_config.get_config()
    config.streams = STREAMS
    return config


def without_draws(config):
    """Switch every augmentation off."""
    for name, value in config.augment.items():
        config.augment[name] = (0.0,) * len(value) if isinstance(value, tuple) else type(value)(0)
    return config


def test_inertial_samples_are_a_track_of_their_own():
    tracks = recording().tracks
    assert set(tracks) == {"skeleton", "inertial"}
    assert tracks["skeleton"].values.shape == (45, 20, 3) and tracks["inertial"].values.shape == (120, 6)
    assert tracks["inertial"].duration_s == pytest.approx(tracks["skeleton"].duration_s)


def test_a_recording_without_samples_has_no_inertial_track():
    assert set(recording(num_samples=0).tracks) == {"skeleton"}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_training_reads_the_inertial_samples_of_the_span_that_the_joints_are_of(seed):
    """The values are the time, so the middle of what was read is the middle of the span that was drawn."""
    config = without_draws(small_config.get_config())
    config.streams, config.augment.temporal_crop = STREAMS, 0.4
    specs = clips.input_specs(config)
    view = clips.random_view(recording(), config, np.random.default_rng(seed))
    clip = clips.training_clip(recording(), config, specs, np.random.default_rng(seed))["inertial"]
    assert clip.shape == (12, 6) and clip.dtype == np.float32
    assert 0.5 * (clip[0, 0] + clip[-1, 0]) == pytest.approx(0.5 * (view.start_s + view.stop_s), abs=0.02)
    assert np.all(np.diff(clip[:, 0]) > 0)


def test_what_is_to_be_found_in_depth_is_in_its_time():
    source = RecordingSource([record()], ("inertial",), cache_gib=0.0, with_skeleton=True, depth_delay_s=0.05)
    skeleton = source[0].skeleton
    np.testing.assert_allclose(skeleton.time_s, recording().tracks["skeleton"].time_s + 0.05, atol=1e-6)
    np.testing.assert_array_equal(skeleton.values, recording().tracks["skeleton"].values)
    assert source[0].tracks["inertial"].time_s[0] == 0


def test_without_a_draw_training_sees_what_the_device_sees(config):
    without_draws(config)
    specs = clips.input_specs(config)
    clip = clips.training_clip(recording(), config, specs, np.random.default_rng(0))["inertial"]
    np.testing.assert_allclose(clip, prepare_clip(recording().tracks, specs)["inertial"], atol=1e-6)


def test_every_view_at_test_has_the_inertial_samples_of_its_time(config):
    config.clip.views = 3
    views = clips.test_clips(recording(), config, clips.input_specs(config))
    starts = [view["inertial"][0, 0] for view in views]
    assert len(views) == 3 and starts == sorted(starts) and len(set(starts)) == 3


@pytest.mark.parametrize("streams", [("inertial",), STREAMS])
def test_only_what_the_streams_name_is_read(config, streams):
    config.streams = streams
    clip = clips.training_clip(recording(streams), config, clips.input_specs(config), np.random.default_rng(0))
    assert set(clip) == set(streams)


@pytest.mark.parametrize("sampling, expected", [("uniform", 1.5), ("window", 4 / 30)])
def test_a_window_on_the_device_is_as_long_as_a_clip_in_training(config, sampling, expected):
    """uniform: the median of 1, 1.5 and 4 seconds; window: 4 frames at the first stride."""
    source = RecordingSource([record(num_skeletons=n) for n in (30, 45, 120, 300)], ("skeleton",), cache_gib=0.0)
    ids = tuple(RecordingId(f"a1_s{s}_t1", s) for s in (1, 3, 5, 2))
    recordings = Recordings(source, ("wave",), ids, (0, 1, 2, 3), (0,) * 4, ids, Sides((0, 1, 2), (), (3,)))
    config.clip.sampling, config.clip.strides = sampling, (1, 2)
    assert window_s(config, recordings) == pytest.approx(expected)


def test_without_training_recordings_a_window_has_no_length(config):
    source = RecordingSource([record()], ("skeleton",), cache_gib=0.0)
    ids = (RecordingId("a1_s2_t1", 2),)
    with pytest.raises(HartxError, match="none of them is there"):
        window_s(config, Recordings(source, ("wave",), ids, (0,), (0,), ids, Sides((), (), (0,))))
