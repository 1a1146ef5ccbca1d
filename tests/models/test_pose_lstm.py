"""Joints found in depth and what reads them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.preprocess import normalise_skeleton
from hartx.models.encoder import JointTargets
from hartx.models.ensemble import Ensemble
from hartx.models.fusion import SingleStream
from hartx.models.pose_lstm import HIP, JOINTS, JOINTS_INPUT, NECK, PoseLSTM, PoseNet, joint_loss, normalise
from hartx.models.resnet3d import ResNet3D
from hartx.models.skeleton_lstm import SkeletonLSTM

FEATURES = 3 * len(JOINTS)
seeds = st.integers(0, 2**31 - 1)


def skeletons(seed, clips=2, steps=5):
    """Bodies that move, their torsos of one length."""
    rng = np.random.default_rng(seed)
    joints = 0.3 * rng.standard_normal((clips, steps, len(JOINTS), 3))
    joints[:, :, NECK] = joints[:, :, HIP] + [0.0, 0.25, 0.0]
    return joints.reshape(clips, steps, FEATURES).astype(np.float32)


def reader():
    return SkeletonLSTM(FEATURES, ("joints",), features=8, layers=1, num_classes=3, rngs=nnx.Rngs(1))


@given(seeds)
def test_what_is_found_is_normalised_as_what_is_given(seed):
    """The median and the mean of a torso that keeps its length are the same."""
    found = skeletons(seed, clips=1)
    given_ = normalise_skeleton(found.reshape(-1, len(JOINTS), 3), "kinect20")
    np.testing.assert_allclose(normalise(jnp.asarray(found))[0], given_.reshape(-1, FEATURES), atol=1e-4)


@given(seeds, st.floats(0.5, 2.0), st.floats(-1, 1))
def test_neither_place_nor_size_is_left(seed, scale, shift):
    there = jnp.asarray(skeletons(seed))
    np.testing.assert_allclose(normalise(scale * there + shift), normalise(there), atol=1e-3)


@settings(max_examples=20)
@given(seeds, st.floats(0.03, 1.0))
def test_the_loss_counts_clips_with_joints_only(seed, error):
    true = jnp.asarray(skeletons(seed))
    assert joint_loss(true, true) == 0
    off = joint_loss(true + error, true)
    weights = np.mean([1 + any(p in j for p in ("elbow", "wrist", "hand", "knee", "ankle", "foot")) for j in JOINTS])
    np.testing.assert_allclose(off, weights * (error - 0.0125), rtol=1e-3)
    half = true.at[1].set(0.0)
    np.testing.assert_allclose(joint_loss(half + error, half), off, rtol=1e-3)
    assert joint_loss(true, 0 * true) == 0


def dots(rng, clips):
    """Frames with one dot, which every joint is at, and where it is."""
    size, steps = 32, 3
    frames = np.zeros((clips, steps, size, size, 1), np.float32)
    places = rng.integers(4, size - 4, (clips, steps, 2))
    for clip, step in np.ndindex(clips, steps):
        row, column = places[clip, step]
        frames[clip, step, row - 1 : row + 2, column - 1 : column + 2] = 1.0
    right, up = (places[..., 1] + 0.5) / size - 0.5, 0.5 - (places[..., 0] + 0.5) / size
    joints = np.stack([right, up, np.full_like(up, 0.1)], axis=-1)
    return frames, np.tile(joints, (1, 1, len(JOINTS))).astype(np.float32)


def test_a_dot_is_found_where_it_is():
    """x to the right, y up, z as learnt; joint after joint."""
    net = PoseNet(8, rngs=nnx.Rngs(0))
    graph, params, rest = nnx.split(net, nnx.Param, ...)
    optimizer = optax.adam(1e-2)

    def loss_fn(params, rest, frames, joints):
        model = nnx.merge(graph, params, rest, copy=True)
        model.train()
        return joint_loss(model(frames), joints), nnx.state(model, nnx.BatchStat)

    @jax.jit
    def step(params, rest, state, frames, joints):
        (_, rest), gradient = jax.value_and_grad(loss_fn, has_aux=True)(params, rest, frames, joints)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), rest, state

    rng, state = np.random.default_rng(0), optimizer.init(params)
    for _ in range(60):
        params, rest, state = step(params, rest, state, *dots(rng, 8))
    frames, joints = dots(rng, 8)
    model = nnx.merge(graph, params, rest)
    model.eval()
    error = np.abs(np.asarray(model(jnp.asarray(frames))) - joints)
    assert error.mean() < 0.03, error.mean()
    assert np.abs(joints - joints.mean()).mean() > 0.15


@pytest.fixture(scope="module")
def encoder():
    return PoseLSTM(PoseNet(4, rngs=nnx.Rngs(0)), Ensemble([reader(), reader()]))


@pytest.fixture(scope="module")
def learnt(encoder):
    """A function of recorded joints: the logits and the loss, and the gradients of each by pose and reader."""
    graph, params, rest = nnx.split(encoder, nnx.Param, ...)
    frames = jax.random.uniform(jax.random.key(1), (2, 6, 16, 16, 1))

    def learn(params, joints):
        model = nnx.merge(graph, params, rest, copy=True)
        model.train()
        output = model.training_output(frames, JointTargets(joints), nnx.Rngs(dropout=0))
        return jnp.stack([sum(jnp.sum(x**2) for x in output.logits), output.joint_loss]), output.logits

    jacobian = jax.jit(jax.jacrev(learn, has_aux=True))
    values = jax.jit(learn)

    def run(joints):
        gradients, logits = jacobian(params, joints)
        by = {
            part: np.max([np.abs(x).reshape(2, -1).max(1) for x in jax.tree.leaves(gradients[part])], axis=0)
            for part in ("pose", "reader")
        }
        return logits, float(values(params, joints)[0][1]), by

    return run


def test_the_reader_teaches_the_joints_nothing(learnt):
    """Nor do the joints teach the reader: each has its own loss."""
    _, _, gradients = learnt(jnp.asarray(skeletons(3, steps=6)))
    assert gradients["pose"][0] == 0 and gradients["pose"][1] > 0
    assert gradients["reader"][0] > 0 and gradients["reader"][1] == 0


def test_each_member_learns_from_joints_found_and_recorded(learnt):
    logits, loss, _ = learnt(jnp.asarray(skeletons(3, steps=6)))
    others, _, _ = learnt(jnp.asarray(skeletons(4, steps=6)))
    assert [x.shape for x in logits] == [(2, 3)] * 4 and loss > 0
    np.testing.assert_array_equal(logits[0], others[0])  # found: other recorded joints change nothing
    assert np.abs(logits[2] - others[2]).max() > 1e-4


def test_joints_are_read_a_little_off_in_training(monkeypatch):
    """The same over a clip in place, anew in each frame: what is found at test is off as well."""
    model = PoseLSTM(PoseNet(4, rngs=nnx.Rngs(0)), reader())
    model.train()
    read, real = [], SkeletonLSTM.training_output
    monkeypatch.setattr(SkeletonLSTM, "training_output", lambda self, x, *more: read.append(x) or real(self, x, *more))
    joints = jnp.asarray(skeletons(3, clips=16, steps=6))
    model.training_output(jnp.zeros((16, 6, 16, 16, 1)), JointTargets(joints), nnx.Rngs(dropout=0))
    off = np.asarray(read[1] - normalise(joints))
    assert 0.02 < off.std(axis=1).mean() < 0.05  # in torso lengths, over the frames; their length is off as well


def test_clips_are_blended_in_their_joints_and_not_in_their_frames(encoder):
    """To exchange clips by way of the blend is to exchange them before; half and half is the joints' mean."""
    graph, state = nnx.split(encoder)
    frames = jax.random.uniform(jax.random.key(1), (2, 6, 16, 16, 1))
    joints = jnp.asarray(skeletons(3, steps=6))

    @jax.jit
    def learn(frames, joints, blend):
        model = nnx.merge(graph, state, copy=True)
        model.train()
        output = model.training_output(frames, JointTargets(joints, blend), nnx.Rngs(dropout=0))
        return jnp.stack(output.logits), output.joint_loss

    exchanged, loss = learn(frames, joints, jnp.eye(2)[::-1])
    expected, _ = learn(frames[::-1], joints[::-1], None)
    np.testing.assert_allclose(exchanged, expected, atol=1e-5)
    halves, same_loss = learn(frames, joints, jnp.full((2, 2), 0.5))
    means, _ = learn(frames, jnp.tile(joints.mean(0), (2, 1, 1)), None)
    np.testing.assert_allclose(halves[2:], means[2:], atol=1e-5)
    assert loss == same_loss  # what is found is not changed by what is made of it
    assert np.abs(np.asarray(halves) - np.asarray(expected)).max() > 1e-4


