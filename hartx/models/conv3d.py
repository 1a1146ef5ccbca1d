"""3D convolution in two lowerings with equal results: XLA's own, and temporal taps for CPUs."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from hartx.models import init

Pair = tuple[int, int]
Triple = tuple[int, int, int]
Convolve2D = Callable[[Array, Array, Pair, Pair], Array]  # of images, kernel, strides and padding

# Up to here the taps of a kernel are stacked: more channels make a 2D convolution efficient by themselves.
MAX_STACKED_CHANNELS = 64

LOWERINGS = ("auto", "native", "taps")


def conv3d_native(
    x: Float[Array, "B T H W C"], kernel: Float[Array, "kt kh kw C D"], strides: Triple, padding: Triple
) -> Float[Array, "B t h w D"]:
    """3D convolution (cross-correlation) as one operation, with zero padding on both sides of each axis."""
    return lax.conv_general_dilated(
        x, kernel, strides, [(p, p) for p in padding], dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
    )


def conv3d_by_taps(
    x: Float[Array, "B T H W C"], kernel: Float[Array, "kt kh kw C D"], strides: Triple, padding: Triple
) -> Float[Array, "B t h w D"]:
    """3D convolution as a sum of 2D ones, one per temporal tap, with time folded into the batch.

    Equal to `conv3d_native` up to rounding, forward and backward. XLA:CPU has no fast 3D convolution; on a
    2-core machine a whole training step is about five times as fast (tests/benchmarks/bench_conv3d.py).
    """
    if kernel.shape[:3] == (1, 1, 1) and padding == (0, 0, 0):
        return x[:, :: strides[0], :: strides[1], :: strides[2]] @ kernel[0, 0, 0]
    if kernel.shape[0] * x.shape[-1] <= MAX_STACKED_CHANNELS:
        return _stacked_taps(x, kernel, strides, padding)
    return _summed_taps(x, kernel, strides, padding)


def _stacked_taps(
    x: Float[Array, "B T H W C"], kernel: Float[Array, "kt kh kw C D"], strides: Triple, padding: Triple
) -> Float[Array, "B t h w D"]:
    """One 2D convolution over all taps, stacked into the channels: for few channels, as in a stem."""
    taps, height, width, _, out_channels = kernel.shape
    x = jnp.pad(x, ((0, 0), (padding[0], padding[0]), (0, 0), (0, 0), (0, 0)))
    last = x.shape[1] - taps  # where the last window starts
    frames = [lax.slice_in_dim(x, tap, tap + last + 1, strides[0], axis=1) for tap in range(taps)]
    stacked = jnp.moveaxis(kernel, 0, 2).reshape(height, width, -1, out_channels)
    return _framewise(_conv2d, jnp.concatenate(frames, axis=-1), stacked, strides, padding)


def _summed_taps(
    x: Float[Array, "B T H W C"], kernel: Float[Array, "kt kh kw C D"], strides: Triple, padding: Triple
) -> Float[Array, "B t h w D"]:
    """One 2D convolution per tap, over the steps at which the tap does not lie in the padding."""
    taps, stride, steps_in = kernel.shape[0], strides[0], x.shape[1]
    height = (x.shape[2] + 2 * padding[1] - kernel.shape[1]) // strides[1] + 1
    width = (x.shape[3] + 2 * padding[2] - kernel.shape[2]) // strides[2] + 1
    convolve = _patches_conv2d if height < kernel.shape[1] or width < kernel.shape[2] else _conv2d
    steps = (steps_in + 2 * padding[0] - taps) // stride + 1
    total = None
    for tap in range(taps):
        # Step t reads frame stride * t + tap - padding; first and last are the steps where there is one.
        first = max(0, -((tap - padding[0]) // stride))
        last = min(steps - 1, (steps_in - 1 - tap + padding[0]) // stride)
        if first > last:
            continue
        start = stride * first + tap - padding[0]
        frames = lax.slice_in_dim(x, start, start + stride * (last - first) + 1, stride, axis=1)
        part = _framewise(convolve, frames, kernel[tap], strides, padding)
        part = jnp.pad(part, ((0, 0), (first, steps - 1 - last), (0, 0), (0, 0), (0, 0)))
        total = part if total is None else total + part
    if total is None:  # every step reads padding only
        return _stacked_taps(x, kernel, strides, padding)
    return total


def _framewise(
    convolve: Convolve2D,
    frames: Float[Array, "B t H W C"],
    kernel: Float[Array, "kh kw C D"],
    strides: Triple,
    padding: Triple,
) -> Float[Array, "B t h w D"]:
    folded = frames.reshape((-1,) + frames.shape[2:])
    out = convolve(folded, kernel, strides[1:], padding[1:])
    return out.reshape(frames.shape[:2] + out.shape[1:])


def _patches_conv2d(
    x: Float[Array, "N H W C"], kernel: Float[Array, "kh kw C D"], strides: Pair, padding: Pair
) -> Float[Array, "N h w D"]:
    """2D convolution as one matrix product, for images smaller than the kernel.

    For them XLA:CPU takes the slow path that is meant for kernel gradients, here about twenty times as long.
    """
    x = jnp.pad(x, ((0, 0), (padding[0], padding[0]), (padding[1], padding[1]), (0, 0)))
    taps_i, taps_j, _, channels_out = kernel.shape
    last_i, last_j = x.shape[1] - taps_i, x.shape[2] - taps_j  # where the last windows start
    seen = [
        x[:, i : i + last_i + 1 : strides[0], j : j + last_j + 1 : strides[1]]
        for i in range(taps_i)
        for j in range(taps_j)
    ]
    return jnp.concatenate(seen, axis=-1) @ kernel.reshape(-1, channels_out)


def _conv2d(
    x: Float[Array, "N H W C"], kernel: Float[Array, "kh kw C D"], strides: Pair, padding: Pair
) -> Float[Array, "N h w D"]:
    return lax.conv_general_dilated(
        x, kernel, strides, [(p, p) for p in padding], dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


class Conv3D(nnx.Module):
    """3D convolution with odd kernels, padded so that stride 1 keeps the size. No bias: BatchNorm follows.

    Attributes:
      lowering: "auto" (taps on a CPU, native elsewhere), "native" or "taps". Switch a whole model with
        `model.set_attributes(lowering="native")`; export needs the native one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Triple,
        strides: Triple = (1, 1, 1),
        *,
        dtype: DTypeLike = jnp.float32,
        lowering: str = "auto",
        kernel_init: nnx.Initializer | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        size = (kernel_size,) * 3 if isinstance(kernel_size, int) else kernel_size
        shape = (*size, in_channels, out_channels)
        draw = kernel_init or init.he(math.prod(size) * out_channels)
        self.kernel = nnx.Param(draw(rngs.params(), shape))
        self.strides = strides
        self.padding = (size[0] // 2, size[1] // 2, size[2] // 2)
        self.dtype = jnp.dtype(dtype)
        self.lowering = lowering

    def __call__(self, x: Float[Array, "B T H W C"]) -> Float[Array, "B t h w D"]:
        """Return the convolution, computed and returned in `dtype`."""
        convolve = conv3d_by_taps if use_taps(self.lowering) else conv3d_native
        return convolve(x.astype(self.dtype), self.kernel[...].astype(self.dtype), self.strides, self.padding)


def use_taps(lowering: str) -> bool:
    """Return whether a lowering means taps on this process's backend.

    Raises:
      ValueError: for an unknown lowering.
    """
    if lowering not in LOWERINGS:
        raise ValueError(f"lowering {lowering!r} was given; one of {LOWERINGS} is expected")
    return lowering == "taps" or (lowering == "auto" and jax.default_backend() == "cpu")
