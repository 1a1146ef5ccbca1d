"""The times of a file's frames: the same in a stream and in the file read as a whole, whatever its container rounds."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge import ActionRecognizer, media, sources
from edge.bundle import read_bundle
from edge.clock import FrameClock
from edge.events import Predicted
from edge.media import read_video
from edge.runtime import StreamOptions
from edge.sources import VideoFileSource
from edge.window import SlidingWindow

RATES_HZ = [15.0, 24.0, 25.0, 29.97, 30000 / 1001, 30.0, 50.0, 60.0]
no_check = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


class Stamped:
    """A capture of frames that a file dates so, in milliseconds, with a header that promises a rate."""

    def __init__(self, stamps_ms, header_hz):
        self._left, self._now_ms, self._header_hz = list(stamps_ms), 0.0, header_hz

    def grab(self):
        if self._left:
            self._now_ms = self._left.pop(0)
            return True
        return False

    def retrieve(self):
        return True, np.zeros((4, 6, 3), np.uint8)

    def get(self, key):
        return {cv2.CAP_PROP_POS_MSEC: self._now_ms, cv2.CAP_PROP_FPS: self._header_hz}.get(key, 0.0)


@pytest.fixture
def times_of(write_video):
    """A function that returns the times of such frames: in a stream, and of the file that was read."""
    path = write_video(frames=1)

    def read(stamps_ms, header_hz):
        with pytest.MonkeyPatch.context() as patch:
            for module in (media, sources):
                patch.setattr(module, "open_capture", lambda _: Stamped(stamps_ms, header_hz))
            streamed_s = [frame.time_s for frame in iter(VideoFileSource(path).read, None)]
            recording = read_video(path)
        regular_s = np.arange(len(stamps_ms)) / (recording.rate_hz or 30.0)
        return np.array(streamed_s), regular_s if recording.time_s is None else recording.time_s

    return read


@pytest.fixture
def folder(make_bundle):
    return make_bundle("skeleton")


@no_check
@given(rate_hz=st.sampled_from(RATES_HZ), count=st.integers(2, 400), start_ms=st.floats(0, 1e7))
def test_times_that_are_rounded_to_milliseconds_are_those_of_the_rate(times_of, rate_hz, count, start_ms):
    stamps_ms = [round(start_ms + 1000 * i / rate_hz) for i in range(count)]
    streamed_s, read_s = times_of(stamps_ms, rate_hz)
    np.testing.assert_array_equal(streamed_s, np.arange(count) / rate_hz)
    np.testing.assert_array_equal(read_s, np.arange(count) / rate_hz)


@no_check
@given(
    stamps_ms=st.lists(st.integers(0, 3000) | st.just(float("nan")), min_size=1, max_size=60),
    header_hz=st.sampled_from([0.0, 15.0, 30.0, 240.0, 1000.0]),
    in_order=st.booleans(),
)
def test_whatever_a_file_says_its_times_increase_and_are_the_same_for_both(times_of, stamps_ms, header_hz, in_order):
    """Of a variable rate, jittering, repeated, going back, by a header that is wrong."""
    stamps_ms = sorted(stamps_ms) if in_order else stamps_ms
    streamed_s, read_s = times_of(stamps_ms, header_hz)
    np.testing.assert_allclose(streamed_s, read_s, rtol=0, atol=1e-7)
    assert (np.diff(streamed_s) > 0).all()


@no_check
@given(
    rate_hz=st.sampled_from(RATES_HZ),
    window_s=st.sampled_from([0.5, 1.0, 1.6, 2.0, 2.2, 2.5, 3.2]),
    start_ms=st.floats(0, 1e5),
)
def test_rounded_times_pick_the_frames_of_exact_ones(folder, edit_bundle, times_of, rate_hz, window_s, start_ms):
    """Also where an instant of the window is the very time of a frame."""
    edit_bundle(folder, lambda values: values["window"].update(duration_s=window_s, frames=16))
    streamed_s, read_s = times_of([round(start_ms + 1000 * i / rate_hz) for i in range(600)], rate_hz)
    picked = []
    for times_s in (streamed_s, read_s, np.arange(600) / rate_hz):
        window = SlidingWindow(read_bundle(folder), 1)
        picked.append([i for i, time_s in enumerate(times_s) if window.add(float(time_s), None)])
    assert picked[0] == picked[1] == picked[2] and len(picked[0]) > 10


@pytest.mark.parametrize("rate", [15, 24, 25, Fraction(2997, 100), Fraction(30000, 1001), 30, 50, 60])
def test_a_stream_over_a_container_that_rounds_is_predict_on_the_same_windows(make_bundle, edit_bundle, tmp_path, rate):
    """The window's instants are the times of frames 0, 4, 8, ..., where one is easily taken for the next."""
    av = pytest.importorskip("av")
    path, folder = tmp_path / "a.mkv", make_bundle("rgb")
    edit_bundle(folder, lambda values: values["window"].update(duration_s=float(16 / rate)))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "bgr0"
        for i in range(120):
            image = np.full((24, 32, 3), ((10 * i) % 256, (37 * i) % 256, 255 - (23 * i) % 256), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="bgr0")))
        container.mux(stream.encode(None))
    recognizer, recording = ActionRecognizer.from_bundle(folder), read_video(path)
    assert recording.time_s is None and recording.rate_hz == pytest.approx(float(rate), rel=1e-4)
    options = StreamOptions(stride=1)
    seen = [event for event in recognizer.stream(path, options=options) if isinstance(event, Predicted)]
    assert len(seen) == 120 // 4 - 3
    for k, prediction in enumerate(seen):
        expected = recognizer.predict([recording.values[4 * (k + i)] for i in range(4)])
        assert prediction.window_top5 == expected.top5


def test_frames_that_come_together_do_not_push_back_those_behind_them():
    """A burst of a camera, within the rounding of one multiple of the step: what comes after it is where it was."""
    clock = FrameClock(30.0)
    times_s = [clock.next(stamp_ms) for stamp_ms in (0, 99.5, 100, 100.5, 150, 180)]
    assert times_s == pytest.approx([0, 0.1, 0.1, 0.1, 0.15, 0.18], abs=1e-4) and (np.diff(times_s) > 0).all()


def test_a_rate_that_is_given_goes_before_what_the_file_says():
    clock = FrameClock(30.0, given_hz=10.0)
    assert [clock.next(stamp_ms) for stamp_ms in (7, 40, 90, 5000)] == [0.0, 0.1, 0.2, 0.3]
