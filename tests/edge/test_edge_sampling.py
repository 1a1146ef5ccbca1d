"""Which instants a clip consists of."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.sampling import Track, common_span, interpolate, nearest, regular_track, segment_times

seconds = st.floats(0.1, 60)
counts = st.integers(1, 64)
rates = st.sampled_from([10.0, 15.0, 25.0, 30.0, 60.0])


@given(st.floats(0, 10), seconds, counts, st.floats(0, 0.99))
def test_each_segment_gives_one_instant(start_s, length_s, count, offset):
    instants = segment_times(start_s, start_s + length_s, count, offset)
    segments = np.floor((instants - start_s) / (length_s / count) + 1e-6)
    np.testing.assert_array_equal(segments, np.arange(count))


@given(st.integers(1, 100), rates, counts)
def test_nearest_is_the_last_entry_that_has_begun(entries, rate_hz, count):
    track = regular_track(range(entries), rate_hz)
    instants = segment_times(0, track.duration_s, count)
    picked = nearest(track.time_s, instants)
    assert np.all(track.time_s[picked] <= instants + 1e-5)
    assert np.all((instants < track.time_s[picked] + 1 / rate_hz + 1e-5) | (picked == entries - 1))


def test_nearest_takes_the_ends_beyond_the_ends():
    np.testing.assert_array_equal(nearest(np.array([1.0, 2.0]), np.array([0.0, 5.0])), [0, 1])


@given(st.lists(st.floats(0.01, 2), min_size=1, max_size=20), st.floats(-3, 3), st.floats(-3, 3))
def test_interpolate_reproduces_a_straight_line(steps, slope, start):
    time_s = np.concatenate([[0.0], np.cumsum(steps)])
    values = (start + slope * time_s)[:, None, None]
    instants = np.linspace(0, time_s[-1], 17)
    expected = (start + slope * instants)[:, None, None]
    np.testing.assert_allclose(interpolate(values, time_s, instants), expected, atol=1e-6)


@given(st.floats(-5, -0.1), st.floats(0.1, 5))
def test_interpolate_holds_the_ends(before, after):
    values, time_s = np.array([[1.0], [4.0]]), np.array([0.0, 2.0])
    np.testing.assert_array_equal(interpolate(values, time_s, np.array([before, 2 + after])), [[1.0], [4.0]])


def test_interpolate_repeats_a_single_entry():
    np.testing.assert_array_equal(interpolate(np.array([[7.0]]), np.array([0.0]), np.arange(3.0)), [[7.0]] * 3)


@given(st.integers(1, 200), rates)
def test_duration_counts_the_last_entry(entries, rate_hz):
    track = regular_track(range(entries), rate_hz)
    expected = entries / rate_hz if entries > 1 else 1 / 30  # the rate of one entry cannot be known
    np.testing.assert_allclose(track.duration_s, expected, rtol=1e-9)


def test_common_span_ends_with_the_shortest_track():
    tracks = {"rgb": regular_track(range(15), 15.0), "skeleton": regular_track(range(60), 30.0)}
    assert common_span(tracks) == (0.0, tracks["rgb"].duration_s)


def test_an_empty_track_lasts_no_time():
    assert Track([], np.zeros(0)).duration_s == 0
