"""Several encoders of one modality as one, and how probabilities are joined."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from hartx.models.encoder import Encoder


def log_sum(log_probabilities: Sequence[Float[Array, "B num_classes"]]) -> Float[Array, "B num_classes"]:
    """Return the logarithm of the sum of probabilities that are given as logarithms.

    Probabilities themselves would be too small for float16, of which an exported model may consist.
    """
    largest = functools.reduce(jnp.maximum, log_probabilities)
    return largest + jnp.log(functools.reduce(jnp.add, [jnp.exp(each - largest) for each in log_probabilities]))


def mean_of(logits: Sequence[Float[Array, "B num_classes"]]) -> Float[Array, "B num_classes"]:
    """Return the logits whose probabilities are the mean of those of the given ones."""
    return log_sum([jax.nn.log_softmax(each) for each in logits]) - math.log(len(logits))


class Ensemble(Encoder):
    """Encoders that read the same input and decide by the mean of their probabilities.

    Each learns by a loss of its own and none by the others' errors, so they do not err alike: joints and bones
    apart, for instance (the two streams of Shi et al., "Two-Stream Adaptive Graph Convolutional Networks", CVPR
    2019). Its features are theirs, side by side.

    Args:
      members: at least one.
    """

    def __init__(self, members: Sequence[Encoder]) -> None:
        nnx.Module.__init__(self)
        self.num_features = sum(member.num_features for member in members)
        self.members = nnx.List(members)

    def encode(self, x: Float[Array, "B T *features"]) -> Float[Array, "B F"]:
        """Return the features of a batch of clips."""
        return jnp.concatenate([member.encode(x) for member in self.members], axis=-1)

    def member_logits(
        self, features: Float[Array, "B F"], rngs: nnx.Rngs | None = None
    ) -> list[Float[Array, "B num_classes"]]:
        """Return the logits of each member. `rngs` (stream `dropout`) is needed in training only."""
        sizes = [member.num_features for member in self.members]
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        return [
            member.classify(features[:, start : start + member.num_features], rngs)
            for member, start in zip(self.members, starts, strict=True)
        ]

    def classify(self, features: Float[Array, "B F"], rngs: nnx.Rngs | None = None) -> Float[Array, "B num_classes"]:
        """Return the logarithm of the members' mean probability."""
        return mean_of(self.member_logits(features, rngs))
