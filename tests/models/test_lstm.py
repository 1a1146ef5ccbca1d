"""The LSTM layer against Flax's own, and its two recurrences against each other."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from edge.joints import KINECT25
from hartx.models.lstm import LSTM
from hartx.models.motion import motion
from hartx.models.sequence_lstm import SequenceLSTM, TemporalConv
from hartx.models.skeleton_lstm import SkeletonLSTM, bones

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


def test_motion_is_the_difference_to_the_step_before():
    x = jnp.array([[[1.0], [3.0], [2.0]]])
    np.testing.assert_array_equal(motion(x)[0], [[0], [2], [-1]])


@pytest.mark.parametrize("joints", [20, 25])
def test_bones_lead_from_the_parent_and_do_not_move_with_the_body(joints):
    x = jax.random.normal(jax.random.key(0), (2, 3, 3 * joints))
    moved = (x.reshape(2, 3, joints, 3) + jnp.array([1.0, -2.0, 3.0])).reshape(x.shape)
    np.testing.assert_allclose(bones(moved), bones(x), atol=1e-5)
    if joints == 25:
        at = {name: slice(3 * i, 3 * i + 3) for i, name in enumerate(KINECT25)}
        found, elbow, wrist = bones(x), x[..., at["left_elbow"]], x[..., at["left_wrist"]]
        np.testing.assert_array_equal(found[..., at["left_wrist"]], wrist - elbow)
        np.testing.assert_array_equal(found[..., at["hip_center"]], 0)


def test_bones_of_no_known_layout_are_refused():
    with pytest.raises(ValueError, match="21 joints were given"):
        bones(jnp.zeros((1, 2, 63)))


def test_a_skeleton_is_described_by_what_is_asked_for_in_that_order():
    x = jax.random.normal(jax.random.key(0), (1, 4, 75))
    encoder = SkeletonLSTM(75, ("bones", "joint_motion"), 8.0, features=8, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(encoder.describe(x), jnp.concatenate([bones(x), 8 * motion(x)], -1), atol=1e-6)
    with pytest.raises(ValueError, match="bonse"):
        SkeletonLSTM(75, ("bonse",), rngs=nnx.Rngs(0))


@pytest.mark.parametrize(("stride", "steps"), [(1, 6), (2, 6), (2, 7)])
def test_temporal_conv_equals_flax(stride, steps):
    layer = TemporalConv(3, 4, 5, stride, rngs=nnx.Rngs(0))
    conv = nnx.Conv(3, 4, (5,), strides=stride, padding=((2, 2),), rngs=nnx.Rngs(0))
    conv.kernel[...] = layer.linear.kernel[...].reshape(5, 3, 4)
    x = jax.random.normal(jax.random.key(0), (2, steps, 3))
    np.testing.assert_allclose(layer(x), nnx.relu(conv(x)), atol=1e-5)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", ["last", "mean_max"])
@pytest.mark.parametrize("stem_strides", [(), (2,), (1, 2)])
def test_every_kind_gives_its_features(bidirectional, pooling, stem_strides):
    encoder = SequenceLSTM(
        6, 8, bidirectional=bidirectional, pooling=pooling, stem_strides=stem_strides, rngs=nnx.Rngs(0)
    )
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
    encoder = SequenceLSTM(6, 8, layers=1, bidirectional=True, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (1, 7, 6))
    (layer,) = encoder.layers
    expected = jnp.concatenate([layer.forward(x)[:, -1], layer.backward(x)[:, 0]], axis=-1)
    np.testing.assert_array_equal(encoder.encode(x), expected)


@pytest.mark.parametrize("pooling", ["last", "mean_max"])
def test_absent_skeleton_is_finite_with_finite_gradients(pooling):
    encoder = SequenceLSTM(6, 8, bidirectional=True, stem_strides=(2,), pooling=pooling, rngs=nnx.Rngs(0))
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
        ({"stem_strides": (0,)}, r"stem_strides .0,. were given"),
        ({"features": 7, "bidirectional": True}, "features 7"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SequenceLSTM(6, **arguments, rngs=nnx.Rngs(0))
