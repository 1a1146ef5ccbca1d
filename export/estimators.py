"""Which magnitude of a tensor becomes 127, from a histogram of its magnitudes.

Each estimator is a function from the counts of `export.magnitudes.Magnitudes` to a share of the largest
magnitude, more than 0 and at most 1. So no range is ever above the largest value seen, and a tensor that is c
times as large gets a range that is c times as large.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from export.magnitudes import BINS, Magnitudes

# Symmetric int8 uses -127..127; -128 has no counterpart.
INT8_MAX = 127

_COARSE_BINS = 2048
_LEVELS = 128

# Ranges below this share of the largest magnitude are not tried for the squared error: their steps would be
# hardly wider than the histogram's bins.
_SMALLEST_SHARE = 1 / 64


def largest(counts: np.ndarray) -> float:
    """Return 1: nothing is clipped."""
    return 1.0


def percentile(counts: np.ndarray, one_in: int) -> float:
    """Return a range that one magnitude in `one_in` exceeds, exact to the width of a bin (which is included)."""
    total = int(counts.sum())
    rank = total - total // one_in
    return float(np.searchsorted(counts.cumsum(), rank) + 1) / BINS


def entropy(counts: np.ndarray) -> float:
    """Return the range whose 128 levels lose the least information about the distribution.

    S. Migacz, "8-bit Inference with TensorRT", GTC 2017: among the thresholds at the edges 128 to 2048 of 2048
    bins, the one with the smallest Kullback-Leibler divergence of the clipped distribution (what lies beyond
    is added to its last bin) from the quantised one. Where that paper takes the middle of the bin behind the
    threshold, its edge is taken here, so that nothing exceeds the largest magnitude.
    """
    coarse = counts.reshape(_COARSE_BINS, -1).sum(axis=1)
    divergences = [_divergence(coarse, size) for size in range(_LEVELS, _COARSE_BINS + 1)]
    return (_LEVELS + int(np.argmin(divergences))) / _COARSE_BINS


def _divergence(coarse: np.ndarray, size: int) -> float:
    """Return the divergence, in nats, of clipping at bin `size` from quantising the bins below to 128 levels."""
    kept = coarse[:size].astype(np.float64)
    filled = kept > 0
    beyond = float(coarse[size:].sum())
    if not filled[-1] and beyond:
        return float("inf")  # the clipped values would be where the quantised distribution has none
    level = np.arange(size) * _LEVELS // size
    mean = np.bincount(level, kept) / np.maximum(np.bincount(level, filled), 1)
    quantised = mean[level][filled]
    reference = kept.copy()
    reference[-1] += beyond
    p, q = reference[filled] / reference.sum(), quantised / quantised.sum()
    return float(np.sum(p * np.log(p / q)))


def mean_squared_error(counts: np.ndarray) -> float:
    """Return the range that rounds to int8 with the smallest mean squared error, in steps of 1/2048.

    Every magnitude counts as the middle of its bin. Sums over the bins of a level are differences of running
    sums, so that all ranges are tried at once; what all of them have in common, the sum of squares, is left out.
    """
    shares = np.arange(_SMALLEST_SHARE * _COARSE_BINS, _COARSE_BINS + 1) / _COARSE_BINS
    levels = np.arange(INT8_MAX + 1)
    middles = (np.arange(BINS) + 0.5) / BINS
    numbers = np.concatenate([[0], np.cumsum(counts)])
    sums = np.concatenate([[0.0], np.cumsum(counts * middles)])
    values = shares[:, None] * levels / INT8_MAX
    # The first bin of level k is the first whose middle is at least k - 1/2 steps.
    first = np.ceil(shares[:, None] * (levels - 0.5) / INT8_MAX * BINS - 0.5).clip(0).astype(np.int64)
    edges = np.concatenate([first, np.full((len(shares), 1), BINS)], axis=1)
    errors = np.sum(values**2 * np.diff(numbers[edges]) - 2 * values * np.diff(sums[edges]), axis=1)
    return float(shares[np.argmin(errors)])


ESTIMATORS: dict[str, Callable[[np.ndarray], float]] = {
    "max": largest,
    "percentile-99.9": partial(percentile, one_in=1_000),
    "percentile-99.99": partial(percentile, one_in=10_000),
    "percentile-99.999": partial(percentile, one_in=100_000),
    "entropy": entropy,
    "mse": mean_squared_error,
}


# Chooses among them by accuracy: `export.calibrator_choice`.
AUTO = "auto"


def estimate(estimator: str, magnitudes: Magnitudes) -> float:
    """Return the range of a tensor by one of `ESTIMATORS`; 0 for a tensor that was 0 throughout."""
    if magnitudes.largest == 0:
        return 0.0
    return ESTIMATORS[estimator](magnitudes.counts) * magnitudes.largest
