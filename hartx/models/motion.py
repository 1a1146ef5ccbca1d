"""Differences over time, which encoders read beside what they are the differences of."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def motion(x: Float[Array, "B T *features"]) -> Float[Array, "B T *features"]:
    """Return the difference of each step to the one before; the first is 0."""
    return jnp.diff(x, axis=1, prepend=x[:, :1])
