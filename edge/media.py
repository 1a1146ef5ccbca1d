"""Reading recordings from files.

| what      | files                    | content                                                          |
|-----------|--------------------------|------------------------------------------------------------------|
| rgb       | any video OpenCV reads   | .avi, .mp4, .mkv, ...                                            |
| depth     | `.npy`                   | (T, H, W) uint16 millimetres, background 0                       |
|           | UTD-MHAD `*_depth.mat`   | `d_depth` (H, W, T)                                              |
| skeletons | `.npy`                   | (T, 20, 3) or (T, 25, 3) metres                                  |
|           | `.txt`, `.csv`           | numbers parted by blanks or commas; a frame is one line of 60    |
|           |                          | or 75 (x y z of each joint), or twenty lines of 3                |
|           | UTD-MHAD `*_skeleton.mat`| `d_skel` (20, 3, T)                                              |
| inertial  | `.npy`                   | (N, 6): acceleration x y z in g, angular velocity x y z in deg/s |
|           | UTD-MHAD `*_inertial.mat`| `d_iner` (N, 6)                                                  |

The joints are in the order of `edge.joints`. Only videos and UTD-MHAD's depth and skeletons know their rate;
its inertial samples do not fit their nominal one. The `.mat` files need scipy, which nothing else here does.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, Optional, Sequence, Union

import cv2
import numpy as np

from edge.clock import USUAL_RATE_HZ, FrameClock
from edge.errors import EdgeError
from edge.sampling import Entries

UTD_MHAD_RATE_HZ = 30.0  # of its depth frames and its skeletons
# A header that promises more names the unit of its times: browsers write 1000 into WebM, which counts milliseconds.
_FASTEST_HZ = 240.0
_SAME_S = 1e-7  # times that are closer pick the same frames (`edge.sampling.nearest`)
_RATE_TOLERANCE = 0.05  # a header that is further off from the times of the frames is wrong

# What OpenCV decodes files with. Left to itself it goes on to readers of numbered images, which take a file
# for the first of many, and to an AVI reader of its own that writes stray bytes to stderr.
_BACKENDS = (cv2.CAP_FFMPEG, cv2.CAP_GSTREAMER)


@dataclass(frozen=True)
class Recording:
    """One modality from a file.

    Attributes:
      values: the frames, skeletons or inertial samples; those of a video are decoded when they are asked for.
      rate_hz: entries per second, of a variable rate the mean; None where the file does not say.
      time_s: (T,) seconds of each frame as a stream over the file has them (`edge.clock`), the first at 0; None where
        they are those of the rate.
    """

    values: Entries
    rate_hz: Optional[float]
    time_s: Optional[np.ndarray] = None


class VideoFile(Sequence[np.ndarray]):
    """The frames of a video file, (H, W, 3) uint8 RGB, decoded when asked for: any length in little memory.

    Cheap in increasing order; a step back decodes again from the start, since seeking is not exact in
    all containers. The length is that of the frames that can be decoded, which for a damaged file is
    less than what its header promises.

    Raises:
      EdgeError: if the file holds no frame that can be decoded.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()
        self.rate_hz = rate_of(self._capture)
        clock, stamps_ms, times_s = FrameClock(self.rate_hz), [], []
        while self._capture.grab():
            stamps_ms.append(self._capture.get(cv2.CAP_PROP_POS_MSEC))
            times_s.append(clock.next(stamps_ms[-1]))
        self._length = len(times_s)
        if self._length == 0:
            raise EdgeError(f"{path} has no frame that can be decoded; it is empty or damaged")
        self.time_s: Optional[np.ndarray] = np.array(times_s)
        own_s = _own_times(np.array(stamps_ms) / 1000)
        if own_s is not None:
            found_hz = float((self._length - 1) / self.time_s[-1])
            wrong = self.rate_hz is None or abs(found_hz / self.rate_hz - 1) > _RATE_TOLERANCE
            self.rate_hz = found_hz if wrong or _varies(own_s) else self.rate_hz
        if _is_regular(self.time_s, self.rate_hz or USUAL_RATE_HZ):
            self.time_s = None
        self._open()

    def _open(self) -> None:
        self._next = 0
        self._frame: Optional[np.ndarray] = None
        self._capture = open_capture(str(self._path))

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < self._length:
            raise IndexError(index)
        if index < self._next - 1:
            self._open()
        while self._next <= index:
            if not self._capture.grab():
                raise EdgeError(f"{self._path}: frame {self._next} could be decoded at first, now it cannot")
            self._next += 1
            self._frame = None
        if self._frame is None:
            self._frame = retrieve_rgb(self._capture)
            if self._frame is None:
                raise EdgeError(f"{self._path}: frame {index} cannot be decoded; the file is damaged")
        return self._frame


