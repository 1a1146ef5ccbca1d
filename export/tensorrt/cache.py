"""TensorRT's calibration cache: scales as the text that `IInt8EntropyCalibrator2` reads and writes.

For TensorRT up to 10, where INT8 without Q/DQ nodes is calibrated on the device: with a cache it runs no clip.
The first line names version and algorithm, `TRT-8502-EntropyCalibration2`; each other line is a tensor, a colon
and the bits of its scale (largest magnitude / 127) as a float32, most significant digit first, in hexadecimal
("Calibration file" in NVIDIA's sampleINT8; ONNX Runtime's reader of such tables agrees). TensorRT refuses
a cache of another version than its own, so the builder writes it anew for the version found on the device. A
tensor without a line stays in float, and so does the layer that gives or reads it.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from typing import Dict, Mapping, Tuple

from edge.errors import EdgeError

CACHE_FILE = "calibration.cache"
ALGORITHM = "EntropyCalibration2"

# JetPack 5.1. From TensorRT 10 on, engines are built from the Q/DQ model instead.
DEFAULT_VERSION = (8, 5, 2)


@dataclass(frozen=True)
class Cache:
    """What a cache holds.

    Attributes:
      version: TensorRT's version as one number, see `version_number`.
      algorithm: "EntropyCalibration2" for `IInt8EntropyCalibrator2`.
      scales: tensor to the size of one int8 step, a float32 value.
    """

    version: int
    algorithm: str
    scales: Mapping[str, float]


def version_number(version: Tuple[int, int, int]) -> int:
    """Return a version as TensorRT writes it: 8.5.2 is 8502, 10.3.0 is 100300 (`NV_TENSORRT_VERSION`)."""
    major, minor, patch = version
    return major * (1_000 if major < 10 else 10_000) + minor * 100 + patch


def to_text(scales: Mapping[str, float], version: Tuple[int, int, int] = DEFAULT_VERSION) -> str:
    """Return the text of a cache.

    Args:
      scales: tensor to the size of one int8 step; rounded to float32.
      version: of the TensorRT that is to read it.

    Raises:
      EdgeError: for a tensor's name with a line break, or a scale that is not positive and finite in float32.
    """
    lines = [f"TRT-{version_number(version)}-{ALGORITHM}"]
    for name, scale in sorted(scales.items()):
        if not name or len(name.splitlines()) > 1 or name.strip() != name:
            raise EdgeError(f"a tensor is named {name!r}, which a calibration cache cannot hold")
        lines.append(f"{name}: {_bits(name, scale).hex()}")
    return "\n".join(lines) + "\n"


def _bits(name: str, scale: float) -> bytes:
    """Return a scale as a float32, most significant byte first."""
    try:
        bits = struct.pack(">f", scale)
    except OverflowError:
        bits = struct.pack(">f", math.inf)
    if not 0 < struct.unpack(">f", bits)[0] < math.inf:
        raise EdgeError(f"the scale of {name} is {scale}; a positive float32 is expected")
    return bits


def parse(text: str) -> Cache:
    """Return what a cache holds.

    Raises:
      EdgeError: naming the line that is not one of a cache.
    """
    head, *lines = text.split("\n")
    match = re.fullmatch(r"TRT-(\d+)-(\w+)", head)
    if not match:
        raise EdgeError(f"no calibration cache: the first line is {head!r}, TRT-VERSION-ALGORITHM is expected")
    scales: Dict[str, float] = {}
    for number, line in enumerate(lines, start=2):
        if not line:
            continue
        # Names may have colons themselves. TensorRT writes no leading zeros.
        entry = re.fullmatch(r"(.+): ([0-9a-fA-F]{1,8})", line)
        if not entry:
            raise EdgeError(f"calibration cache, line {number}: {line!r}; NAME: 8 hexadecimal digits are expected")
        if entry[1] in scales:
            raise EdgeError(f"calibration cache, line {number}: {entry[1]} is there twice")
        (scales[entry[1]],) = struct.unpack(">f", bytes.fromhex(entry[2].zfill(8)))
    return Cache(int(match[1]), match[2], scales)
