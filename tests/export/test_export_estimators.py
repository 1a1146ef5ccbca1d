"""Range estimators: properties that hold for any data, and against brute force."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from export.estimators import ESTIMATORS, INT8_MAX, entropy, estimate, mean_squared_error
from export.magnitudes import BINS, Magnitudes, count_magnitudes, largest_magnitude

PERCENTILES = ("percentile-99.9", "percentile-99.99", "percentile-99.999")


def magnitudes(*parts: np.ndarray) -> Magnitudes:
    """Return what two passes over some arrays keep."""
    largest = max(largest_magnitude(part) for part in parts)
    return Magnitudes(largest, sum(count_magnitudes(part, largest) for part in parts))


def ranges(*parts: np.ndarray) -> dict[str, float]:
    found = magnitudes(*parts)
    return {name: estimate(name, found) for name in ESTIMATORS}


def squared_error(values: np.ndarray, range_: float) -> float:
    step = range_ / INT8_MAX
    return float(np.mean((np.clip(np.rint(values / step), -INT8_MAX, INT8_MAX) * step - values) ** 2))


def heavy_tailed(seed: int, count: int = 20_000) -> np.ndarray:
    return np.random.default_rng(seed).standard_t(3, count).astype(np.float32)


# Normal numbers only: what is below them a scale in float32 cannot hold either.
FLOATS = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
ARRAYS = hnp.arrays(np.float32, st.integers(1, 200), elements=FLOATS)


@settings(max_examples=15, deadline=None)
@given(values=ARRAYS)
def test_ranges_are_above_0_and_at_most_the_largest_and_percentiles_are_ordered(values):
    largest = float(np.abs(values).max())
    found = ranges(values)
    assert found["max"] == largest
    assert all(0 < r <= largest for r in found.values()) if largest else set(found.values()) == {0}
    assert found["percentile-99.9"] <= found["percentile-99.99"] <= found["percentile-99.999"]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), exponent=st.integers(-30, 30))
def test_ranges_scale_with_the_values(seed, exponent):
    values = heavy_tailed(seed, 2_000)
    found, scaled = ranges(values), ranges(np.ldexp(values, exponent))
    assert scaled == {name: np.ldexp(r, exponent) for name, r in found.items()}


def test_ranges_scale_with_any_factor_to_the_width_of_a_bin():
    values = heavy_tailed(3)
    found, scaled = ranges(values), ranges(values * np.float32(0.3))
    for name, range_ in found.items():
        assert scaled[name] == pytest.approx(0.3 * range_, abs=0.3 * found["max"] / 2048), name


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), zeros=st.integers(1, 5_000))
def test_zeros_signs_order_and_clips_do_not_matter(seed, zeros):
    values = heavy_tailed(seed, 2_000)
    rng = np.random.default_rng(seed)
    other = rng.permutation(np.concatenate([values * rng.choice([-1, 1], len(values)), np.zeros(zeros)]))
    assert ranges(*np.array_split(other.astype(np.float32), 7)) == ranges(values)


def test_tensor_of_zeros_has_no_range():
    assert set(ranges(np.zeros((2, 3), np.float32)).values()) == {0.0}


def test_smallest_numbers_do_not_overflow():
    assert all(0 < r <= 3e-45 for r in ranges(np.asarray([1e-45, 3e-45], np.float32)).values())


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.sampled_from([50, 1_000, 1_001, 12_345, 100_000]))
def test_percentiles_are_exact_to_a_bin(seed, count):
    values = heavy_tailed(seed, count)
    counted = magnitudes(values)
    found, width = {name: estimate(name, counted) for name in PERCENTILES}, counted.largest / BINS
    for name in PERCENTILES:
        rank = math.ceil(Fraction(name.removeprefix("percentile-")) / 100 * count)
        exact = float(np.sort(np.abs(values))[rank - 1])
        assert exact <= found[name] * (1 + 1e-12), name
        assert found[name] <= exact + width * (1 + 1e-6), name


@pytest.mark.parametrize("seed", range(3))
def test_estimators_differ_on_heavy_tails(seed):
    found = ranges(heavy_tailed(seed, 300_000))
    assert len(set(found.values())) == len(ESTIMATORS)
    assert all(r < 0.95 * found["max"] for name, r in found.items() if name != "max")


def test_an_outlier_hardly_moves_entropy_and_percentiles_and_doubles_max():
    values = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    largest = float(np.abs(values).max())
    before, after = ranges(values), ranges(np.append(values, np.float32(2 * largest)))
    assert after["max"] == 2 * before["max"]
    for name in ("percentile-99.9", "percentile-99.99", "entropy"):
        assert after[name] == pytest.approx(before[name], rel=0.15), name


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["normal", "relu", "laplace", "heavy"]))
def test_mse_is_as_good_as_brute_force(seed, kind):
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=20_000)
    values = {
        "normal": normal,
        "relu": np.maximum(normal, 0),
        "laplace": rng.laplace(size=20_000),
        "heavy": heavy_tailed(seed),
    }[kind].astype(np.float32)
    found = ranges(values)
    best = min(squared_error(values, r) for r in np.linspace(found["max"] / 64, found["max"], 400))
    assert squared_error(values, found["mse"]) <= 1.01 * best
    assert all(squared_error(values, found["mse"]) <= 1.01 * squared_error(values, r) for r in found.values())


def divergence(counts: np.ndarray, size: int) -> float:
    """Return what Migacz's slides define, written out bin by bin."""
    reference = [float(c) for c in counts[:size]]
    reference[-1] += float(counts[size:].sum())
    quantised = [0.0] * size
    for level in range(128):
        members = [i for i in range(size) if i * 128 // size == level and counts[i]]
        for i in members:
            quantised[i] = sum(float(counts[j]) for j in members) / len(members)
    p, q = np.asarray(reference) / sum(reference), np.asarray(quantised) / max(sum(quantised), 1e-300)
    return sum(a * np.log(a / b) if b else np.inf for a, b in zip(p, q, strict=True) if a)


def test_entropy_has_the_smallest_divergence_as_published():
    found = magnitudes(heavy_tailed(0))
    chosen = round(2048 * estimate("entropy", found) / found.largest)
    coarse = found.counts.reshape(2048, -1).sum(axis=1)
    others = [128, 129, 200, 400, 700, 1000, 2048, chosen - 1, chosen + 1]
    assert all(divergence(coarse, chosen) <= divergence(coarse, size) for size in others if 128 <= size <= 2048)
    assert 128 < chosen < 2048


def test_entropy_clips_nothing_of_an_even_distribution():
    assert entropy(np.full(BINS, 3)) == 1.0


def test_mse_follows_the_many_values_where_few_are_far_out():
    """A tensor of 10^8 values, of which one is 30 times as large as the others."""
    values = np.random.default_rng(0).uniform(0, 1, 10_000).astype(np.float32)
    counts = 10_000 * count_magnitudes(values, 30.0) + count_magnitudes(np.float32([30]), 30.0)

    def error(share: float) -> float:
        return 10_000 * len(values) * squared_error(values, 30 * share) + squared_error(np.float32([30]), 30 * share)

    found = mean_squared_error(counts)
    assert error(found) <= 1.01 * min(error(share) for share in np.linspace(1 / 64, 1, 400))
