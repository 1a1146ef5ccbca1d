"""A network that looks trained and is not."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from hartx.data import input_specs
from hartx.models import create_model


def random_network(config: ConfigDict, num_classes: int, seed: int = 0) -> Any:
    """Return the network of a config with random parameters, statistics and biases, as training would leave them."""
    shapes = {stream: spec.shape for stream, spec in input_specs(config).items()}
    model = nnx.eval_shape(lambda: create_model(config.model, config.streams, shapes, num_classes, rngs=nnx.Rngs(0)))
    nnx.update(model, _random_state(nnx.state(model), np.random.default_rng(seed)))
    model.eval()
    return model


def _random_state(state: nnx.State, rng: np.random.Generator) -> nnx.State:
    """Return parameters that keep the size of activations, and vectors (biases, statistics) around 0.5."""

    def fill(value: jax.ShapeDtypeStruct) -> jax.Array:
        if len(value.shape) == 1:
            return jnp.asarray(rng.uniform(0.2, 0.8, value.shape), jnp.float32)
        spread = np.sqrt(2 / np.prod(value.shape[:-1]))
        return jnp.asarray(spread * rng.normal(size=value.shape), jnp.float32)

    return jax.tree.map(fill, state)
