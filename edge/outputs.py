"""Where a stream is written to: video, JSON lines, a window on the screen, a summary.

Each is closed whatever happens, so that what was written up to there can be used.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Mapping, Optional, TextIO

import cv2
import numpy as np

from edge.clock import USUAL_RATE_HZ
from edge.errors import EdgeError, suggestion
from edge.files import written
from edge.media import check_name, open_capture
from edge.runtime import Look

_FINE_RATE_HZ = 65.0
_CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
_COUNT_TOLERANCE = 2  # .mkv knows how long it is, not how many pictures it has
LONGEST_PAUSE_S = 1.0  # a longer one is cut out: nothing is looked at while it is written, which makes the next one


class VideoRecorder:
    """Writes pictures with their times into a video of a constant rate.

    A picture is repeated while no newer one comes, and left out if two fall together, so that the video has the times
    of what it shows, whatever was dropped and wherever it paused, up to `LONGEST_PAUSE_S`.

    Args:
      path: .mp4, .mkv or .avi. An .mp4 can be played only after it was closed.
      rate_hz: pictures per second of the video.

    Raises:
      EdgeError: for another kind of file, or a folder that is not there.
    """

    def __init__(self, path: Path, rate_hz: float) -> None:
        check_video_path(path)
        # MPEG-4 counts time in steps of 1/65535 s at least, and OpenCV writes a rate of three decimals as n/1000.
        self._path, self._rate_hz = path, rate_hz if rate_hz < _FINE_RATE_HZ else round(rate_hz, 2)
        self._writer: Optional[cv2.VideoWriter] = None
        self._last: Optional[np.ndarray] = None
        self._begun_s, self._written = 0.0, 0

    def write(self, time_s: float, picture: np.ndarray) -> None:
        """Take the picture (H, W, 3) uint8 BGR of a time in seconds, later than the one before."""
        if self._writer is None:
            self._open(picture, time_s)
        picture = picture if picture.shape[1::-1] == self._size else cv2.resize(picture, self._size)
        gap = round((time_s - self._begun_s) * self._rate_hz) - self._written
        if gap > self._rate_hz * LONGEST_PAUSE_S:
            self._begun_s = time_s - self._written / self._rate_hz
            gap = 0
        for _ in range(gap):
            self._put(self._last if self._last is not None else picture)
        if gap >= 0:
            self._put(picture)
        self._last = picture

    def _put(self, picture: np.ndarray) -> None:
        assert self._writer is not None
        self._writer.write(picture)
        self._written += 1

    def _open(self, picture: np.ndarray, time_s: float) -> None:
        self._size = picture.shape[1::-1]
        codec = cv2.VideoWriter.fourcc(*_CODECS[self._path.suffix.lower()])
        self._writer = cv2.VideoWriter(os.path.abspath(str(self._path)), codec, self._rate_hz, self._size)
        self._begun_s = time_s
        if not self._writer.isOpened():
            raise EdgeError(f"{self._path} cannot be written as a video: is the folder writable, is there room?")

    def close(self) -> None:
        """Finish the file.

        Raises:
          EdgeError: if less was written than was given.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        try:  # OpenCV says nothing of a disk that was full: the file tells
            found = open_capture(str(self._path)).get(cv2.CAP_PROP_FRAME_COUNT)
        except EdgeError:
            found = 0
        if abs(found - self._written) > _COUNT_TOLERANCE:
            raise EdgeError(f"{self._path} is not whole: {self._written} pictures were written; is the disk full?")


class LookRecorder:
    """Writes the frames of a stream that are looked at, at the rate that the source promises.

    Args:
      path: as of `VideoRecorder`.

    Raises:
      EdgeError: as of `VideoRecorder`.
    """

    def __init__(self, path: Path) -> None:
        check_video_path(path)
        self._path = path
        self._recorder: Optional[VideoRecorder] = None

    def write(self, look: Look, picture: np.ndarray) -> None:
        """Take the picture of a frame, (H, W, 3) uint8 BGR."""
        if self._recorder is None:  # only now the rate of the source is known
            self._recorder = VideoRecorder(self._path, look.source_rate_hz or USUAL_RATE_HZ)
        self._recorder.write(look.frame.time_s, picture)

    def close(self) -> None:
        """Finish the file; errors are those of `VideoRecorder.close`."""
        if self._recorder is not None:
            self._recorder.close()


