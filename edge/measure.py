"""Measuring a bundle: times of preprocessing and inference, loading, memory.

A number is measured or it is None: a percentile that so few samples cannot show, a peak of memory that the
system does not tell.
"""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
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
_PEAK_FIELD = "VmHWM:"


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
class Alone:
    """A precision in a process of its own that loads it and predicts one clip.

    Attributes:
      load_ms: reading and checking the bundle, importing the engine, loading the model.
      first_prediction_ms: the first prediction.
      peak_memory_bytes: the largest resident memory of that process; None where the system does not tell.
    """

    load_ms: float
    first_prediction_ms: float
    peak_memory_bytes: Optional[int]


def measure_alone(path: str, engine: str, precision: str, threads: Optional[int], choice: InputChoice) -> Alone:
    """Return what one precision costs alone, measured in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(_load_and_predict, path, engine, precision, threads, choice).result()


def _load_and_predict(path: str, engine: str, precision: str, threads: Optional[int], choice: InputChoice) -> Alone:
    start = time.perf_counter()
    recognizer = ActionRecognizer.from_bundle(path, engine, precision, threads)
    load_ms = (time.perf_counter() - start) * 1000
    clip = make_input(recognizer.bundle, choice)
    start = time.perf_counter()
    recognizer.predict(clip.frames, clip.skeleton, clip.inertial)
    return Alone(load_ms, (time.perf_counter() - start) * 1000, peak_memory_bytes())


def peak_memory_bytes() -> Optional[int]:
    """Return the largest resident memory of this process so far; None where there is no /proc.

    Not `ru_maxrss`: that one starts at the memory of whoever started the process.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    fields = (line.split() for line in status.read_text().splitlines())
    return next((int(field[1]) * 1024 for field in fields if field and field[0] == _PEAK_FIELD), None)


@dataclass(frozen=True)
class Times:
    """Milliseconds of every iteration: preprocessing once, then inference with each precision."""

    preprocess_ms: List[float]
    inference_ms: Dict[str, List[float]]


def measure_times(recognizers: Mapping[str, ActionRecognizer], clip: ClipInput, warmup: int, iterations: int) -> Times:
    """Return the times of precisions that take turns, so that whatever else the machine does meets all alike.

    Args:
      recognizers: precision to recogniser, all of one bundle.
      clip: what they predict.
      warmup: iterations that do not count.
      iterations: iterations that do.
    """
    any_one = next(iter(recognizers.values()))
    times = Times([], {name: [] for name in recognizers})
    for iteration in range(-warmup, iterations):
        start = time.perf_counter()
        inputs, _ = any_one.prepare(clip.frames, clip.skeleton, clip.inertial)
        preprocess_ms = (time.perf_counter() - start) * 1000
        if iteration >= 0:
            times.preprocess_ms.append(preprocess_ms)
        turn = list(recognizers) if iteration % 2 == 0 else list(recognizers)[::-1]
        for name in turn:
            start = time.perf_counter()
            recognizers[name].engine.run(inputs)
            inference_ms = (time.perf_counter() - start) * 1000
            if iteration >= 0:
                times.inference_ms[name].append(inference_ms)
    return times