def _own_times(stamps_s: np.ndarray) -> Optional[np.ndarray]:
    """Return a video's own times from 0 on; None where they say nothing.

    Times that do not increase are those of a damaged file, or a container without any: the rate in its header is all
    there is.
    """
    if len(stamps_s) < 3 or not np.isfinite(stamps_s).all() or (np.diff(stamps_s) <= 0).any():
        return None
    return stamps_s - stamps_s[0]


def _varies(time_s: np.ndarray) -> bool:
    """Return whether a frame comes half a step or more from where a constant rate would put it."""
    step_s = time_s[-1] / (len(time_s) - 1)
    return bool(np.abs(time_s - step_s * np.arange(len(time_s))).max() >= step_s / 2)


def _is_regular(time_s: np.ndarray, rate_hz: float) -> bool:
    """Return whether the frames are where a constant rate puts them, to whoever picks frames by their time."""
    return bool(np.abs(time_s - np.arange(len(time_s)) / rate_hz).max() < _SAME_S)


def open_capture(path: str) -> cv2.VideoCapture:
    """Return a video file opened by OpenCV.

    Raises:
      EdgeError: if it cannot be.
    """
    check_name(path)
    for backend in _BACKENDS:
        capture = cv2.VideoCapture(os.path.abspath(path), backend)  # else "12:30.mp4" is taken for an address
        if capture.isOpened():
            return capture
    raise EdgeError(f"{path} is no video that OpenCV can read; it is damaged or of another kind")


def retrieve_rgb(capture: cv2.VideoCapture) -> Optional[np.ndarray]:
    """Return the frame that was grabbed, (H, W, 3) uint8 RGB; None if it cannot be decoded."""
    try:
        decoded, frame = capture.retrieve()
    except cv2.error:  # what a damaged file may end in
        return None
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) if decoded else None


def rate_of(capture: cv2.VideoCapture) -> Optional[float]:
    """Return the frames per second that a file or camera promises; None if it promises nothing that can be meant."""
    rate_hz = capture.get(cv2.CAP_PROP_FPS)
    return rate_hz if 0 < rate_hz <= _FASTEST_HZ else None


def read_video(path: Union[str, Path]) -> Recording:
    """Return the frames of a video, (H, W, 3) uint8 RGB, and its rate.

    Raises:
      EdgeError: if there is no such file, or no frame of it can be decoded.
    """
    path = existing_file(path)
    video = VideoFile(path)
    return Recording(video, video.rate_hz, video.time_s)


def read_depth(path: Union[str, Path]) -> Recording:
    """Return depth frames, (T, H, W) uint16 millimetres with background 0.

    Raises:
      EdgeError: if there is no such file, it is damaged, or holds something else.
    """
    path = existing_file(path)
    if path.suffix.lower() == ".mat":
        values, rate_hz = _read_mat(path, "d_depth"), UTD_MHAD_RATE_HZ
        values = values.transpose(2, 0, 1) if values.ndim == 3 else values
    elif path.suffix.lower() == ".npy":
        values, rate_hz = _read_npy(path), None
    else:
        raise EdgeError(f"{path} was given; depth is expected as .npy (T, H, W) uint16 or UTD-MHAD's *_depth.mat")
    if values.ndim != 3 or values.dtype != np.uint16 or 0 in values.shape:
        raise EdgeError(f"{path} holds {values.shape} {values.dtype}; depth of (T, H, W) uint16 is expected")
    return Recording(values, rate_hz)


def read_frames(path: Union[str, Path], modality: str) -> Recording:
    """Return what a bundle of a video modality ("rgb" or "depth") reads from a file."""
    return read_depth(path) if modality == "depth" else read_video(path)


def read_skeleton(path: Union[str, Path]) -> Recording:
    """Return skeletons, (T, 20, 3) or (T, 25, 3) float32 in metres.

    Raises:
      EdgeError: if there is no such file, it is damaged, or holds something else.
    """
    path = existing_file(path)
    suffix, rate_hz = path.suffix.lower(), None
    if suffix == ".mat":
        values, rate_hz = _read_mat(path, "d_skel"), UTD_MHAD_RATE_HZ
        values = values.transpose(2, 0, 1) if values.ndim == 3 else values
    elif suffix == ".npy":
        values = _read_npy(path)
    elif suffix in (".txt", ".csv"):
        values = _read_rows(path)
    else:
        raise EdgeError(f"{path} was given; a skeleton is expected as .npy, .txt, .csv or UTD-MHAD's *_skeleton.mat")
    if values.ndim != 3 or values.shape[1:] not in ((20, 3), (25, 3)) or len(values) == 0:
        raise EdgeError(f"{path} holds {values.shape}; skeletons of (T, 20, 3) or (T, 25, 3) are expected")
    return Recording(_as_numbers(values, path), rate_hz)


