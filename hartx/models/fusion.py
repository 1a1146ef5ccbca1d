"""Models over a dictionary of modalities: the fusion of several streams, and one stream alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from hartx.models import init
from hartx.models.encoder import Encoder, JointTargets
from hartx.models.ensemble import mean_of
from hartx.models.pose_lstm import BLEND_INPUT, JOINTS_INPUT

# Modality to a batch of clips, (B, T, H, W, C) or (B, T, features).
Inputs = Mapping[str, Float[Array, "B T *features"]]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ModelOutput:
    """What a model says about a batch.

    Attributes:
      logits: of the whole model, (B, num_classes).
      stream_logits: of the classifiers that the fused streams, or the members of an ensemble, have of their own,
        for auxiliary losses; empty for a model of one encoder.
      joint_loss: of the joints found in depth (`PoseLSTM`); 0 where none are learnt.
    """

    logits: Float[Array, "B num_classes"]
    stream_logits: dict[str, Float[Array, "B num_classes"]]
    joint_loss: Float[Array, ""] | float = 0.0


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
        """Return the logits and, for auxiliary losses, those of an ensemble's members.

        Then no gradient passes the logits, so that each member learns by its own loss and none leaves clips to the
        others. Where joints are to be found, `inputs[JOINTS_INPUT]`, (B, T, 3 J), has them, and `inputs[BLEND_INPUT]`,
        (B, B), how clips are to be mixed once they are found, if they are mixed; see `JointTargets`.
        """
        (name,) = self.stream_names
        targets = JointTargets(inputs[JOINTS_INPUT], inputs.get(BLEND_INPUT)) if JOINTS_INPUT in inputs else None
        output = self.streams[name].training_output(inputs[name], targets, rngs)
        if len(output.logits) == 1:
            return ModelOutput(output.logits[0], {}, output.joint_loss)
        mean = jax.lax.stop_gradient(mean_of(output.logits))
        own = {f"{name}.{index}": logits for index, logits in enumerate(output.logits)}
        return ModelOutput(mean, own, output.joint_loss)


def present(x: Float[Array, "B T *features"], width: int) -> Float[Array, "B width"]:
    """Return `width` ones for each clip of a modality that is there, zeros for one that is absent, which is all 0.

    Features are summed, and the sum spread over the width, by products with ones: broadcasting along a batch whose size
    is open would become shape arithmetic in ONNX.
    """
    largest = jnp.abs(x).max(axis=tuple(range(1, x.ndim - 1)))
    is_there = (largest @ jnp.ones((x.shape[-1], 1), x.dtype) > 0).astype(jnp.float32)
    return is_there @ jnp.ones((1, width))


# Depth shows what the skeleton says already, and less surely: beside it, it counts for little. Where the skeleton is
# absent it takes over its weight.
_STANDS_IN_FOR = {"depth": "skeleton"}


class Fusion(nnx.Module):
    """Late fusion: a weighted mean of the streams' own logits, corrected by a hidden layer over all their features.

    The weights say how far each stream is trusted. They cannot be learnt from the clips that the streams have
    learnt from, on which all are right. The correction begins as 0, so that what it has not learnt is no noise.

    Streams that are absent (their input is all zeros) count for nothing: their features are 0 and the mean is
    that of the others, so that what is left decides as it would alone. Depth takes over an absent skeleton's weight.

    Args:
      streams: modality to encoder; features are concatenated in this order.
      hidden: units of the hidden layer.
      num_classes: number of actions.
      dropout: rate after the hidden layer.
      weights: modality to the weight of its logits, 1 where there is none.
      rngs: stream `params`.

    Raises:
      ValueError: for a weight that is not positive.
    """

    def __init__(
        self,
        streams: Mapping[str, Encoder],
        hidden: int = 512,
        num_classes: int = 27,
        dropout: float = 0.5,
        weights: Mapping[str, float] | None = None,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        self.streams = nnx.Dict(streams)
        self.stream_names = tuple(streams)
        self.weights = tuple(float((weights or {}).get(name, 1.0)) for name in self.stream_names)
        if min(self.weights) <= 0:
            raise ValueError(f"fusion.weights {dict(weights or {})} were given; positive numbers are expected")
        size = sum(encoder.num_features for encoder in streams.values())
        self.hidden = nnx.Linear(size, hidden, kernel_init=init.he(size), rngs=rngs)
        self.dropout = nnx.Dropout(dropout)
        self.classifier = nnx.Linear(hidden, num_classes, kernel_init=nnx.initializers.zeros, rngs=rngs)
        self.frozen = False

    def freeze_streams(self) -> None:
        """Keep the streams as they are: no gradient reaches them, and they stay in evaluation mode."""
        self.frozen = True
        self.streams.eval()

    def __call__(self, inputs: Inputs, rngs: nnx.Rngs | None = None) -> Float[Array, "B num_classes"]:
        """Return the logits. `rngs` (stream `dropout`) is needed in training only."""
        return self.with_streams(inputs, rngs).logits

    def features(self, inputs: Inputs) -> Float[Array, "B hidden"]:
        """Return what the classifier reads, without dropout."""
        return self._hidden(inputs, self._encode(inputs))

    def with_streams(self, inputs: Inputs, rngs: nnx.Rngs | None = None) -> ModelOutput:
        """Return the logits and, for auxiliary losses, those of each stream's own classifier."""
        encoded = self._encode(inputs)
        stream_logits = {name: self.streams[name].classify(encoded[name], rngs) for name in self.stream_names}
        if self.frozen:
            encoded, stream_logits = jax.lax.stop_gradient((encoded, stream_logits))
        classes = self.classifier.out_features
        is_there = {name: present(inputs[name], classes) for name in self.stream_names}
        weights = dict(zip(self.stream_names, self.weights, strict=True))
        there = {name: weights[name] * is_there[name] for name in self.stream_names}
        for name, other in _STANDS_IN_FOR.items():
            if name in weights and other in weights:
                there[name] = is_there[name] * (weights[name] + weights[other] * (1 - is_there[other]))
        total = sum(there[name] * stream_logits[name] for name in self.stream_names)
        mean = total / jnp.maximum(sum(there.values()), min(self.weights))
        correction = self.classifier(self.dropout(self._hidden(inputs, encoded), rngs=rngs))
        return ModelOutput(mean + correction, stream_logits)

    def _encode(self, inputs: Inputs) -> dict[str, Float[Array, "B _"]]:
        return {name: self.streams[name].encode(inputs[name]) for name in self.stream_names}

    def _hidden(self, inputs: Inputs, encoded: Mapping[str, Float[Array, "B _"]]) -> Float[Array, "B hidden"]:
        there = [present(inputs[name], self.streams[name].num_features) * encoded[name] for name in self.stream_names]
        return nnx.relu(self.hidden(jnp.concatenate(there, axis=-1)))
