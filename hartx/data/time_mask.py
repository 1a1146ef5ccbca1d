"""Temporal masking: spans of a clip in which nothing was measured.

A masked frame is all zeros, in every modality and after preparation. Zeros over a whole clip already are
what the networks take for "absent", so zeros over a span say the same of that span; a held frame would
claim that the body stood still, which is evidence. The two cannot be mistaken for each other: at least one
frame of a clip is never masked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool


@dataclass(frozen=True)
class TimeMask:
    """Which spans of a clip are masked: gap, masked, gap, ..., masked, gap.

    Attributes:
      ratio: share of the clip that is masked.
      masked: how that share divides among the spans; together 1.
      gaps: how the rest divides among what lies before, between and after them, one more; together 1.
    """

    ratio: float = 0.0
    masked: tuple[float, ...] = ()
    gaps: tuple[float, ...] = (1.0,)


NO_MASK = TimeMask()


def draw_mask(rng: np.random.Generator, ratio: float, spans: int) -> TimeMask:
    """Return `spans` random spans that are `ratio` of a clip together; every division is as likely as another."""
    if not ratio:
        return NO_MASK
    masked, gaps = rng.dirichlet(np.ones(spans)), rng.dirichlet(np.ones(spans + 1))
    return TimeMask(ratio, tuple(masked.tolist()), tuple(gaps.tolist()))


def masked_frames(mask: TimeMask, count: int) -> Bool[np.ndarray, " count"]:
    """Return which of a clip's `count` frames are masked.

    The share of masked frames is exact to a frame, whatever the spans: round(ratio * count) of them (half
    to even), less one if that were all. So that it is, the edges of a span move, by less than two frames.
    """
    if not mask.ratio:
        return np.zeros(count, bool)
    total = min(round(mask.ratio * count), count - 1)
    # Gaps and spans take turns, beginning and ending with a gap.
    runs = np.empty(2 * len(mask.masked) + 1, int)
    runs[0::2], runs[1::2] = _divide(count - total, mask.gaps), _divide(total, mask.masked)
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs)


def _divide(count: int, shares: tuple[float, ...]) -> np.ndarray:
    """Return `count` frames divided as the shares say, whole ones."""
    until = np.cumsum(shares)
    return np.diff(np.rint(count * until / until[-1]).astype(int), prepend=0)
