"""The whole way from a decoded frame to an event, at the rate of a camera.

The frames are in memory and come one by one at the camera's rate, through the very stream that `edge.live` runs:
capture in a thread of its own, window, engine, smoothing, events. Decoding is not part of it.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any, Dict, Optional, Sequence

import numpy as np

from edge.cold_start import status_bytes
from edge.errors import EdgeError
from edge.events import Predicted, Started
from edge.measure import ClipInput, Percentiles, percentiles
from edge.recognizer import ActionRecognizer
from edge.runtime import StreamOptions
from edge.sampling import Entries
from edge.sources import ArraySource

# A usual camera's, and those of UTD-MHAD's sensors. What comes first here is what a stream ticks with.
_RATES_HZ = {"video": 30.0, "skeleton": 30.0, "inertial": 50.0}
_SETTLED = 0.2  # the share of the time after which memory should no longer grow
_RESIDENT_FIELD = "VmRSS:"
_PARTS = ("decode_ms", "preprocess_ms", "inference_ms", "smoothing_ms", "waiting_ms")


@dataclass(frozen=True)
class StreamTimes:
    """What a stream did. Latencies are in milliseconds, from the capture of a window's newest frame to the result.

    Attributes:
      camera_rate_hz: frames per second that the camera gave; skeletons or samples where there is no video.
      seconds: how long.
      predictions: windows that were recognised.
      dropped_frames: frames that nobody could look at, because a newer one had come.
      stride: instants from one prediction to the next, as asked for.
      widest_stride: the widest one there was; more than `stride` if the engine could not hold it.
      latency_ms: percentiles of the whole latency.
      parts_ms: median of each part of it.
      actions: actions that began.
      memory_growth_bytes: resident memory at the end, less that after a fifth of the time; None without /proc.
    """

    camera_rate_hz: float
    seconds: float
    predictions: int
    dropped_frames: int
    stride: int
    widest_stride: int
    latency_ms: Percentiles
    parts_ms: Dict[str, float]
    actions: int
    memory_growth_bytes: Optional[int]


class Repeated(Sequence[Any]):
    """Entries of a clip, over and over, without a copy of them."""

    def __init__(self, entries: Entries, count: int) -> None:
        self._entries, self._count = entries, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return self._entries[index % len(self._entries)]


def measure_stream(
    recognizer: ActionRecognizer, clip: ClipInput, rate_hz: Optional[float], seconds: float, stride: Optional[int]
) -> StreamTimes:
    """Return what a stream of a clip that is repeated does; it takes as long as it is to last.

    Args:
      recognizer: what watches.
      clip: frames, skeletons and samples.
      rate_hz: of the camera; of the skeletons where there is no video, of the samples where there is nothing else.
        None for a usual one.
      seconds: how long it goes on.
      stride: instants from one prediction to the next; None for the stream's own choice.

    Raises:
      EdgeError: if that is too short for a prediction.
    """
    frames = clip.frames
    given = {"video": frames, "skeleton": clip.skeleton, "inertial": clip.inertial}
    ticking = next(name for name, values in given.items() if values is not None)
    rates_hz = {**_RATES_HZ, **({ticking: rate_hz} if rate_hz else {})}
    clock_hz = rates_hz[ticking]
    source = None
    if frames is not None:
        source = ArraySource(Repeated(frames, int(seconds * clock_hz)), clock_hz, real_time=True)
    events = recognizer.stream(
        source,
        _tiled(clip.skeleton, seconds, rates_hz["skeleton"]),
        _tiled(clip.inertial, seconds, rates_hz["inertial"]),
        skeleton_rate_hz=rates_hz["skeleton"],
        inertial_rate_hz=rates_hz["inertial"],
        real_time=True,
        options=StreamOptions(stride=stride),
    )
    kept = _Kept()
    actions, settled_bytes = 0, None
    for event in events:
        actions += isinstance(event, Started)
        if isinstance(event, Predicted):
            kept.add(event)
            if settled_bytes is None and event.time_s >= seconds * _SETTLED:
                settled_bytes = status_bytes(_RESIDENT_FIELD)
    if not kept.total_ms:
        window_s = recognizer.bundle.window.duration_s
        raise EdgeError(f"{seconds:g} s of a stream were asked for; more than a window of {window_s:g} s is expected")
    end_bytes = status_bytes(_RESIDENT_FIELD)
    grown = None if end_bytes is None or settled_bytes is None else end_bytes - settled_bytes
    return StreamTimes(
        camera_rate_hz=clock_hz,
        seconds=seconds,
        predictions=len(kept.total_ms),
        dropped_frames=kept.dropped_frames,
        stride=stride or recognizer.bundle.window.stride,
        widest_stride=kept.stride,
        latency_ms=percentiles(kept.total_ms),
        parts_ms={name: float(np.median(values)) for name, values in kept.parts_ms.items()},
        actions=actions,
        memory_growth_bytes=grown,
    )


class _Kept:
    """What is kept of predictions: numbers alone, as whole ones would count as memory that the stream has grown by."""

    def __init__(self) -> None:
        self.total_ms = array("d")
        self.parts_ms = {name: array("d") for name in _PARTS}
        self.stride = self.dropped_frames = 0

    def add(self, event: Predicted) -> None:
        """Take one."""
        self.total_ms.append(event.latency.total_ms)
        for name, values in self.parts_ms.items():
            values.append(getattr(event.latency, name))
        self.stride = max(self.stride, event.stride)
        self.dropped_frames = event.dropped_frames


def _tiled(values: Optional[np.ndarray], seconds: float, rate_hz: float) -> Optional[np.ndarray]:
    if values is None:
        return None
    return values[np.arange(int(seconds * rate_hz)) % len(values)]
