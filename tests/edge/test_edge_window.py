"""The sliding window: which frames it holds, and that they are prepared once and as `predict` prepares them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge import ActionRecognizer, EdgeError
from edge.bundle import read_bundle
from edge.sampling import Track
from edge.window import SlidingWindow


class NumberedVideo:
    """Stands in for the ring: remembers which frame lies at which place."""

    def __init__(self, frames):
        self.places, self.prepared = [None] * frames, 0

    def prepare(self, frame):
        self.prepared += 1
        return frame

    def put(self, place, prepared):
        self.places[place] = prepared


@pytest.fixture
def numbered(make_bundle):
    bundle = read_bundle(make_bundle("rgb"))

    def make(stride=1):
        window = SlidingWindow(bundle, stride)
        window._video = NumberedVideo(bundle.window.frames)
        return window

    return make


def times_in(window):
    """Return the times that the window holds, in order."""
    first = (window._newest + 1) % len(window._video.places)
    return [*window._video.places[first:], *window._video.places[:first]]


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    gaps_s=st.lists(st.sampled_from([1 / 60, 1 / 30, 1 / 15, 0.1, 0.4, 0.9]), min_size=10, max_size=150),
    start_s=st.floats(-5, 1e5),
)
def test_each_instant_holds_the_first_frame_at_or_after_it(numbered, gaps_s, start_s):
    """Whatever the rate, and whatever was dropped; and a frame is prepared at most once."""
    window = numbered()
    times = start_s + np.cumsum([0.0, *gaps_s])
    taken = 0
    for count, time_s in enumerate(times, start=1):
        taken += window.add(float(time_s), time_s)
        newest = math.floor((time_s - times[0]) / window.step_s + 1e-6)
        if newest >= 3:
            instants = times[0] + window.step_s * np.arange(newest - 3, newest + 1)
            seen = times[:count]
            assert times_in(window) == [seen[np.searchsorted(seen, i - 1e-6 * window.step_s)] for i in instants]
    assert window._video.prepared == taken <= len(times)


@pytest.mark.parametrize("rate_hz", [15, 30, 60])
def test_a_window_lasts_as_long_as_the_clips_of_the_training(numbered, rate_hz):
    window = numbered()
    for i in range(10 * rate_hz):
        window.add(i / rate_hz, i / rate_hz)
        if window.due:
            window._predicted = window._newest
            held = times_in(window)
            assert held[-1] - held[0] == pytest.approx(3 * window.step_s, abs=1 / rate_hz)
            assert window.span[1] - window.span[0] == pytest.approx(2.2)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_window_is_due_when_it_is_full_and_then_every_stride(numbered, stride):
    window = numbered(stride)
    due = []
    for i in range(400):
        window.add(i / 30, i / 30)
        if window.due:
            due.append(window._newest)
            window._predicted = window._newest
    assert due == list(range(3, due[-1] + 1, stride)) and len(due) > 5


def colours(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 24, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("modality", ["rgb", "depth"])
@pytest.mark.parametrize("after", [4, 5, 7, 11])
def test_the_ring_gives_what_predict_makes_of_the_same_frames(make_bundle, modality, after):
    recognizer = ActionRecognizer.from_bundle(make_bundle(modality))
    window = SlidingWindow(recognizer.bundle, 1)
    frames = colours(after)
    if modality == "depth":
        frames = frames[..., 0].astype(np.uint16) * 12 * (frames[..., 1] > 150)
    for i, frame in enumerate(frames):
        window.add(i * window.step_s, frame)
    inputs, missing, _ = window.take()
    expected, _ = recognizer.prepare(frames[-4:])
    assert missing == () and np.abs(expected["video"]).max() > 0
    np.testing.assert_array_equal(inputs["video"], expected["video"])


def test_skeletons_and_samples_are_read_over_the_span_of_the_frames(make_bundle, skeletons, samples):
    recognizer = ActionRecognizer.from_bundle(make_bundle("rgb", "skeleton", "inertial"))
    window = SlidingWindow(recognizer.bundle, 1)
    frames = colours(9)
    tracks = {"skeleton": Track(skeletons, np.arange(30) / 6), "inertial": Track(samples, np.arange(80) / 16 + 0.01)}
    for i, frame in enumerate(frames):
        for modality, track in tracks.items():
            for k in np.flatnonzero((track.time_s > (i - 1) * window.step_s) & (track.time_s <= i * window.step_s)):
                window.add_entry(modality, float(track.time_s[k]), track.values[k])
        window.add(i * window.step_s, frame)
    inputs, missing, _ = window.take()
    known = {
        m: Track(t.values[t.time_s <= 8 * window.step_s], t.time_s[t.time_s <= 8 * window.step_s])
        for m, t in tracks.items()
    }
    expected, _ = recognizer.prepare(
        Track(frames, np.arange(9) * window.step_s), known["skeleton"], known["inertial"], span=window.span
    )
    assert missing == ()
    for name in expected:
        np.testing.assert_array_equal(inputs[name], expected[name])


def test_a_modality_without_an_entry_in_the_window_is_missing_and_zeros(make_bundle, skeletons):
    bundle = read_bundle(make_bundle("rgb", "skeleton"))
    window = SlidingWindow(bundle, 1)
    window.add_entry("skeleton", 0.0, skeletons[0])
    for i in range(4):
        window.add(i * window.step_s, colours(1)[0])
    assert window.take()[1] == () and window.take()[0]["skeleton"].any()
    for i in range(4, 9):
        window.add(i * window.step_s, colours(1)[0])
    inputs, missing, _ = window.take()
    assert missing == ("skeleton",) and not inputs["skeleton"].any() and inputs["video"].any()


def test_after_a_gap_of_a_window_the_grid_begins_anew(numbered):
    window = numbered()
    for i in range(60):
        window.add(i / 30, i / 30)
    last_s = 59 / 30
    assert not window.breaks(last_s + 2.1) and window.breaks(last_s + 2.3)
    window.reset()
    assert not window.due and not window.breaks(100.0)
    window.add(100.0, 100.0)
    assert window.span[1] == pytest.approx(100 + window.step_s / 2)


def test_a_window_of_another_length_than_the_video_input_is_refused(make_bundle, edit_bundle):
    folder = make_bundle("rgb")
    edit_bundle(folder, lambda values: values["window"].update(frames=5))
    with pytest.raises(EdgeError, match="5 frames and the video input 4"):
        SlidingWindow(read_bundle(folder), 1)


def test_joints_that_do_not_fit_are_one_error(make_bundle, edit_bundle, skeletons):
    folder = make_bundle("skeleton")

    def read_20_joints(values):
        values["inputs"][0]["preprocess"]["layout"] = "kinect20"
        values["inputs"][0]["shape"] = ["batch", 6, 60]

    edit_bundle(folder, read_20_joints)
    window = SlidingWindow(read_bundle(folder), 1)
    for i in range(4):
        window.add_entry("skeleton", i * window.step_s, np.concatenate([skeletons[i], skeletons[i, :5]]))
        window.add(i * window.step_s, None)
    with pytest.raises(EdgeError, match=r"25, 3"):
        window.take()


def test_a_clock_that_is_set_back_begins_another_scene(numbered):
    window = numbered()
    for time_s in np.arange(100.0, 105.0, 0.1):
        window.add(time_s, np.zeros(0))
    assert not window.breaks(105.0) and not window.breaks(104.9 - 0.01)
    assert window.breaks(0.0) and window.breaks(104.0)


def test_video_that_stops_stays_for_a_window_and_is_then_missing(make_bundle, depth_frames):
    bundle = read_bundle(make_bundle("depth"))
    window = SlidingWindow(bundle, 1)
    step_s, frames = window.step_s, bundle.window.frames
    for instant in range(frames):
        window.add(instant * step_s, depth_frames[instant])
    said = []
    for instant in range(frames, 2 * frames + 1):
        window.add(instant * step_s, None)
        inputs, missing, _ = window.take()
        said.append((missing, float(np.abs(inputs["video"]).max()) > 0))
        if not missing:  # the last picture, since it ended
            newest = inputs["video"][0, 0]
            np.testing.assert_array_equal(newest[-1], newest[frames - 2 - (instant - frames)])
    assert said == [((), True)] * (frames - 1) + [(("depth",), False)] * 2


def test_a_skeleton_from_before_the_window_is_shown_no_more(make_bundle, skeletons):
    window = SlidingWindow(read_bundle(make_bundle("rgb", "skeleton")), 1)
    window.add_entry("skeleton", 0.0, skeletons[0])
    shown = []
    for i in range(7):
        window.add((i + 0.5) * window.step_s, colours(1)[0])
        shown.append(window.joints is not None)
    assert shown == [True] * 4 + [False] * 3  # a window is 4 steps long


def test_a_new_scene_has_nothing_of_the_skeletons_before_it(make_bundle, skeletons):
    """Not even where the clock was set back: what is new would count as old."""
    bundle = read_bundle(make_bundle("rgb", "skeleton"))
    used, fresh = SlidingWindow(bundle, 1), SlidingWindow(bundle, 1)
    used.add_entry("skeleton", 100.0, skeletons[0])
    used.add(100.0, colours(1)[0])
    used.reset()
    for window in (used, fresh):
        for i in range(4):
            window.add_entry("skeleton", i * window.step_s, skeletons[9 + i])
            window.add(i * window.step_s, colours(1)[0])
    np.testing.assert_array_equal(used.take()[0]["skeleton"], fresh.take()[0]["skeleton"])


def test_skeletons_from_before_the_window_are_not_kept(make_bundle, skeletons):
    window = SlidingWindow(read_bundle(make_bundle("rgb", "skeleton")), 1)
    for i in range(300):
        window.add_entry("skeleton", i / 30, skeletons[i % 30])
        if window.add(i / 30, colours(1)[0]) and window.due:
            window.take()
    assert len(window._others["skeleton"]._entries) < 100  # a window is 66 of them


def test_depth_of_another_size_empties_the_ring(make_bundle, depth_frames):
    recognizer = ActionRecognizer.from_bundle(make_bundle("depth"))
    window = SlidingWindow(recognizer.bundle, 1)
    for i in range(8):
        window.add(i * window.step_s, depth_frames[i] if i < 4 else depth_frames[i, :40])
    expected, _ = recognizer.prepare(depth_frames[4:8, :40])
    np.testing.assert_array_equal(window.take()[0]["video"], expected["video"])


def test_of_two_skeletons_of_the_same_time_the_first_counts(make_bundle, skeletons):
    bundle = read_bundle(make_bundle("skeleton"))
    once, twice = SlidingWindow(bundle, 1), SlidingWindow(bundle, 1)
    for i in range(4):
        for window in (once, twice):
            window.add_entry("skeleton", i * window.step_s, skeletons[i])
            window.add(i * window.step_s, None)
        twice.add_entry("skeleton", i * twice.step_s, skeletons[20])
    np.testing.assert_array_equal(twice.take()[0]["skeleton"], once.take()[0]["skeleton"])
