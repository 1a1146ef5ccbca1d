"""The lowerings of 3D convolution and pooling give the same numbers, forward and backward."""

from __future__ import annotations

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hartx.models import conv3d
from hartx.models.conv3d import Conv3D, conv3d_by_taps, conv3d_native
from hartx.models.pool3d import max_pool_by_axes, max_pool_native


def loops(x, kernel, strides, padding):
    """3D cross-correlation as its definition says, in float64."""
    x = np.pad(np.float64(x), ((0, 0), *((p, p) for p in padding), (0, 0)))
    size = kernel.shape[:3]
    steps = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:4], size, strides, strict=True)]
    out = np.zeros((x.shape[0], *steps, kernel.shape[-1]))
    for at in itertools.product(*map(range, steps)):
        window = tuple(slice(a * s, a * s + k) for a, s, k in zip(at, strides, size, strict=True))
        out[(slice(None), *at)] = np.einsum("nthwc,thwcd->nd", x[(slice(None), *window)], np.float64(kernel))
    return out


def random_arrays(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


def triples(low, high):
    return st.tuples(*[st.integers(low, high)] * 3)


@partial(jax.jit, static_argnums=(2, 3))
def outputs_and_gradients(x, kernel, strides, padding):
    """Of each lowering the output and the gradients of the sum of its sines by input and kernel."""

    def of(lowering):
        out, transpose = jax.vjp(lambda x, kernel: lowering(x, kernel, strides, padding), x, kernel)
        return out, *transpose(jnp.cos(out))

    return of(conv3d_by_taps), of(conv3d_native)


def assert_equal_to_rounding(actual, expected):
    assert actual.shape == expected.shape
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * scale)


@given(
    size=triples(1, 6),
    kernel_size=st.tuples(*[st.sampled_from([1, 3])] * 3),  # odd, as Conv3D has them: XLA aborts on some even ones
    strides=triples(1, 3),
    padding=triples(0, 2),
    channels=st.sampled_from([(1, 2), (3, 4), (conv3d.MAX_STACKED_CHANNELS, 2)]),
    seed=st.integers(0, 9),
)
@settings(max_examples=12, deadline=None)
def test_taps_equal_native(size, kernel_size, strides, padding, channels, seed):
    assume(all(n + 2 * p >= k for n, p, k in zip(size, padding, kernel_size, strict=True)))
    x, kernel = random_arrays(seed, (2, *size, channels[0]), (*kernel_size, *channels))
    for actual, expected in zip(*outputs_and_gradients(x, kernel, strides, padding), strict=True):
        assert_equal_to_rounding(actual, expected)


@pytest.mark.parametrize(
    ("shape", "kernel_size", "stride", "padding"),
    [
        ((2, 5, 6, 7, 3), 7, 2, 3),  # the stem: taps in the channels
        ((1, 4, 5, 5, 40), 3, 1, 1),  # a stage
        ((1, 4, 5, 5, 40), 3, 2, 1),  # the first of a stage
        ((2, 1, 4, 4, 40), 3, 1, 1),  # one frame: two of three taps lie in the padding
        ((2, 4, 5, 5, 8), 1, 2, 0),  # a shortcut
        ((2, 3, 3, 3, 40), 1, 1, 1),  # all but the middle comes from padding
        ((1, 1, 1, 1, 40), 2, 3, 2),  # nothing but padding
    ],
)
@pytest.mark.parametrize("lowering", [conv3d_native, conv3d_by_taps])
def test_both_equal_the_definition(lowering, shape, kernel_size, stride, padding):
    x, kernel = random_arrays(0, shape, (kernel_size,) * 3 + (shape[-1], 4))
    strides, paddings = (stride,) * 3, (padding,) * 3
    assert_equal_to_rounding(lowering(x, kernel, strides, paddings), loops(x, kernel, strides, paddings))


@partial(jax.jit, static_argnums=2)
def pools_and_gradients(x, weights, over_time):
    def of(pool):
        out, transpose = jax.vjp(lambda x: pool(x, over_time), x)
        return out, transpose(weights)[0]

    return of(max_pool_by_axes), of(max_pool_native)


@given(size=triples(1, 6), seed=st.integers(0, 9), levels=st.sampled_from([2, 1000]), over_time=st.booleans())
@settings(max_examples=8, deadline=None)
def test_pools_are_the_same(size, seed, levels, over_time):
    # Two levels: nearly every window has ties, and the gradient must go to the same one of them.
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.integers(1, levels + 1, (2, *size, 3)) / levels, jnp.float32)
    steps = (size[0] + 1) // 2 if over_time else size[0]
    weights = jnp.asarray(rng.normal(size=(2, steps, *((n + 1) // 2 for n in size[1:]), 3)), jnp.float32)
    (by_axes, by_axes_gradient), (native, native_gradient) = pools_and_gradients(x, weights, over_time)
    np.testing.assert_array_equal(by_axes, native)
    np.testing.assert_allclose(by_axes_gradient, native_gradient, atol=1e-5)


@pytest.mark.parametrize("over_time, window, strides", [(True, 3, 2), (False, 1, 1)])
def test_pool_equals_a_padded_pool(over_time, window, strides):
    (x,) = random_arrays(2, (2, 5, 6, 7, 3))
    x = jax.nn.relu(x)
    expected = nnx.max_pool(x, (window, 3, 3), (strides, 2, 2), [(window // 2, window // 2), (1, 1), (1, 1)])
    np.testing.assert_array_equal(max_pool_native(x, over_time), expected)


def test_layer_picks_the_lowering(monkeypatch):
    called = []
    for name in ("conv3d_native", "conv3d_by_taps"):
        real = getattr(conv3d, name)
        monkeypatch.setattr(conv3d, name, lambda *a, name=name, real=real: called.append(name) or real(*a))
    layer = Conv3D(2, 3, 3, rngs=nnx.Rngs(0))
    x = jnp.ones((1, 2, 4, 4, 2))
    layer(x)  # the tests run on a CPU
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    layer(x)
    layer.set_attributes(lowering="taps")
    layer(x)
    layer.set_attributes(lowering="native")
    layer(x)
    assert called == ["conv3d_by_taps", "conv3d_native", "conv3d_by_taps", "conv3d_native"]


def test_unknown_lowering_is_refused():
    with pytest.raises(ValueError, match="'tabs' was given"):
        Conv3D(1, 1, 1, lowering="tabs", rngs=nnx.Rngs(0))(jnp.ones((1, 1, 1, 1, 1)))


def test_he_initialisation():
    kernel = np.asarray(Conv3D(16, 32, 3, rngs=nnx.Rngs(0)).kernel[...])
    assert kernel.std() == pytest.approx((2 / (27 * 32)) ** 0.5, rel=0.05)
    assert abs(kernel.mean()) < 1e-3


def test_compute_dtype_leaves_parameters_in_float32():
    layer = Conv3D(2, 3, 3, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    x = jnp.ones((1, 2, 4, 4, 2))
    assert layer(x).dtype == jnp.bfloat16
    assert layer.kernel[...].dtype == jnp.float32
    exact = conv3d_native(x, layer.kernel[...], (1, 1, 1), (1, 1, 1))
    np.testing.assert_allclose(np.float32(layer(x)), exact, atol=0.05)
