"""Several encoders of one modality as one."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from hartx.models.encoder import Encoder, JointTargets, TrainingOutput


def mean_of(logits: Sequence[Float[Array, "B num_classes"]]) -> Float[Array, "B num_classes"]:
    """Return the mean of the logits of several."""
    return functools.reduce(jnp.add, logits) / len(logits)


class Ensemble(Encoder):
    """Encoders that read the same input and decide by the mean of their logits.

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

    def training_output(
        self, x: Float[Array, "B T *features"], targets: JointTargets | None, rngs: nnx.Rngs | None
    ) -> TrainingOutput:
        """Return what each member learns from, one after the other."""
        outputs = [member.training_output(x, targets, rngs) for member in self.members]
        return TrainingOutput(
            [logits for output in outputs for logits in output.logits], sum(output.joint_loss for output in outputs)
        )

    def classify(self, features: Float[Array, "B F"], rngs: nnx.Rngs | None = None) -> Float[Array, "B num_classes"]:
        """Return the mean of the members' logits."""
        return mean_of(self.member_logits(features, rngs))
