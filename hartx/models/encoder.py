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


class Taught(NamedTuple):
    """What training has beside the clips where joints are found in them.

    Attributes:
      joints: recorded, to be found, of the clips as they are given.
      blend: how much of each clip is in each that is to be told what it shows: rows of shares. None: they are apart.
    """

    joints: Float[Array, "B T I"]
    blend: Float[Array, "B B"] | None = None

    def blended(self, values: Float[Array, "B ..."]) -> Float[Array, "B ..."]:
        """Return the blends of a batch of values."""
        if self.blend is None:
            return values
        return jnp.tensordot(self.blend, values, axes=1, precision=jax.lax.Precision.HIGHEST)


@dataclass(frozen=True)
class Lesson:
    """What an encoder learns from a batch.

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

    def lesson(self, x: Float[Array, "B T *features"], taught: Taught | None, rngs: nnx.Rngs | None) -> Lesson:
        """Return what is learnt from a batch of clips; its logits alone, unless there are parts.

        Args:
          x: the clips.
          taught: joints to be found in them, for encoders that do, and how the clips are to be blended.
          rngs: stream `dropout`.
        """
        return Lesson([self(x if taught is None else taught.blended(x), rngs)])
