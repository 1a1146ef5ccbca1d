"""What is predicted over and over, and how long it takes.

A number is measured or it is None: a percentile that so few samples cannot show.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from edge.bundle import Bundle
from edge.errors import EdgeError
from edge.media import read_frames, read_inertial, read_skeleton
from edge.recognizer import ActionRecognizer
from edge.sampling import Entries, nearest, segment_times

# What the sensors of UTD-MHAD give, (width, height).
DEFAULT_SIZES = {"rgb": (640, 480), "depth": (320, 240)}
# The share of a frame's width and height that a body takes there: about 7 % of the area is not background.
_BODY_SHARE = (0.14, 0.5)
_RANDOM_SKELETONS, _RANDOM_SAMPLES = 68, 180  # the mean lengths of the recordings there


@dataclass(frozen=True)
class InputChoice:
    """What to predict over and over: files, or random frames if none is named.

    Attributes:
      size: (width, height) of random frames; None for `DEFAULT_SIZES`.
      clip: a file with frames.
      skeleton: a file with skeletons.
      inertial: a file with inertial samples.
    """

    size: Optional[Tuple[int, int]] = None
    clip: Optional[str] = None
    skeleton: Optional[str] = None
    inertial: Optional[str] = None

    @property
    def files(self) -> Tuple[str, ...]:
        """The files that were named."""
        return tuple(name for name in (self.clip, self.skeleton, self.inertial) if name)


@dataclass(frozen=True)
class ClipInput:
    """Frames, skeletons and inertial samples, decoded and in memory."""

    source: str
    frames: Optional[Entries]
    skeleton: Optional[np.ndarray]
    inertial: Optional[np.ndarray]


def make_input(bundle: Bundle, choice: InputChoice) -> ClipInput:
    """Return the chosen input, with as many frames as the network reads.

    Raises:
      EdgeError: if a file cannot be read or the bundle does not read such.
    """
    if choice.files:
        return ClipInput(
            source=" + ".join(choice.files),
            frames=_decoded(bundle, choice.clip) if choice.clip else None,
            skeleton=np.asarray(read_skeleton(choice.skeleton).values) if choice.skeleton else None,
            inertial=np.asarray(read_inertial(choice.inertial).values) if choice.inertial else None,
        )
    if choice.size and bundle.video_modality is None:
        raise EdgeError(f"a frame size was given; this bundle reads {bundle.reads}, no video")
    rng = np.random.default_rng(0)
    frames = _random_frames(bundle, choice.size, rng)
    joints = rng.normal(size=(_RANDOM_SKELETONS, 20, 3)).astype(np.float32)
    samples = rng.normal((0, 1, 0, 0, 0, 0), (0.5, 0.5, 0.5, 100, 100, 100), (_RANDOM_SAMPLES, 6)).astype(np.float32)
    return ClipInput(
        source="random",
        frames=frames,
        skeleton=joints if "skeleton" in bundle.specs else None,
        inertial=samples if "inertial" in bundle.specs else None,
    )


def _decoded(bundle: Bundle, clip: str) -> List[np.ndarray]:
    """Return the frames of a file that the network reads."""
    modality = bundle.video_modality
    if modality is None:
        raise EdgeError(f"{clip} was given; this bundle reads {bundle.reads}, no video")
    values = read_frames(clip, modality).values
    instants = segment_times(0.0, float(len(values)), bundle.specs[modality].num_frames)
    return [values[int(i)] for i in nearest(np.arange(len(values)), instants)]


def _random_frames(bundle: Bundle, size: Optional[Tuple[int, int]], rng: np.random.Generator) -> Optional[np.ndarray]:
    modality = bundle.video_modality
    if modality is None:
        return None
    width, height = size or DEFAULT_SIZES[modality]
    count = bundle.specs[modality].num_frames
    if modality == "rgb":
        return rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    body_width, body_height = (max(1, int(n * share)) for n, share in zip((width, height), _BODY_SHARE))
    top, left = (height - body_height) // 2, (width - body_width) // 2
    frames = np.zeros((count, height, width), np.uint16)
    body = rng.integers(2200, 2700, (count, body_height, body_width), dtype=np.uint16)
    frames[:, top : top + body_height, left : left + body_width] = body
    return frames


@dataclass(frozen=True)
class Percentiles:
    """Percentiles of repeated times, in milliseconds; None where there are too few repetitions."""

    p50: Optional[float]
    p90: Optional[float]
    p99: Optional[float]
    mean: float


def percentiles(times_ms: Sequence[float]) -> Percentiles:
    """Return the percentiles; the p-th one needs at least 100 / (100 - p) samples."""
    enough = {p: len(times_ms) * (100 - p) >= 100 for p in (50, 90, 99)}
    values = {p: float(np.percentile(times_ms, p)) if enough[p] else None for p in enough}
    return Percentiles(values[50], values[90], values[99], float(np.mean(times_ms)))


@dataclass(frozen=True)
class Times:
    """Milliseconds of every iteration.

    Attributes:
      preprocess_ms: making the network's inputs.
      engine_ms: by name, the engine alone on inputs that are made already.
      added_ms: by name, a whole prediction without its preprocessing: the engine and what the recogniser adds.
      total_ms: by name, a whole prediction.
    """

    preprocess_ms: List[float]
    engine_ms: Dict[str, List[float]]
    added_ms: Dict[str, List[float]]
    total_ms: Dict[str, List[float]]

    def overhead_percent(self, name: str) -> float:
        """Return what the recogniser adds to the engine's own time, in percent of it, by the medians."""
        engine_ms = float(np.median(self.engine_ms[name]))
        return (float(np.median(self.added_ms[name])) / engine_ms - 1) * 100


def measure_times(recognizers: Mapping[str, ActionRecognizer], clip: ClipInput, warmup: int, iterations: int) -> Times:
    """Return the times of recognisers that take turns, so that whatever else the machine does meets all alike.

    Args:
      recognizers: by name, all of one bundle.
      clip: what they predict.
      warmup: iterations that do not count.
      iterations: iterations that do.
    """
    names = list(recognizers)
    times = Times([], _empty(names), _empty(names), _empty(names))
    for iteration in range(-warmup, iterations):
        forward = iteration % 2 == 0
        for name in names if forward else names[::-1]:
            engine_ms = _time_engine(recognizers[name], clip) if forward else 0.0
            prediction = recognizers[name].predict(clip.frames, clip.skeleton, clip.inertial)
            if not forward:
                engine_ms = _time_engine(recognizers[name], clip)
            if iteration >= 0:
                times.preprocess_ms.append(prediction.preprocess_ms)
                times.engine_ms[name].append(engine_ms)
                times.added_ms[name].append(prediction.latency_ms - prediction.preprocess_ms)
                times.total_ms[name].append(prediction.latency_ms)
    return times


def _empty(names: List[str]) -> Dict[str, List[float]]:
    return {name: [] for name in names}


def _time_engine(recognizer: ActionRecognizer, clip: ClipInput) -> float:
    """Return the milliseconds of the engine alone, after the same work that a prediction does before it.

    Threads that have gone to sleep meanwhile, and caches that were used, are no work of the recogniser's.
    """
    inputs, _ = recognizer.prepare(clip.frames, clip.skeleton, clip.inertial)
    start = time.perf_counter()
    recognizer.engine.run(inputs)
    return (time.perf_counter() - start) * 1000
