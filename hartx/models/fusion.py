"""Models over a dictionary of modalities: the fusion of several streams, and one stream alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from hartx.models import init
from hartx.models.encoder import Encoder

# Modality to a batch of clips, (B, T, H, W, C) or (B, T, features).
Inputs = Mapping[str, Float[Array, "B T *features"]]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ModelOutput:
    """What a model says about a batch.

    Attributes:
      logits: of the whole model, (B, num_classes).
      stream_logits: of the classifiers that the fused streams have of their own, for auxiliary losses;
        empty for a model of one stream.
    """

    logits: Float[Array, "B num_classes"]
    stream_logits: dict[str, Float[Array, "B num_classes"]]


class SingleStream(nnx.Module):
    """One encoder as a model over a dictionary of modalities."""

    def __init__(self, name: str, encoder: Encoder) -> None:
        self.streams = nnx.Dict({name: encoder})
        self.stream_names = (name,)

    def __call__(self, inputs: Inputs, rngs: nnx.Rngs | None = None) -> Float[Array, "B num_classes"]:
        """Return the logits. `rngs` (stream `dropout`) is needed in training only."""
        (name,) = self.stream_names
        return self.streams[name](inputs[name], rngs)

    def features(self, inputs: Inputs) -> Float[Array, "B F"]:
        """Return what the classifier reads, without dropout."""
        (name,) = self.stream_names
        return self.streams[name].encode(inputs[name])

    def with_streams(self, inputs: Inputs, rngs: nnx.Rngs | None = None) -> ModelOutput:
        """Return the logits, with no stream logits beside them."""
        return ModelOutput(self(inputs, rngs), {})


class Fusion(nnx.Module):
    """Late fusion: the streams' features concatenated, a hidden layer, a classifier.

    Args:
      streams: modality to encoder; features are concatenated in this order.
      hidden: units of the hidden layer.
      num_classes: number of actions.
      dropout: rate after the hidden layer.
      rngs: stream `params`.
    """

    def __init__(
        self,
        streams: Mapping[str, Encoder],
        hidden: int = 512,
        num_classes: int = 27,
        dropout: float = 0.5,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        self.streams = nnx.Dict(streams)
        self.stream_names = tuple(streams)
        size = sum(encoder.num_features for encoder in streams.values())
        self.hidden = nnx.Linear(size, hidden, kernel_init=init.he(size), rngs=rngs)
        self.dropout = nnx.Dropout(dropout)
        self.classifier = nnx.Linear(hidden, num_classes, kernel_init=init.CLASSIFIER, rngs=rngs)

    def _fuse(
        self, features: Mapping[str, Float[Array, "B _"]], rngs: nnx.Rngs | None
    ) -> Float[Array, "B num_classes"]:
        joined = jnp.concatenate([features[name] for name in self.stream_names], axis=-1)
        return self.classifier(self.dropout(nnx.relu(self.hidden(joined)), rngs=rngs))

    def _encode(self, inputs: Inputs) -> dict[str, Float[Array, "B _"]]:
        return {name: self.streams[name].encode(inputs[name]) for name in self.stream_names}

    def features(self, inputs: Inputs) -> Float[Array, "B hidden"]:
        """Return what the classifier reads, without dropout."""
        encoded = self._encode(inputs)
        return nnx.relu(self.hidden(jnp.concatenate([encoded[name] for name in self.stream_names], axis=-1)))

    def __call__(self, inputs: Inputs, rngs: nnx.Rngs | None = None) -> Float[Array, "B num_classes"]:
        """Return the logits. `rngs` (stream `dropout`) is needed in training only."""
        return self._fuse(self._encode(inputs), rngs)

    def with_streams(self, inputs: Inputs, rngs: nnx.Rngs | None = None) -> ModelOutput:
        """Return the logits and, for auxiliary losses, those of each stream's own classifier."""
        features = self._encode(inputs)
        logits = self._fuse(features, rngs)
        stream_logits = {name: self.streams[name].classify(features[name], rngs) for name in self.stream_names}
        return ModelOutput(logits, stream_logits)
