"""What each TensorRT release can do, as far as our engines are concerned."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Tuple

from edge.errors import EdgeError

RTX = "rtx"


@dataclass(frozen=True)
class Release:
    """Releases that are alike, from `first` up to the next entry of `RELEASES`.

    Attributes:
      first: the first of them, (major, minor).
      max_opset: the newest ONNX opset its parser reads.
      python: whether our builder drives it; otherwise `trtexec` does.
      explicit_batch: whether a network must be created with the flag EXPLICIT_BATCH.
      precision_flags: whether the builder has the flags FP16 and INT8 and may choose precisions by itself.
      strongly_typed: whether it can be told to take every precision from the file.
      calibrator: whether it has IInt8EntropyCalibrator2.
      timing_cache: whether a timing cache may be used.
      found_in: where a device gets it from, for people.
    """

    first: Tuple[int, int]
    max_opset: int
    python: bool
    explicit_batch: bool
    precision_flags: bool
    strongly_typed: bool
    calibrator: bool
    timing_cache: bool
    found_in: str


# Opsets: NVIDIA's ONNX opset guide and onnx-tensorrt's change log. The rest: the names that the Python module of
# each release has; tests/export/tensorrt_api.json holds those that we use.
RELEASES = (
    Release((8, 0), 13, False, True, True, False, True, True, "JetPack 4.6, 5.0"),
    Release((8, 5), 17, True, True, True, False, True, True, "JetPack 5.1"),
    Release((8, 6), 17, True, True, True, False, True, True, "JetPack 6.0"),
    Release((9, 0), 17, True, True, True, False, True, True, "no JetPack"),
    Release((10, 0), 20, True, False, True, True, True, True, "no JetPack"),
    Release((10, 3), 20, True, False, True, True, True, True, "JetPack 6.1, 6.2"),
    Release((10, 4), 20, True, False, True, True, True, True, "no JetPack"),
    Release((10, 6), 22, True, False, True, True, True, True, "no JetPack"),
    Release((10, 13), 22, True, False, True, True, True, True, "JetPack 7"),
    Release((11, 0), 25, True, False, False, True, False, True, "after JetPack 7.0"),
)
# TensorRT-RTX has the interface of 11. Its engines are finished where they are loaded, so a timing cache is of no use.
_RTX_RELEASE = Release((11, 0), 25, True, False, False, True, False, False, "PCs with an RTX GPU")
_TOO_NEW = (12, 0)


def parse_version(text: str) -> Tuple[int, ...]:
    """Return the numbers a version starts with: (10, 3, 0) of "10.3.0.post1".

    Raises:
      EdgeError: if there are fewer than two.
    """
    match = re.match(r"\d+(\.\d+)+", text)
    if match is None:
        raise EdgeError(f"TensorRT version {text!r} was given; one like 8.6.1, 10.3.0 or {RTX} is expected")
    return tuple(int(number) for number in match.group().split("."))


def release_of(version: str) -> Release:
    """Return what a version can do.

    Args:
      version: like "8.6.1", or "rtx".

    Raises:
      EdgeError: for a version that this program does not know.
    """
    if version == RTX:
        return _RTX_RELEASE
    numbers = parse_version(version)
    if not RELEASES[0].first <= numbers < _TOO_NEW:
        raise EdgeError(
            f"TensorRT {version} is not known here; 8.2 to 11 is expected\n"
            f"  Older ones cannot read the models; for newer ones this program must be extended first"
        )
    return [release for release in RELEASES if release.first <= numbers][-1]
