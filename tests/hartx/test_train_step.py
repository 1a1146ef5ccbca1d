"""What one training step computes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from hartx.data import input_specs
from hartx.mixing import smooth_one_hot
from hartx.models.pose_lstm import JOINTS_INPUT
from hartx.run import RunLength, make_recipe
from hartx.train_step import make_batch, train_step
from tests.hartx import small_config

CLASSES, SIZE = 5, 8
LABELS = jnp.arange(SIZE, dtype=jnp.int32) % CLASSES


@pytest.fixture
def config():
    """Skeletons and the sensor, read by networks as small as they can be; nothing is drawn at random."""
    config = small_config.get_config()
    config.streams, config.batch_size = ("skeleton", "inertial"), SIZE
    config.ema_decay, config.optim.warmup_epochs = 0.9, 0.0
    config.mixing.mixup = config.mixing.cutmix = config.modality_dropout = config.auxiliary_loss = 0.0
    for part in ("skeleton", "inertial", "fusion"):
        config.model[part].dropout = 0.0
    for part in ("skeleton", "inertial"):
        config.model[part].update({"layers": 1, "bidirectional": False, "pooling": "last", "stem_strides": ()})
    config.model.skeleton.descriptions, config.model.inertial.members = (("joints",),), 1
    return config


def inputs_of(config):
    rng = np.random.default_rng(0)
    specs = input_specs(config)
    return {s: jnp.asarray(rng.normal(size=(SIZE, *spec.shape)), jnp.float32) for s, spec in specs.items()}


def step_fn(config):
    """The state of a run, and a compiled function: inputs, number of the step, seed -> state after it, metrics."""
    recipe, state = make_recipe(config, CLASSES, RunLength(10.0, 100))

    @jax.jit
    def take(state, inputs, step, seed):
        return train_step(recipe, dataclasses.replace(state, step=step), inputs, LABELS, jax.random.key(seed))

    return state, lambda inputs, step=5, seed=0: take(state, inputs, jnp.asarray(step, jnp.int32), seed)


def loss_fn(config):
    """Likewise of the loss alone, without whose gradients little is compiled, and of numbers of the config as well."""
    recipe, state = make_recipe(config, CLASSES, RunLength(10.0, 100))

    @jax.jit
    def take(state, inputs, step, seed, fields):
        with recipe.config.ignore_type():  # numbers that are not known yet while this is compiled
            recipe.config.update(fields)
        state = dataclasses.replace(state, step=step)
        return train_step(recipe, state, inputs, LABELS, jax.random.key(seed))[1]["loss"]

    return lambda inputs, step=5, seed=0, **fields: float(
        take(state, inputs, jnp.asarray(step, jnp.int32), seed, fields)
    )


def test_the_average_keeps_its_share_and_takes_the_rest_of_the_new_parameters(config):
    before, take = step_fn(config)
    after, _ = take(inputs_of(config))
    expected = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, before.ema, after.params)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-7), after.ema, expected)
    moved = jax.tree.map(lambda old, new: float(jnp.abs(new - old).max()), before.params, after.params)
    assert max(jax.tree.leaves(moved)) > 1e-3


def test_a_batch_in_pieces_gives_the_step_of_the_whole(config):
    _, whole = step_fn(config)[1](inputs_of(config))
    config.accumulate = 2
    _, pieces = step_fn(config)[1](inputs_of(config))
    for name in ("loss", "accuracy", "gradient_norm"):
        assert float(pieces[name]) == pytest.approx(float(whole[name]), rel=1e-4)


def test_the_losses_of_the_streams_count_as_much_as_they_are_to(config):
    loss, inputs = loss_fn(config), inputs_of(config)
    none, half, full = (loss(inputs, auxiliary_loss=weight) for weight in (0.0, 0.5, 1.0))
    assert half - none > 0.1
    assert full - none == pytest.approx(2 * (half - none), rel=1e-4)


def test_the_loss_of_the_joints_counts_as_much_as_it_is_to(config):
    config.streams, config.model.depth_members, config.model.pose.width = ("depth",), ("pose",), 2
    rng = np.random.default_rng(1)
    inputs = inputs_of(config) | {JOINTS_INPUT: jnp.asarray(rng.normal(size=(SIZE, 4, 60)), jnp.float32)}
    loss = loss_fn(config)
    none, once, tenfold = (loss(inputs, joint_loss=weight) for weight in (0.0, 1.0, 10.0))
    assert once - none > 0.1
    assert tenfold - none == pytest.approx(10 * (once - none), rel=1e-3)


def test_every_step_draws_anew(config):
    config.mixing.mixup = 1.0
    loss, inputs = loss_fn(config), inputs_of(config)
    assert loss(inputs, step=5) == loss(inputs, step=5) != loss(inputs, step=6)


def test_streams_that_were_trained_first_draw_nothing_while_the_fusion_learns(config):
    for part in ("skeleton", "inertial"):
        config.model[part].dropout = 0.5
    config.pretraining = ConfigDict({stream: {"name": stream} for stream in config.streams})
    frozen, inputs = loss_fn(config), inputs_of(config)
    assert frozen(inputs, seed=0) == frozen(inputs, seed=1)
    config.pretraining = ConfigDict()
    learning = loss_fn(config)
    assert learning(inputs, seed=0) != learning(inputs, seed=1)


def test_targets_are_smoothed_and_streams_blanked_as_the_config_says(config):
    config.label_smoothing, config.modality_dropout = 0.2, 0.95
    inputs = {stream: jnp.tile(values, (25, 1, 1)) for stream, values in inputs_of(config).items()}
    labels = jnp.tile(LABELS, 25)
    batch = make_batch(config, jax.random.key(0), inputs, labels, CLASSES)
    np.testing.assert_allclose(batch.targets, smooth_one_hot(labels, CLASSES, 0.2))
    gone = sum((np.asarray(values) == 0).all(axis=(1, 2)).mean() for values in batch.inputs.values())
    assert 0.88 < gone <= 1
