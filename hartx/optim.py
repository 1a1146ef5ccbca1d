"""The optimiser: AdamW, linear warm-up into a cosine, gradients clipped by their global norm."""

from __future__ import annotations

from typing import Any

import jax
import optax
from ml_collections import ConfigDict


def learning_rate(config: ConfigDict, num_steps: int, steps_per_epoch: float) -> optax.Schedule:
    """Return step -> learning rate: up from 0 over `warmup_epochs`, then down to 0 along a cosine.

    Loshchilov & Hutter, SGDR, ICLR 2017.
    """
    warmup_steps = min(round(config.optim.warmup_epochs * steps_per_epoch), num_steps - 1)
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=config.optim.learning_rate,
        warmup_steps=warmup_steps,
        decay_steps=num_steps,
    )


def is_decayed(params: Any) -> Any:
    """Return which parameters weight decay applies to: matrices and kernels, not biases and norm scales."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def make_optimizer(config: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Return AdamW (Loshchilov & Hutter, ICLR 2019) after clipping by the global norm.

    Where the streams were trained first, only what lies outside them is updated.
    """
    update = optax.chain(
        optax.clip_by_global_norm(config.optim.clip_norm) if config.optim.clip_norm else optax.identity(),
        optax.adamw(schedule, weight_decay=config.optim.weight_decay, mask=is_decayed),
    )
    if not config.pretraining:
        return update
    return optax.partition({"trained": update, "frozen": optax.set_to_zero()}, _stream_labels)


def _stream_labels(params: Any) -> Any:
    """Return "frozen" for each parameter of the streams and "trained" for the others."""

    def label(path: tuple[Any, ...], _: Any) -> str:
        return "frozen" if getattr(path[0], "key", None) == "streams" else "trained"

    return jax.tree_util.tree_map_with_path(label, params)
