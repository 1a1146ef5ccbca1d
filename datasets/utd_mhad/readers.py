"""Raw files to arrays.

Whatever is wrong with a file ends here as a `DamagedFile` that says it in words.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import av
import numpy as np
import scipy.io

from datasets.errors import DatasetError
from datasets.utd_mhad.layout import RawFile

NUM_JOINTS = 20
NUM_INERTIAL = 6  # acceleration x y z in g, angular velocity x y z in degrees/s


class DamagedFile(DatasetError):
    """A raw file does not hold what its name says."""


@dataclass(frozen=True)
class Video:
    """Colour video: (H, W, 3) uint8 RGB frames at a constant rate."""

    frames: list[np.ndarray]
    rate_hz: float


def read(file: RawFile, modality: str) -> Any:
    """Return the content of a raw file.

    Returns:
      rgb: `Video`; depth: (T, H, W) uint16 millimetres, 0 is background; skeleton: (T, 20, 3) float32
      metres; inertial: (N, 6) float32.

    Raises:
      DamagedFile: if it cannot be read or decoded, is empty, or has another key, type or shape.
    """
    try:
        data = file.read()
    except Exception as error:  # zipfile raises whatever its decoders raise
        raise DamagedFile(f"cannot be read ({_first_line(error)})") from error
    if not data:
        raise DamagedFile("is empty (0 bytes)")
    if modality == "skeleton" and PurePath(file.name).suffix.lower() == ".txt":
        return read_skeleton_text(data)
    return _READERS[modality](data)


def read_rgb(data: bytes) -> Video:
    """Return the frames of an AVI file."""
    # A player shows what is left of an AVI that was cut off; only its header tells that there was more.
    declared = int.from_bytes(data[4:8], "little") + 8
    if data[:4] != b"RIFF" or data[8:12] != b"AVI ":
        raise DamagedFile("is not an AVI file")
    if len(data) < declared:
        raise DamagedFile(f"is truncated, {len(data)} of {declared} bytes")
    try:
        with av.open(io.BytesIO(data), "r") as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # recordings are converted side by side
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
            rate = stream.average_rate
    except (av.error.FFmpegError, IndexError) as error:
        raise DamagedFile(f"cannot be decoded ({_first_line(error)})") from error
    if not frames:
        raise DamagedFile("holds no frames")
    if not rate:
        raise DamagedFile("tells no frame rate")
    return Video(frames, float(rate))


def read_depth(data: bytes) -> np.ndarray:
    """Return (T, H, W) uint16 of a .mat file with d_depth (H, W, T)."""
    depth = _read_mat(data, "d_depth", (None, None, None))
    if depth.dtype != np.uint16:
        raise DamagedFile(f"holds d_depth of type {depth.dtype}, uint16 expected")
    if not depth.any():
        raise DamagedFile("holds no foreground, d_depth is 0 everywhere")
    return np.moveaxis(depth, -1, 0)


def read_skeleton(data: bytes) -> np.ndarray:
    """Return (T, 20, 3) float32 of a .mat file with d_skel (20, 3, T)."""
    return _as_float32(np.moveaxis(_read_mat(data, "d_skel", (NUM_JOINTS, 3, None)), -1, 0), "d_skel")


def read_skeleton_text(data: bytes) -> np.ndarray:
    """Return (T, 20, 3) float32 of a text file.

    Numbers are parted by blanks or commas: a frame is one line of 60 (x y z of joint 1, of joint 2, ...)
    or twenty lines of 3.
    """
    try:
        text = data.decode("ascii").replace(",", " ")
        rows = [[float(number) for number in line.split()] for line in text.splitlines() if line.strip()]
        values = np.array(rows)
    except ValueError as error:  # not text, not a number, or lines of different lengths
        raise DamagedFile(f"is not a table of numbers ({_first_line(error)})") from error
    if values.size == 0 or values.shape[1] not in (3, 3 * NUM_JOINTS) or values.size % (3 * NUM_JOINTS):
        raise DamagedFile(f"holds a table of shape {values.shape}, (T, 60) or (20 T, 3) expected")
    return _as_float32(values.reshape(-1, NUM_JOINTS, 3), "the table")


def read_inertial(data: bytes) -> np.ndarray:
    """Return (N, 6) float32 of a .mat file with d_iner (N, 6)."""
    return _as_float32(_read_mat(data, "d_iner", (None, NUM_INERTIAL)), "d_iner")


def _read_mat(data: bytes, key: str, shape: tuple[int | None, ...]) -> np.ndarray:
    try:
        variables = scipy.io.loadmat(io.BytesIO(data), variable_names=[key])
    except Exception as error:  # scipy raises whatever its parser stumbles over
        raise DamagedFile(f"is damaged or truncated ({_first_line(error)})") from error
    if key not in variables:
        raise DamagedFile(f"holds no variable {key}")
    value = variables[key]
    expected = f"({', '.join('n' if size is None else str(size) for size in shape)})"
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise DamagedFile(f"holds {key} that is not numbers, an array {expected} expected")
    wanted = tuple(given if size is None else size for size, given in zip(shape, value.shape, strict=False))
    if value.ndim != len(shape) or value.shape != wanted or value.size == 0:
        raise DamagedFile(f"holds {key} of shape {value.shape}, {expected} expected")
    return value


def _as_float32(values: np.ndarray, name: str) -> np.ndarray:
    with np.errstate(over="ignore"):  # 1e300 becomes infinite
        values = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(values).all():
        raise DamagedFile(f"holds NaN or infinity in {name}")
    if not values.any():
        raise DamagedFile(f"holds nothing but zeros in {name}")  # which networks take for "absent"
    return values


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__


_READERS = {"rgb": read_rgb, "depth": read_depth, "skeleton": read_skeleton, "inertial": read_inertial}
