"""Which instants of a recording a clip consists of.

Modalities run at different rates (depth and skeletons at 30 frames a second, colour at 15), so a clip
is a span of time, never a range of indices; each modality is then read at its own number of instants
within that span.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence, Union

import numpy as np

# Entries of a track. An array is no typing.Sequence, though it has all that is asked of one here.
Entries = Union[np.ndarray, Sequence[Any]]


@dataclass(frozen=True)
class Track:
    """One modality of one recording.

    Attributes:
      values: N entries, indexable by an integer: (H, W, 3) uint8 RGB frames, (H, W) uint16 depth in
        millimetres, (J, 3) joints in metres or (6,) inertial samples. Decoding may be lazy.
      time_s: (N,) seconds from the start of the recording, increasing.
    """

    values: Entries
    time_s: np.ndarray

    @property
    def duration_s(self) -> float:
        """Seconds from the first entry to the end of the last one."""
        if len(self.time_s) < 2:
            return float(self.time_s[-1]) + 1 / 30 if len(self.time_s) else 0.0
        step = (self.time_s[-1] - self.time_s[0]) / (len(self.time_s) - 1)
        return float(self.time_s[-1] + step)


def regular_track(values: Entries, rate_hz: float) -> Track:
    """Return the track of entries taken at a constant rate, the first one at time 0."""
    return Track(values, np.arange(len(values), dtype=np.float64) / rate_hz)


def common_span(tracks: Mapping[str, Track]) -> tuple[float, float]:
    """Return the (start, stop) seconds that all tracks cover."""
    return 0.0, min(track.duration_s for track in tracks.values())


def segment_times(start_s: float, stop_s: float, count: int, offset: float | np.ndarray = 0.5) -> np.ndarray:
    """Return one instant from each of `count` equal segments of a span.

    Args:
      start_s: start of the span.
      stop_s: end of the span.
      count: number of segments.
      offset: where in its segment each instant lies, in [0, 1): 0.5 is the middle; an array of shape
        (count,) places each on its own (Wang et al., Temporal Segment Networks, ECCV 2016).
    """
    return start_s + (np.arange(count) + offset) * ((stop_s - start_s) / count)


def nearest(time_s: np.ndarray, instants: np.ndarray) -> np.ndarray:
    """Return for each instant the index of the entry on display then, the last one at or before it."""
    return np.clip(np.searchsorted(time_s, instants + 1e-6, side="right") - 1, 0, len(time_s) - 1)


def interpolate(values: np.ndarray, time_s: np.ndarray, instants: np.ndarray) -> np.ndarray:
    """Return `values` (N, ...) interpolated linearly at the instants, held constant beyond both ends."""
    if len(time_s) == 1:
        return np.repeat(values, len(instants), axis=0)
    right = np.clip(np.searchsorted(time_s, instants), 1, len(time_s) - 1)
    left = right - 1
    weight = np.clip((instants - time_s[left]) / (time_s[right] - time_s[left]), 0, 1)
    weight = weight.reshape((-1,) + (1,) * (values.ndim - 1))
    return values[left] * (1 - weight) + values[right] * weight
