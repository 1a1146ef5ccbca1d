"""Taking channels out of a trained model: what is left is carried over exactly."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from hartx.models.fusion import Fusion, SingleStream
from hartx.pruning.plan import Kept
from hartx.pruning.structure import Slice, Structure


def keep_channels(model: SingleStream | Fusion, stream: str, structure: Structure, kept: Kept) -> Any:
    """Return parameters and statistics of a model without the channels of its 3D network that are not kept.

    Channels of which BatchNorm's scale and bias are 0 everywhere in their group are 0 wherever they are read (a ReLU
    leaves 0 as it is), so that without them the model gives the same output.

    Args:
      model: trained; left unchanged.
      stream: which of its streams is the 3D network.
      structure: of that network.
      kept: what is kept of each group.
    """
    state = dict(nnx.to_flat_state(nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat))))
    for group, channels in kept.items():
        for part in structure.slices(group):
            path = ("streams", stream, *part.place)
            state[path] = state[path].replace(_take(state[path][...], part, channels))
    if isinstance(model, Fusion):
        path = ("hidden", "kernel")
        rows = _hidden_rows(model, stream, kept[structure.features])
        state[path] = state[path].replace(state[path][...][rows])
    return nnx.from_flat_state(list(state.items()))


def _take(values: jax.Array, part: Slice, channels: tuple[int, ...]) -> jax.Array:
    return jnp.take(values, jnp.asarray(channels), axis=part.axis)


def _hidden_rows(model: Fusion, stream: str, channels: tuple[int, ...]) -> jax.Array:
    """Return which features, of all streams in their order, the hidden layer of a fusion still reads."""
    rows, start = [], 0
    for name in model.stream_names:
        size = model.streams[name].num_features
        rows.append(start + jnp.asarray(channels if name == stream else range(size)))
        start += size
    return jnp.concatenate(rows)
