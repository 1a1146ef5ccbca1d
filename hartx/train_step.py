"""What one training step computes: a pure function of the state and a batch."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx, struct
from jaxtyping import Array, Float, Int, PRNGKeyArray
from ml_collections import ConfigDict

from hartx import mixing
from hartx.models.pose_lstm import BLEND_INPUT, JOINTS_INPUT


@dataclass(frozen=True)
class Recipe:
    """What stays the same over a run: the experiment, the model's structure, how parameters are updated."""

    config: ConfigDict
    graphdef: nnx.GraphDef
    optimizer: optax.GradientTransformation
    learning_rate: optax.Schedule
    num_classes: int


@struct.dataclass
class TrainState:
    """Everything a step changes. `ema` is None unless the config asks for an average."""

    step: Any  # how many steps were taken, an int32 scalar; like the others a placeholder inside JAX
    params: Any
    batch_stats: Any
    opt_state: optax.OptState
    ema: Any


def split_model(model: nnx.Module) -> tuple[nnx.GraphDef, Any, Any]:
    """Return the model's structure, parameters and BatchNorm statistics."""
    graphdef, *states = nnx.split(model, nnx.Param, nnx.BatchStat)
    params, batch_stats = states
    return graphdef, params, batch_stats


def make_state(model: nnx.Module, optimizer: optax.GradientTransformation, ema: bool) -> TrainState:
    """Return the state before the first step."""
    _, params, batch_stats = split_model(model)
    copies = jax.tree.map(jnp.copy, params) if ema else None
    return TrainState(jnp.zeros((), jnp.int32), params, batch_stats, optimizer.init(params), copies)


def make_batch(
    config: ConfigDict, key: PRNGKeyArray, inputs: dict[str, Array], labels: Array, num_classes: int
) -> mixing.Batch:
    """Return the batch a step learns from: smoothed, mixed, with streams blanked."""
    key_mix, key_drop = jax.random.split(key)
    mix = functools.partial(
        mixing.mix,
        key_mix,
        mixup_alpha=config.mixing.mixup,
        cutmix_alpha=config.mixing.cutmix,
        cutmix_share=config.mixing.cutmix_share,
    )
    targets = mixing.smooth_one_hot(labels, num_classes, config.label_smoothing)
    if JOINTS_INPUT in inputs and config.mixing.mixup:
        # Joints cannot be found in two bodies laid over each other, so they are found first and blended then: as the
        # rows of a unit matrix are, which is mixed in the clips' place.
        blends, targets = mix(mixing.Batch({BLEND_INPUT: jnp.eye(len(labels))}, targets))
        return mixing.Batch(inputs | blends, targets)
    batch = mix(mixing.Batch(inputs, targets))
    streams = {stream: batch.inputs[stream] for stream in config.streams}
    streams = mixing.drop_modalities(key_drop, streams, rate=config.modality_dropout)
    return batch._replace(inputs=batch.inputs | streams)


def _loss(
    recipe: Recipe, params: Any, batch_stats: Any, batch: mixing.Batch, key: PRNGKeyArray
) -> tuple[Float[Array, ""], tuple[Any, Float[Array, "B K"]]]:
    model = nnx.merge(recipe.graphdef, params, batch_stats, copy=True)  # statistics of this trace, to be updated
    model.train()
    if recipe.config.pretraining:
        model.freeze_streams()
    output = model.with_streams(batch.inputs, rngs=nnx.Rngs(dropout=key))
    loss = optax.softmax_cross_entropy(output.logits, batch.targets).mean()
    # The members of an ensemble alone learn by nothing else.
    weight = recipe.config.auxiliary_loss if len(recipe.config.streams) > 1 else 1.0
    for logits in output.stream_logits.values():
        loss += weight * optax.softmax_cross_entropy(logits, batch.targets).mean()
    loss += recipe.config.joint_loss * output.joint_loss
    return loss, (nnx.state(model, nnx.BatchStat), output.logits)


def train_step(
    recipe: Recipe,
    state: TrainState,
    inputs: dict[str, Float[Array, "B ..."]],
    labels: Int[Array, " B"],
    key: PRNGKeyArray,
) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
    """Take one optimiser step.

    Args:
      recipe: fixed under jit.
      state: before the step.
      inputs: stream to clips, and the joints to be found in depth where they are learnt (`JOINTS_INPUT` of
        `hartx.models.pose_lstm`), split over the devices; BatchNorm sees the whole batch, wherever it lies.
      labels: action of each clip.
      key: the run's key; every step draws from it anew.

    Returns:
      The state after the step, and the step's loss, accuracy (against each target's largest class),
      gradient norm before clipping, and learning rate.
    """
    pieces = recipe.config.accumulate
    key_batch, key_dropout = jax.random.split(jax.random.fold_in(key, state.step))
    batch = make_batch(recipe.config, key_batch, inputs, labels, recipe.num_classes)
    gradient_fn = jax.value_and_grad(_loss, argnums=1, has_aux=True)

    def piece(index: int, batch_stats: Any) -> Any:
        part = jax.tree.map(lambda x: x[index::pieces], batch)
        key_piece = jax.random.fold_in(key_dropout, index)
        (loss, (batch_stats, logits)), gradients = gradient_fn(recipe, state.params, batch_stats, part, key_piece)
        hits = logits.argmax(-1) == part.targets.argmax(-1)
        return batch_stats, (gradients, loss, hits.mean())

    batch_stats, total = piece(0, state.batch_stats)
    for index in range(1, pieces):
        batch_stats, more = piece(index, batch_stats)
        total = jax.tree.map(jnp.add, total, more)
    gradients, loss, accuracy = jax.tree.map(lambda x: x / pieces, total)

    updates, opt_state = recipe.optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = state.ema
    if ema is not None:
        ema = optax.incremental_update(params, ema, 1 - recipe.config.ema_decay)
    metrics = {
        "loss": loss,
        "accuracy": accuracy,
        "gradient_norm": optax.tree.norm(gradients),
        "learning_rate": jnp.asarray(recipe.learning_rate(state.step), jnp.float32),
    }
    return TrainState(state.step + 1, params, batch_stats, opt_state, ema), metrics


def eval_step(
    graphdef: nnx.GraphDef, params: Any, batch_stats: Any, inputs: dict[str, Float[Array, "B ..."]]
) -> Float[Array, "B K"]:
    """Return the class probabilities of a batch of clips, the model in evaluation mode."""
    model = nnx.merge(graphdef, params, batch_stats)
    model.eval()
    return jax.nn.softmax(model(inputs).astype(jnp.float32))
