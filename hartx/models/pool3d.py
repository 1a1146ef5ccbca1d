"""3D max-pooling in two lowerings with equal results: XLA's own, and one axis after the other for CPUs."""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from hartx.models.conv3d import use_taps


def max_pool_native(x: Float[Array, "B T H W C"], over_time: bool = True) -> Float[Array, "B t h w C"]:
    """Max-pool of window 3, stride 2 and padding 1 of values that are not negative (after a ReLU).

    It is over time, height and width; over height and width of each frame if not `over_time`.

    For them zeros and no padding at all give the same numbers as a pool's own padding, which ONNX
    conversion would drop; it also wants the window by keyword.
    """
    time = int(over_time)
    x = jnp.pad(x, ((0, 0), (time, time), (1, 1), (1, 1), (0, 0)))
    return nnx.max_pool(x, window_shape=(1 + 2 * time, 3, 3), strides=(1 + time, 2, 2), padding="VALID")


def max_pool_by_axes(x: Float[Array, "B T H W C"], over_time: bool = True) -> Float[Array, "B t h w C"]:
    """The same, one axis after the other.

    XLA:CPU takes the gradient of a pool by a slow search through every window; this one is three times as
    fast. Among equal values the gradient goes to the first in both: width, height and time are reduced
    in this order, each preferring the earlier value, which finds the first in (time, height, width).
    """
    for axis in (3, 2, 1) if over_time else (3, 2):
        padding = [(0, 0)] * x.ndim
        padding[axis] = (1, 1)
        x = jnp.pad(x, padding)
        last = x.shape[axis] - 3  # where the last window starts
        first, *others = (lax.slice_in_dim(x, tap, tap + last + 1, 2, axis=axis) for tap in range(3))
        x = first
        for other in others:
            x = jnp.where(other > x, other, x)
    return x


class MaxPool3D(nnx.Module):
    """Max-pool of window 3, stride 2, padding 1, for values that are not negative (after a ReLU).

    Attributes:
      over_time: pool over time too, beside height and width.
      lowering: as in `Conv3D`; "taps" means one axis after the other.
    """

    def __init__(self, over_time: bool = True, *, lowering: str = "auto") -> None:
        self.over_time = over_time
        self.lowering = lowering

    def __call__(self, x: Float[Array, "B T H W C"]) -> Float[Array, "B t h w C"]:
        """Return the maximum of each window."""
        pool = max_pool_by_axes if use_taps(self.lowering) else max_pool_native
        return pool(x, self.over_time)
