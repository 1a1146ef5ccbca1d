"""What all encoders have in common: one modality in, a feature vector out, and a classifier of their own."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from hartx.models import init


class JointTargets(NamedTuple):
    """The joints that training is to find in a batch of clips.

    Attributes:
      joints: recorded, of the clips before they are mixed.
      blend: (B, B): row i says how much of each clip is mixed into clip i; None: clips are not mixed.
    """

    joints: Float[Array, "B T I"]
    blend: Float[Array, "B B"] | None = None

    def blended(self, values: Float[Array, "B ..."]) -> Float[Array, "B ..."]:
        """Return a batch of values, mixed as the clips are."""
        if self.blend is None:
            return values
        return jnp.tensordot(self.blend, values, axes=1, precision=jax.lax.Precision.HIGHEST)


@dataclass(frozen=True)
class TrainingOutput:
    """What the losses of an encoder are worked out from.

    Attributes:
      logits: of each part that has a loss of its own, (B, num_classes).
      joint_loss: of the joints found in depth; 0 where none are learnt.
    """

    logits: list[Float[Array, "B num_classes"]]
    joint_loss: Float[Array, ""] | float = 0.0


class Encoder(nnx.Module):
    """Encoder of one modality, with a classifier (dropout and a linear layer) on its features.

    Subclasses define `encode`. Modules keep no random state: dropout draws from the `rngs` given at the
    call, so that `nnx.split` finds parameters and BatchNorm statistics only.

    Attributes:
      num_features: length of the vector that `encode` returns.
    """

    def __init__(self, num_features: int, num_classes: int, dropout: float, *, rngs: nnx.Rngs) -> None:
        self.num_features = num_features
        self.dropout = nnx.Dropout(dropout)
        self.classifier = nnx.Linear(num_features, num_classes, kernel_init=init.CLASSIFIER, rngs=rngs)

    @abc.abstractmethod
    def encode(self, x: Float[Array, "B T *features"]) -> Float[Array, "B F"]:
        """Return the features of a batch of clips."""

    def classify(self, features: Float[Array, "B F"], rngs: nnx.Rngs | None = None) -> Float[Array, "B num_classes"]:
        """Return the logits of a batch of features. `rngs` (stream `dropout`) is needed in training only."""
        return self.classifier(self.dropout(features.astype(jnp.float32), rngs=rngs))

    def __call__(self, x: Float[Array, "B T *features"], rngs: nnx.Rngs | None = None) -> Float[Array, "B num_classes"]:
        """Return the logits of a batch of clips. `rngs` (stream `dropout`) is needed in training only."""
        return self.classify(self.encode(x), rngs)

    def training_output(
        self, x: Float[Array, "B T *features"], targets: JointTargets | None, rngs: nnx.Rngs | None
    ) -> TrainingOutput:
        """Return what is learnt from a batch of clips; its logits alone, unless there are parts.

        Args:
          x: the clips.
          targets: joints to be found in them, for encoders that do, and how the clips are to be mixed.
          rngs: stream `dropout`.
        """
        return TrainingOutput([self(x if targets is None else targets.blended(x), rngs)])