def test_an_encoder_that_finds_no_joints_reads_clips_that_are_blended():
    network, x = reader(), jnp.asarray(skeletons(3))
    blend = jnp.array([[0.7, 0.3], [0.2, 0.8]])
    (found,) = network.training_output(x, JointTargets(x, blend), nnx.Rngs(dropout=0)).logits
    (expected,) = network.training_output(jnp.einsum("ij,jtf->itf", blend, x), None, nnx.Rngs(dropout=0)).logits
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_one_stream_of_depth_with_a_3d_network_beside(encoder):
    network = ResNet3D(10, 4, in_channels=1, num_classes=3, rngs=nnx.Rngs(0))
    model = SingleStream("depth", Ensemble([network, encoder]))
    depth = jax.random.uniform(jax.random.key(1), (2, 6, 16, 16, 1))
    inputs = {"depth": depth, JOINTS_INPUT: jnp.asarray(skeletons(5, steps=6))}
    output = nnx.jit(lambda model: model.with_streams(inputs, nnx.Rngs(dropout=0)))(model)
    assert len(output.stream_logits) == 5 and output.joint_loss > 0
    model.eval()
    both = nnx.jit(lambda model: (model({"depth": depth}), (network(depth) + encoder(depth)) / 2))
    together, mean = both(model)
    np.testing.assert_allclose(together, mean, atol=1e-6)
