"""Temporal elastic: what a warp of time keeps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hartx.data.time_warp import draw_speeds, warp_time

seeds = st.integers(0, 2**31 - 1)
alphas = st.floats(0.01, 0.95)
SHARES = np.linspace(0, 1, 2001)


def warp(seed, alpha):
    return warp_time(SHARES, draw_speeds(np.random.default_rng(seed), alpha))


@given(seeds, alphas)
def test_a_warp_is_monotone_and_keeps_both_ends(seed, alpha):
    warped = warp(seed, alpha)
    assert warped[0] == 0 and warped[-1] == pytest.approx(1, abs=1e-12)
    assert (np.diff(warped) > 0).all() and warped.min() >= 0 and warped.max() <= 1


@given(seeds, alphas)
def test_the_local_speed_is_bounded(seed, alpha):
    """1 - alpha to 1 + alpha, over a mean speed that lies between the two as well."""
    speed = np.diff(warp(seed, alpha)) / np.diff(SHARES)
    assert speed.min() >= (1 - alpha) / (1 + alpha) - 1e-9
    assert speed.max() <= (1 + alpha) / (1 - alpha) + 1e-9
    assert speed.max() / speed.min() <= (1 + alpha) / (1 - alpha) + 1e-9


@given(seeds)
def test_the_speed_has_no_jumps(seed):
    speed = np.diff(warp(seed, 0.3)) / np.diff(SHARES)
    assert np.abs(np.diff(speed)).max() < 0.01


@given(seeds, alphas)
def test_the_drawn_speeds_are_as_stated(seed, alpha):
    speeds = np.array(draw_speeds(np.random.default_rng(seed), alpha))
    assert (np.abs(speeds - 1) <= alpha).all() and len(set(speeds)) > 1


def test_a_known_warp():
    """Speed 1 rising to 3: after half of the time, (0.5 + 0.5 * 0.5) / 2 of the way."""
    np.testing.assert_allclose(warp_time(np.array([0, 0.5, 1]), (1.0, 3.0)), [0, 0.375, 1])


def test_at_zero_strength_time_is_left_as_it_is_and_nothing_drawn():
    rng = np.random.default_rng(0)
    assert draw_speeds(rng, 0.0) == ()
    assert warp_time(SHARES, ()) is SHARES
    assert rng.integers(1000) == np.random.default_rng(0).integers(1000)