def read_inertial(path: Union[str, Path]) -> Recording:
    """Return inertial samples, (N, 6) float32: acceleration in g, angular velocity in degrees/s.

    The rate is never known: UTD-MHAD's files hold 2.4 to 3.2 samples a depth frame, where the sensor's 50 Hz
    would be 1.7, but are cut to the same action as its other files.

    Raises:
      EdgeError: if there is no such file, it is damaged, or holds something else.
    """
    path = existing_file(path)
    if path.suffix.lower() == ".mat":
        values = _read_mat(path, "d_iner")
    elif path.suffix.lower() == ".npy":
        values = _read_npy(path)
    else:
        raise EdgeError(f"{path} was given; inertial samples are expected as .npy (N, 6) or UTD-MHAD's *_inertial.mat")
    if values.ndim != 2 or values.shape[1] != 6 or len(values) == 0:
        raise EdgeError(f"{path} holds {values.shape}; inertial samples of (N, 6) are expected")
    return Recording(_as_numbers(values, path), None)


def _as_numbers(values: np.ndarray, path: Path) -> np.ndarray:
    if values.dtype.kind not in "fiu":
        raise EdgeError(f"{path} holds {values.dtype}; numbers are expected")
    with np.errstate(over="ignore"):  # becomes infinite, which is refused where it is looked at
        return np.asarray(values, np.float32)


def existing_file(path: Union[str, Path]) -> Path:
    """Return a path after checking that a file is there and not empty."""
    path = Path(path)
    if os.path.isdir(str(path)):
        raise EdgeError(f"{path} is a folder; a file is expected")
    if not os.path.isfile(str(path)):
        raise EdgeError(f"{path}: there is no such file, or it may not be read")
    if path.stat().st_size == 0:
        raise EdgeError(f"{path} is empty (0 bytes)")
    return path


def check_name(path: str) -> None:
    """Raise unless a file's name is UTF-8, as it need not be on Linux."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise EdgeError(f"{path!a} has a name that is not UTF-8, which OpenCV crashes on; rename it") from None


def _read_npy(path: Path) -> np.ndarray:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged file ends in whatever its parser trips over
        raise EdgeError(f"{path} cannot be read as .npy: {error}") from error
    if not isinstance(values, np.ndarray):
        raise EdgeError(f"{path} holds several arrays (.npz); a .npy with one is expected")
    return values


def _read_mat(path: Path, variable: str) -> np.ndarray:
    try:
        from scipy.io import loadmat
    except ImportError:
        raise EdgeError(
            f"{path}: reading .mat files needs the package scipy, which is not installed\n"
            f"  Install it: pip install scipy"
        ) from None
    try:
        values = loadmat(path, variable_names=[variable]).get(variable)
    except Exception as error:  # a damaged file ends in whatever its parser trips over
        raise EdgeError(f"{path} cannot be read as .mat: {error}") from error
    if values is None:
        raise EdgeError(f"{path} has no variable {variable!r}; another kind of file was given, or it is damaged")
    return values


def _read_rows(path: Path) -> np.ndarray:
    """Return (T, J, 3) from lines of 60 or 75 numbers, or from twenty lines of 3 a frame."""
    rows: List[List[float]] = []
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
            row = [float(word) for word in line.replace(",", " ").split()]
            if row and (len(row) not in (3, 60, 75) or (rows and len(row) != len(rows[0]))):
                raise EdgeError(
                    f"{path}, line {number} has {len(row)} numbers; 60 (20 joints), 75 (25 joints) or 3 (one "
                    f"joint of 20), the same in every line, are expected"
                )
            if row:
                rows.append(row)
    except (ValueError, OSError) as error:
        raise EdgeError(f"{path} cannot be read as lines of numbers: {error}") from error
    values = np.array(rows, np.float32)
    joints = 25 if rows and len(rows[0]) == 75 else 20
    if not rows or values.size % (3 * joints):
        raise EdgeError(f"{path} has {len(rows)} lines of numbers; whole frames of 20 lines are expected")
    return values.reshape(-1, joints, 3)
