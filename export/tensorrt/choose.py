"""Which of several engines is kept: times of engines that take turns, and the accuracy that the exporter measured."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import Dict, List, Mapping, Optional, Tuple

import numpy as np

from edge.bundle import Bundle
from edge.engines.tensorrt import Runner
from edge.errors import EdgeError


@dataclass(frozen=True)
class Candidate:
    """An engine that could be kept.

    Attributes:
      precision: its precision.
      latency_ms: median time from arrays on the host to logits on the host.
      top1: accuracy of its precision as a fraction, by the exporter; None if it was not measured.
      drop_points: points of top-1 below fp32; None if one of the two was not measured.
    """

    precision: str
    latency_ms: float
    top1: Optional[float]
    drop_points: Optional[float]


@dataclass(frozen=True)
class Choice:
    """The candidate that is kept, and why, for people."""

    kept: Candidate
    why: str


def make_inputs(shapes: Mapping[str, Tuple[int, ...]]) -> Dict[str, np.ndarray]:
    """Return random inputs of given shapes, the same every time."""
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def check_finite(name: str, runner: Runner, inputs: Mapping[str, np.ndarray]) -> None:
    """Raise an `EdgeError` if an engine gives numbers that are not finite."""
    if not np.isfinite(runner.run(inputs)).all():
        raise EdgeError(
            f"the {name} engine gives numbers that are not finite, on random inputs\n"
            f"  Leave it out: --precision=fp16 or --precision=int8, whichever it is not"
        )


def time_in_turns(
    runners: Mapping[str, Runner], inputs: Mapping[str, np.ndarray], warmup: int, iterations: int
) -> Dict[str, List[float]]:
    """Return milliseconds of every iteration, by precision.

    Engines take turns, and who begins changes, so that clocks and whatever else the device does meet all alike.
    """
    times: Dict[str, List[float]] = {name: [] for name in runners}
    for iteration in range(-warmup, iterations):
        for name in list(runners) if iteration % 2 == 0 else list(runners)[::-1]:
            start = time.perf_counter()
            runners[name].run(inputs)
            latency_ms = (time.perf_counter() - start) * 1000
            if iteration >= 0:
                times[name].append(latency_ms)
    return times


def judge(bundle: Bundle, times: Mapping[str, List[float]]) -> Tuple[Candidate, ...]:
    """Return the candidates with their median times and the accuracy that the bundle records."""
    measured = {name: entry.top1 for name, entry in bundle.precisions.items()}
    exact = measured.get("fp32")
    candidates = []
    for name, latencies_ms in times.items():
        top1 = measured.get(name)
        drop = None if exact is None or top1 is None else round((exact - top1) * 100, 6)
        candidates.append(Candidate(name, median(latencies_ms), top1, drop))
    return tuple(candidates)


def choose(candidates: Tuple[Candidate, ...], max_drop: float, *, by_name: bool) -> Choice:
    """Return the fastest candidate that loses at most `max_drop` points.

    A float engine whose accuracy nobody measured may be kept, since rounding to half precision seldom moves
    a class; an int8 engine may not.

    Args:
      candidates: from `judge`, at least one.
      max_drop: points of top-1.
      by_name: the user named the precision, and no budget; then none is asked.

    Raises:
      EdgeError: if none may be kept.
    """
    fit = [entry for entry in candidates if by_name or _fits(entry, max_drop)]
    lines = "; ".join(f"{entry.precision} {entry.latency_ms:.2f} ms, {_said(entry, max_drop)}" for entry in candidates)
    if not fit:
        raise EdgeError(
            f"no engine holds the budget of {max_drop:g} points of top-1: {lines}\n"
            f"  Give a larger --max_drop, or ask for one by name: --precision=fp16"
        )
    kept = min(fit, key=lambda entry: entry.latency_ms)
    if by_name:
        return Choice(kept, f"{kept.precision}: it was asked for ({lines})")
    reason = "the fastest that holds" if len(fit) > 1 else "the only one that holds"
    return Choice(kept, f"{kept.precision}: {reason} the budget of {max_drop:g} points ({lines})")


def _fits(entry: Candidate, max_drop: float) -> bool:
    if entry.drop_points is None:
        return entry.precision != "int8"
    return entry.drop_points <= max_drop


def _said(entry: Candidate, max_drop: float) -> str:
    if entry.drop_points is None:
        return "accuracy not measured" + ("" if _fits(entry, max_drop) else ", so not kept by itself")
    return f"{entry.drop_points:.2f} points below fp32" + ("" if _fits(entry, max_drop) else ", too many")
