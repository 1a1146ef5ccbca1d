"""Initial weights."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray


def normal(variance: float) -> nnx.Initializer:
    """Return an initializer that draws from a normal distribution around 0.

    The numbers are those of `nnx.initializers.normal`. They are drawn as one flat vector, because XLA:CPU
    takes seconds to compile a random draw for each new shape of more axes, half a minute for a network.
    """

    def init(key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Float[Array, ...]:
        flat = jax.random.normal(key, (math.prod(shape),), dtype)
        return flat.reshape(shape) * jnp.asarray(math.sqrt(variance), dtype)

    return init


def he(fan: int) -> nnx.Initializer:
    """Return an initializer for a layer before a ReLU: variance 2 / fan.

    He et al., "Delving Deep into Rectifiers", ICCV 2015, section 2.2. `fan` is the number of inputs of an
    output, or (to keep the variance of the gradients) the number of outputs that an input has.
    """
    return normal(2 / fan)


# Linear layers in front of a softmax start small: He's scale there would give confident wrong logits.
CLASSIFIER = normal(0.01**2)
