"""Where the frames of a stream come from: a file, arrays, a camera, a network stream.

A source that is **live** does not wait for whoever reads it: cameras, network streams, and files that are played at
their own rate. From the others every frame is read, as fast as it is wanted.

The time of a frame is the file's own (`edge.clock`), so that a variable rate is what it is; of a camera it is when the
frame came.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Protocol, Union

import cv2
import numpy as np

from edge.checks import check_frames
from edge.clock import USUAL_RATE_HZ, FrameClock
from edge.errors import EdgeError
from edge.media import existing_file, open_capture, rate_of, read_depth, retrieve_rgb
from edge.sampling import Entries

_NETWORK_TIMEOUT_MS = 5000  # FFmpeg's own 30 s would look like a hang


@dataclass(frozen=True)
class Frame:
    """One frame of a stream.

    Attributes:
      image: (H, W, 3) uint8 RGB or (H, W) uint16 depth in millimetres; None where a stream has no video.
      time_s: when it was taken, in seconds since the beginning of the source.
      captured_s: the same on the clock of `time.perf_counter`: capture-to-result latency begins here.
      decode_ms: from then until the image was there.
    """

    image: Optional[np.ndarray]
    time_s: float
    captured_s: float
    decode_ms: float


class Source(Protocol):
    """Frames one after the other.

    Attributes:
      live: whether it goes on while nobody reads.
      returns: whether it can come back after its end: a camera that was unplugged.
      rate_hz: frames per second, None if it is not known.
      duration_s: seconds of a recording, as its header says; None if that is not known.
    """

    live: bool
    returns: bool
    rate_hz: Optional[float]
    duration_s: Optional[float]

    def read(self) -> Optional[Frame]:
        """Return the next frame, None at the end, or where a camera gives none any more."""

    def reopen(self) -> bool:
        """Try to get a source that was lost back; return whether it is there."""

    def close(self) -> None:
        """Let go of the file or device."""


class _Pace:
    """Waits until frames of a recording are due, as if a camera took them."""

    def __init__(self, rate_hz: float) -> None:
        self._begun_s: Optional[float] = None
        self._expected_s, self._last_s, self._gap_s = 0.0, -1.0 / rate_hz, 1.0 / rate_hz

    def wait(self) -> float:
        """Wait until the next frame is expected; return the time on the clock."""
        if self._begun_s is None:
            self._begun_s = time.perf_counter()
        return self._until(self._last_s + self._gap_s)

    def arrived(self, time_s: float, captured_s: float) -> float:
        """Wait on if the frame is of later than expected; return when it was taken, on the clock."""
        expected_s = self._last_s + self._gap_s
        self._gap_s, self._last_s = time_s - self._last_s, time_s
        return self._until(time_s) if time_s > expected_s + 1e-3 else captured_s

    def _until(self, time_s: float) -> float:
        assert self._begun_s is not None
        remaining_s = self._begun_s + time_s - time.perf_counter()
        if remaining_s > 0:
            time.sleep(remaining_s)
        return time.perf_counter()


class VideoFileSource:
    """A video file, every frame once, in memory that does not depend on its length.

    Args:
      path: the file.
      real_time: play it at its own rate, as if it were a camera; if decoding is slower than that, so is playing.
      rate_hz: frames per second, in place of the file's own times.

    Raises:
      EdgeError: if there is no such file, or OpenCV cannot read it.
    """

    returns = False

    def __init__(self, path: Union[str, Path], real_time: bool = False, rate_hz: Optional[float] = None) -> None:
        self._path = existing_file(path)
        self._capture = open_capture(str(self._path))
        self.live = real_time
        self._given_hz = rate_hz
        header_hz = rate_of(self._capture)
        self.rate_hz = rate_hz or header_hz
        self._step_s = 1 / (self.rate_hz or USUAL_RATE_HZ)
        self.duration_s = self._duration_s()
        self._pace = _Pace(1 / self._step_s) if real_time else None
        self._clock = FrameClock(header_hz, rate_hz)
        self._any_frame = False

    def _duration_s(self) -> Optional[float]:
        """Return what the header says; where it counts no frames, OpenCV's count is the duration times its rate."""
        count, header_hz = (self._capture.get(key) for key in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS))
        if not (math.isfinite(count) and count > 0):
            return None
        believed = rate_of(self._capture) is not None
        if self._given_hz:
            return count / self._given_hz if believed else None  # a browser's WebM says 1000 Hz: no number of frames
        return count / header_hz if math.isfinite(header_hz) and header_hz > 0 else count * self._step_s

    def read(self) -> Optional[Frame]:
        captured_s = self._pace.wait() if self._pace else time.perf_counter()
        started_s = time.perf_counter()
        if not self._capture.grab():
            if not self._any_frame:
                raise EdgeError(f"{self._path} has no frame that can be decoded; it is empty or damaged")
            return None
        self._any_frame = True
        time_s = self._clock.next(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        grabbed_s = time.perf_counter()
        if self._pace:
            captured_s = self._pace.arrived(time_s, captured_s)
        image = retrieve_rgb(self._capture)
        if image is None:
            return None
        waited_s = max(0.0, captured_s - grabbed_s)
        decode_ms = (time.perf_counter() - started_s - waited_s) * 1000
        return Frame(image, time_s, captured_s, decode_ms)

    def reopen(self) -> bool:
        return False

    def close(self) -> None:
        self._capture.release()


class ArraySource:
    """Frames in memory (depth of a file, say), or only their times.

    Args:
      values: T frames; None for a stream without video.
      rate_hz: frames per second.
      count: T, if there are no values.
      real_time: give them at that rate, as if they came from a camera.
    """

    returns = False

    def __init__(
        self, values: Optional[Entries], rate_hz: float, count: Optional[int] = None, real_time: bool = False
    ) -> None:
        if not (rate_hz > 0 and math.isfinite(rate_hz)):
            raise EdgeError(f"a rate of {rate_hz} Hz was given; more than 0 is expected")
        self.live = real_time
        self.rate_hz: Optional[float] = rate_hz
        self._values, self._count = values, count if values is None else len(values)
        self.duration_s: Optional[float] = (self._count or 0) / rate_hz
        self._pace = _Pace(rate_hz) if real_time else None
        self._step_s, self._next = 1 / rate_hz, 0

    def read(self) -> Optional[Frame]:
        if self._next >= (self._count or 0):
            return None
        captured_s = self._pace.wait() if self._pace else time.perf_counter()
        time_s = self._next * self._step_s
        if self._pace:
            captured_s = self._pace.arrived(time_s, captured_s)
        image = None if self._values is None else np.asarray(self._values[self._next])
        self._next += 1
        return Frame(image, time_s, captured_s, (time.perf_counter() - captured_s) * 1000)

    def reopen(self) -> bool:
        return False

    def close(self) -> None:
        self._values, self._count = None, 0


class CameraSource:
    """A camera by number or device file, or a network stream by its address. It may go away and come back.

    Raises:
      EdgeError: if it cannot be opened at first.
    """

    live = True
    returns = True
    duration_s: Optional[float] = None

    def __init__(self, where: Union[int, str]) -> None:
        self._where = where
        self._local = isinstance(where, int) or is_device(where)  # asked once: a device file goes with its camera
        self._capture: Any = self._open()
        if self._capture is None:
            raise EdgeError(
                f"source {where}: there is no camera that can be opened\n"
                f"  Look which there are (ls /dev/video*), and whether another program has it"
                if self._local
                else f"source {where} cannot be opened\n  Try it with: ffplay {where}"
            )
        self.rate_hz = rate_of(self._capture)
        self._begun_s = time.perf_counter()

    def _open(self) -> Any:
        if self._local:
            capture = cv2.VideoCapture(self._where)
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # where a driver can do without a queue of old frames
        else:
            options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _NETWORK_TIMEOUT_MS]
            options += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, _NETWORK_TIMEOUT_MS]
            if hasattr(cv2, "CAP_PROP_N_THREADS"):  # each further thread of the decoder keeps a frame back
                options += [cv2.CAP_PROP_N_THREADS, 1]
            capture = cv2.VideoCapture(self._where, cv2.CAP_FFMPEG, options)
        return capture if capture.isOpened() else None

    def read(self) -> Optional[Frame]:
        if self._capture is None or not self._capture.grab():
            return None
        captured_s = time.perf_counter()  # waiting for the camera is not decoding
        image = retrieve_rgb(self._capture)
        if image is None:
            return None
        return Frame(image, captured_s - self._begun_s, captured_s, (time.perf_counter() - captured_s) * 1000)

    def reopen(self) -> bool:
        self.close()
        self._capture = self._open()
        return self._capture is not None

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None


