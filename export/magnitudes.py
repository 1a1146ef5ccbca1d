"""How large the values of a tensor are: a histogram of fixed size, whatever the number of clips.

It takes two passes over the data. The first finds the largest magnitude, the second counts magnitudes in bins
of equal width up to it. Exact zeros are left out: every scale keeps them exact, so they say nothing about
which scale is good, and behind a ReLU they would outnumber everything else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# A multiple of the 2048 bins of the entropy method; fine enough that a percentile may be read off an edge.
BINS = 32 * 2048


@dataclass(frozen=True, eq=False)
class Magnitudes:
    """What is kept of a tensor's values.

    Attributes:
      largest: the largest magnitude; 0 if there were only zeros.
      counts: (BINS,) int64, number of values other than 0 by magnitude: bin i is from i to i + 1 times
        largest / BINS, and the largest itself is in the last one.
    """

    largest: float
    counts: np.ndarray


def largest_magnitude(values: np.ndarray) -> float:
    """Return the largest magnitude among values of any shape; NaN or infinity if there is one."""
    return float(np.abs(values).max())


def count_magnitudes(values: np.ndarray, largest: float) -> np.ndarray:
    """Return the counts of `Magnitudes` for values of any shape, none of them larger than `largest`."""
    found = np.abs(values[values != 0]).astype(np.float64)
    if not found.size:
        return np.zeros(BINS, np.int64)
    bins = np.minimum((found * (BINS / largest)).astype(np.int64), BINS - 1)
    return np.bincount(bins, minlength=BINS)