def _ends_within_a_line(path: Path) -> bool:
    """Return whether a file's last line is not whole, as a full disk or a loss of power leaves it."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


class JsonLines:
    """Writes one JSON object a line to a file or, for "-", to stdout; each line is there at once.

    What is in the file stays: a camera that is watched again, after a reboot, goes on with its log.

    Raises:
      EdgeError: if the file cannot be written.
    """

    def __init__(self, where: str) -> None:
        self._where, self._own = where, where != "-"
        self._file: TextIO = sys.stdout
        if self._own:
            check_folder(Path(where))
            with written(where):
                broken = _ends_within_a_line(Path(where))
                self._file = open(where, "a", encoding="utf-8")  # noqa: SIM115  # closed by close
                self._file.write("\n" if broken else "")

    def write(self, values: Mapping[str, Any]) -> None:
        """Write one object.

        Raises:
          EdgeError: if that fails, as on a full disk.
        """
        with written(self._where):
            self._file.write(json.dumps(values, allow_nan=False) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file; errors are those of `write`."""
        if self._own:
            with written(self._where):
                self._file.close()


class Display:
    """A window on the screen.

    Raises:
      EdgeError: if there is no screen, or OpenCV was built without windows.
    """

    _TITLE = "hartx"
    _LARGEST = (1280, 720)  # pixels at first; a person may pull it larger

    def __init__(self) -> None:
        self._is_fitted, self._was_visible = False, False
        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise EdgeError(
                "--display: there is no screen (neither DISPLAY nor WAYLAND_DISPLAY is set)\n"
                "  Leave it out, or write the pictures to a file: --record=OUT.mp4"
            )
        try:
            cv2.namedWindow(self._TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        except cv2.error:
            raise EdgeError(
                "--display: this OpenCV was built without windows\n"
                "  pip uninstall opencv-python-headless && pip install opencv-python, or --record=OUT.mp4 instead"
            ) from None

    def show(self, picture: np.ndarray) -> bool:
        """Show a picture (H, W, 3) uint8 BGR; return whether the user wants to stop (q, Esc, the window closed)."""
        if self._is_closed():
            return True  # imshow would open it again
        if not self._is_fitted:
            self._fit(*picture.shape[1::-1])
        cv2.imshow(self._TITLE, picture)
        key = cv2.waitKey(1) & 0xFF
        self._was_visible = self._was_visible or self._is_visible()
        return key in (ord("q"), 27)

    def _fit(self, width: int, height: int) -> None:
        scale = min(1.0, self._LARGEST[0] / width, self._LARGEST[1] / height)
        cv2.resizeWindow(self._TITLE, round(width * scale), round(height * scale))
        self._is_fitted = True

    def _is_visible(self) -> bool:
        try:
            return cv2.getWindowProperty(self._TITLE, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:  # Qt's answer where the last window was closed
            return False

    def _is_closed(self) -> bool:
        """Return whether the window was there and is not any more; a system that cannot tell never had it."""
        return self._was_visible and not self._is_visible()

    def close(self) -> None:
        """Close the window."""
        cv2.destroyAllWindows()


def check_video_path(path: Path) -> None:
    """Raise an `EdgeError` unless a video can be written to a path, as far as can be told before."""
    if path.suffix.lower() not in _CODECS:
        near = suggestion(path.suffix.lower(), _CODECS)
        raise EdgeError(f"{path} was given for the video; one of {', '.join(_CODECS)} is expected{near}")
    check_name(str(path))
    check_folder(path)


def check_folder(path: Path) -> None:
    """Raise an `EdgeError` unless the folder that a file is to be written to is there."""
    if not path.absolute().parent.is_dir():
        raise EdgeError(f"{path} cannot be written: there is no folder {path.parent}")
