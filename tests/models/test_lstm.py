"""The LSTM layer against Flax's own, and its two recurrences against each other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hartx.models.lstm import LSTM
from hartx.models.skeleton_lstm import SkeletonLSTM, TemporalConv, with_velocities

encode = nnx.jit(lambda encoder, x: encoder.encode(x))
classify = nnx.jit(lambda encoder, x: encoder(x))


def flax_lstm(layer, x, reverse):
    """Flax's LSTM over `x` with the weights of `layer`."""
    features = layer.recurrent_kernel.shape[0]
    cell = nnx.LSTMCell(x.shape[-1], features, rngs=nnx.Rngs(0))
    gates = {
        "i": (cell.ii, cell.hi),
        "f": (cell.if_, cell.hf),
        "g": (cell.ig, cell.hg),
        "o": (cell.io, cell.ho),
    }
    for index, (of_input, of_state) in enumerate(gates.values()):
        part = slice(index * features, (index + 1) * features)
        of_input.kernel[...] = layer.input_kernel[...][:, part]
        of_state.kernel[...] = layer.recurrent_kernel[...][:, part]
        of_state.bias[...] = layer.bias[...][part]
    return nnx.RNN(cell, reverse=reverse, keep_order=True, rngs=nnx.Rngs(0))(x)


@pytest.mark.parametrize("recurrence", ["scan", "unrolled"])
@pytest.mark.parametrize("reverse", [False, True])
def test_equals_flax(recurrence, reverse):
    layer = LSTM(5, 7, reverse=reverse, recurrence=recurrence, rngs=nnx.Rngs(3))
    x = jax.random.normal(jax.random.key(0), (2, 6, 5))
    np.testing.assert_allclose(layer(x), flax_lstm(layer, x, reverse), atol=1e-5)


def test_recurrences_have_equal_gradients():
    layer = LSTM(5, 7, rngs=nnx.Rngs(3))
    x = jax.random.normal(jax.random.key(0), (2, 6, 5))
    gradients = []
    for recurrence in ("scan", "unrolled"):
        layer.set_attributes(recurrence=recurrence)
        gradients.append(nnx.jit(nnx.grad(lambda layer: jnp.sum(jnp.sin(layer(x)))))(layer))
    for actual, expected in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_initial_weights():
    layer = LSTM(5, 8, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(layer.bias[...], np.repeat([0, 1, 0, 0], 8))
    for gate in np.split(np.asarray(layer.recurrent_kernel[...]), 4, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(8), atol=1e-5)


def test_unknown_recurrence_is_refused():
    with pytest.raises(ValueError, match="'loop' was given"):
        LSTM(2, 2, recurrence="loop", rngs=nnx.Rngs(0))(jnp.zeros((1, 1, 2)))


def test_velocities():
    x = jnp.array([[[1.0], [3.0], [2.0]]])
    np.testing.assert_array_equal(with_velocities(x)[0], [[1, 0], [3, 2], [2, -1]])


def test_temporal_conv_equals_flax():
    layer = TemporalConv(3, 4, 5, rngs=nnx.Rngs(0))
    conv = nnx.Conv(3, 4, (5,), rngs=nnx.Rngs(0))
    conv.kernel[...] = layer.linear.kernel[...].reshape(5, 3, 4)
    x = jax.random.normal(jax.random.key(0), (2, 6, 3))
    np.testing.assert_allclose(layer(x), nnx.relu(conv(x)), atol=1e-5)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", ["last", "mean_max"])
@pytest.mark.parametrize("stem_width", [0, 5])
def test_every_kind_gives_its_features(bidirectional, pooling, stem_width):
    encoder = SkeletonLSTM(6, 8, bidirectional=bidirectional, pooling=pooling, stem_width=stem_width, rngs=nnx.Rngs(0))
    encoder.eval()
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 7, 6)), jnp.float32)
    features = encode(encoder, x)
    assert features.shape == (3, encoder.num_features) == (3, 8)
    assert classify(encoder, x).shape == (3, 27)
    # The features of a clip depend on its first step as well as on its last, and on no other clip.
    for step in (0, -1):
        changed = encode(encoder, x.at[0, step].add(1.0)) - features
        assert jnp.abs(changed[0]).max() > 1e-6
        np.testing.assert_array_equal(changed[1:], 0)


def test_last_takes_each_direction_where_it_ends():
    encoder = SkeletonLSTM(6, 8, layers=1, bidirectional=True, velocities=False, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (1, 7, 6))
    (layer,) = encoder.layers
    expected = jnp.concatenate([layer.forward(x)[:, -1], layer.backward(x)[:, 0]], axis=-1)
    np.testing.assert_array_equal(encoder.encode(x), expected)


@pytest.mark.parametrize("pooling", ["last", "mean_max"])
def test_absent_skeleton_is_finite_with_finite_gradients(pooling):
    encoder = SkeletonLSTM(6, 8, bidirectional=True, stem_width=3, pooling=pooling, rngs=nnx.Rngs(0))
    encoder.eval()
    zeros = jnp.zeros((2, 7, 6))
    assert jnp.isfinite(classify(encoder, zeros)).all()
    gradients = nnx.jit(nnx.grad(lambda encoder: encoder(zeros).sum()))(encoder)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pooling": "max"}, "'max' was given"),
        ({"stem_width": 4}, "stem_width 4"),
        ({"features": 7, "bidirectional": True}, "features 7"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SkeletonLSTM(6, **arguments, rngs=nnx.Rngs(0))