def is_device(where: str) -> bool:
    """Return whether a path is a device, as of a camera: /dev/video0, /dev/v4l/by-id/..."""
    return Path(where).is_char_device()


def open_source(where: Any, modality: str, real_time: bool, rate_hz: Optional[float] = None) -> Source:
    """Return the source that a user named.

    Args:
      where: number or device file of a camera, address (with "://") of a network stream, a file, frames, or a source.
      modality: what the bundle reads, "rgb" or "depth". Depth comes from files and frames alone.
      real_time: play a file or frames at their own rate.
      rate_hz: of frames, or of a file in place of its own. Cameras have their own clock.

    Raises:
      EdgeError: if it cannot be opened.
    """
    if hasattr(where, "read") and hasattr(where, "live"):
        source: Source = where
        return source
    if not isinstance(where, (int, str, Path)):
        if rate_hz is None:
            raise EdgeError("frames were given without their rate; give frame_rate_hz, too")
        check_frames(where, modality)
        return ArraySource(where, rate_hz, real_time=real_time)
    text = str(where)
    camera = text.isdigit() or "://" in text or is_device(text)
    if modality == "depth" and camera:
        raise EdgeError(
            f"source {where} was given, and the bundle reads depth in millimetres, which OpenCV does not get from "
            f"cameras\n  Give a depth file, or frames from your camera's own library: recognizer.stream(frames)"
        )
    if modality == "depth":
        recording = read_depth(text)
        found_hz = rate_hz or recording.rate_hz
        if found_hz is None:
            raise EdgeError(f"{where} does not say its rate; give it: --frame_rate=HZ")
        return ArraySource(recording.values, found_hz, real_time=real_time)
    if camera:
        return CameraSource(int(text) if text.isdigit() else text)
    return VideoFileSource(text, real_time, rate_hz)
