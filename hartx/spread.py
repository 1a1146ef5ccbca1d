"""How far a number would move: over seeds, and over recordings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Spread:
    """Mean of a number over seeds and how it varies.

    Attributes:
      mean: over seeds.
      std: sample standard deviation over seeds (divided by n - 1); None of a single one.
      interval95: of the mean, by Student's t with n - 1 degrees of freedom; None of a single seed. Of few seeds it may
        go beyond what the number itself can be.
    """

    mean: float
    std: float | None
    interval95: tuple[float, float] | None


def spread(values: Sequence[float]) -> Spread:
    """Return mean and spread of one or more values, one a seed."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Spread(mean, None, None)
    std = float(np.std(values, ddof=1))
    half = float(stats.t.ppf(0.975, len(values) - 1)) * std / math.sqrt(len(values))
    return Spread(mean, std, (mean - half, mean + half))


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval (Wilson 1927) of a share of `count` recordings; the share may be a mean over seeds."""
    z = float(stats.norm.ppf(0.975))
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)  # rounding goes beyond at 0 and 1
