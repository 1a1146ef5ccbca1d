"""What comes out of a model: logits, or the probabilities that they are with the fitted temperature."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
import onnx_ir as ir

from edge.recognizer import softmax
from export.passes import add_constant
from export.trace import OUTPUT_NAME

PROBABILITIES = "probabilities"


@dataclass(frozen=True)
class Head:
    """The end of a model.

    Attributes:
      softmax: whether the output is probabilities.
      temperature: what logits are divided by before the softmax, in the model or on the device.
    """

    softmax: bool
    temperature: float

    @property
    def output(self) -> str:
        """Name of the output, and what it is: "logits" or "probabilities"."""
        return PROBABILITIES if self.softmax else OUTPUT_NAME

    def of_logits(self, logits: np.ndarray) -> np.ndarray:
        """Return the output that belongs to logits (N, classes)."""
        return softmax(logits / self.temperature) if self.softmax else logits

    def of_traced(self, logits: jax.Array) -> jax.Array:
        """Return the same inside JAX."""
        return jax.nn.softmax(logits / self.temperature) if self.softmax else logits

    def append_to(self, model: ir.Model) -> None:
        """Put the temperature and the softmax behind the only output of a graph, if they belong there."""
        if not self.softmax:
            return
        (logits,) = model.graph.outputs
        value = add_constant(model, "temperature", np.asarray(self.temperature, np.float32))
        divide = ir.node("Div", [logits, value], name="divide_by_temperature")
        normalise = ir.node("Softmax", [divide.outputs[0]], {"axis": -1}, name="softmax")
        (output,) = normalise.outputs
        divide.outputs[0].name, output.name = "tempered_logits", PROBABILITIES
        output.shape, output.type = logits.shape, logits.type
        model.graph.extend([divide, normalise])
        model.graph.outputs[0] = output
