"""Temporal elastic: a clip played a little slower here and a little faster there; both ends stay."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

# The speed is drawn at so many evenly spread points of a clip: a gesture has a few phases (raise, hold,
# lower), and each may be quicker or slower than another subject's.
_KNOTS = 6


def draw_speeds(rng: np.random.Generator, alpha: float) -> tuple[float, ...]:
    """Return the speed at each knot, uniform in [1 - alpha, 1 + alpha]; none, which leaves time as it is, for 0."""
    return tuple((1 + alpha * rng.uniform(-1, 1, _KNOTS)).tolist()) if alpha else ()


def warp_time(shares: Float[np.ndarray, " T"], speeds: tuple[float, ...]) -> Float[np.ndarray, " T"]:
    """Return where a clip played at changing speed has got to.

    The speed is linear between the knots, so the way is smooth (its derivative is continuous). The whole
    way is divided by the mean speed, so that both ends stay: the local speed lies between
    (1 - alpha) / (1 + alpha) and (1 + alpha) / (1 - alpha).

    Args:
      shares: times in [0, 1], as shares of the clip.
      speeds: positive speed at evenly spread knots, the first at 0 and the last at 1; empty for no change.

    Returns:
      times in [0, 1], increasing where `shares` are.
    """
    if not speeds:
        return shares
    speed = np.asarray(speeds)
    segments = len(speed) - 1
    way = np.concatenate([[0.0], np.cumsum((speed[:-1] + speed[1:]) / 2)])  # one unit a segment, trapezoids
    place = shares * segments
    left = np.clip(place.astype(int), 0, segments - 1)
    since = place - left
    warped = way[left] + since * (speed[left] + since * (speed[left + 1] - speed[left]) / 2)
    return np.clip(warped / way[-1], 0.0, 1.0)
