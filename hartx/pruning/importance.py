"""How much each channel matters: the first-order Taylor expansion of the loss at the BatchNorms' outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from hartx import mixing
from hartx.jit import jit
from hartx.models.fusion import Fusion, SingleStream
from hartx.pruning.structure import Place, Structure
from hartx.train_step import split_model

CRITERION = "Taylor expansion at BatchNorm (Molchanov et al., CVPR 2019)"


def importance(
    model: SingleStream | Fusion,
    stream: str,
    structure: Structure,
    batches: Iterable[Mapping[str, Any]],
    label_smoothing: float,
) -> dict[str, np.ndarray]:
    """Return for each group the importance of its channels, float64 of its size, at least 0.

    Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019, to first order, with a gate behind
    each BatchNorm: a factor on what comes out of it has the derivative scale * d scale + bias * d bias, by which the
    loss changes where the channel goes. Channels of a group go together and share a gate, so their derivatives are
    added before they are squared; the squares are averaged over batches. It is exactly 0 where the scale and the bias
    of a channel are 0 everywhere in its group.

    Args:
      model: trained, in evaluation mode; left unchanged.
      stream: which of its streams is the 3D network.
      structure: of that network.
      batches: of training clips, {"inputs": {stream: (B, ...)}, "label": (B,)}; at least one.
      label_smoothing: of the cross-entropy that is differentiated, as in training.
    """
    graphdef, params, batch_stats = split_model(model)

    def loss(params: Any, inputs: dict[str, jax.Array], labels: jax.Array) -> jax.Array:
        logits = nnx.merge(graphdef, params, batch_stats)(inputs)
        targets = mixing.smooth_one_hot(labels, logits.shape[-1], label_smoothing)
        return optax.softmax_cross_entropy(logits, targets).mean()

    @jit
    def squares(params: Any, inputs: dict[str, jax.Array], labels: jax.Array) -> dict[str, jax.Array]:
        gradients = dict(nnx.to_flat_state(jax.grad(loss)(params, inputs, labels)))
        values = dict(nnx.to_flat_state(params))

        def gate(norm: Place) -> jax.Array:
            paths = [("streams", stream, *norm, name) for name in ("scale", "bias")]
            return sum((values[path][...] * gradients[path][...] for path in paths), jnp.zeros(()))

        return {
            group: jnp.square(sum(gate(layer.norm) for layer in structure.layers if layer.writes == group))
            for group in structure.sizes
        }

    found = [jax.device_get(squares(params, batch["inputs"], batch["label"])) for batch in batches]
    return {group: np.stack([entry[group] for entry in found]).mean(0, np.float64) for group in structure.sizes}
