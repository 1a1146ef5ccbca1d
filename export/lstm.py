"""A layer of LSTMs as one node of ONNX, where jax2onnx would make a Loop, or nodes of every operation of every step.

Unrolled, depth and skeleton have 7000 nodes where they have 250 so: docs/export.md has what that costs.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import onnx_ir as ir
from flax import nnx
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax2onnx.plugins.plugin_system import PrimitiveLeafPlugin, register_primitive
from jaxtyping import Array, Float

from hartx.models.lstm import LSTM
from hartx.models.sequence_lstm import LSTMLayer

_layer = Primitive("hartx_lstm_layer")
_DIRECTIONS = ("forward", "bidirectional")
_PARAMETERS = 3  # of an LSTM: input kernel, recurrent kernel, bias


@_layer.def_abstract_eval
def _shape_of_output(x: Any, *parameters: Any) -> ShapedArray:
    features = sum(recurrent_kernel.shape[0] for recurrent_kernel in parameters[1::_PARAMETERS])
    return ShapedArray((*x.shape[:2], features), x.dtype)


class LSTMLayerNode(nnx.Module):
    """Stands for a layer while a model is traced for ONNX; nothing else can run it."""

    def __init__(self, layer: LSTMLayer) -> None:
        self.layer = layer

    def __call__(self, x: Float[Array, "B T I"]) -> Float[Array, "B T H"]:
        """Return what the layer does, to be lowered by `_Lowering`."""
        lstms: list[LSTM] = [self.layer.forward] + ([self.layer.backward] if self.layer.backward else [])
        parameters = [(lstm.input_kernel[...], lstm.recurrent_kernel[...], lstm.bias[...]) for lstm in lstms]
        output: jax.Array = _layer.bind(x, *(array for of_one in parameters for array in of_one))
        return output

    def last(self, hidden: Float[Array, "B T H"]) -> Float[Array, "B H"]:
        """Return what `LSTMLayer.last` does."""
        return self.layer.last(hidden)


@register_primitive(jaxpr_primitive=_layer.name)
class _Lowering(PrimitiveLeafPlugin):
    """Writes the primitive as ONNX's LSTM, which has time first, and weights, gates and directions in its own order."""

    def lower(self, ctx: Any, eqn: Any) -> None:
        x, *parameters = (ctx.get_value_for_var(var) for var in eqn.invars)
        kernels, recurrent_kernels, biases = (
            [_numbers(value) for value in parameters[part::_PARAMETERS]] for part in range(_PARAMETERS)
        )
        features, name = len(recurrent_kernels[0]), ctx.fresh_name("lstm")
        # ONNX adds a second bias, of the recurrence.
        both_biases = [np.concatenate([in_order_of_onnx(bias), np.zeros_like(bias)]) for bias in biases]
        weights = [
            self._constant(ctx, f"{name}_kernel", np.stack([in_order_of_onnx(kernel).T for kernel in kernels])),
            self._constant(
                ctx, f"{name}_recurrent_kernel", np.stack([in_order_of_onnx(kernel).T for kernel in recurrent_kernels])
            ),
            self._constant(ctx, f"{name}_bias", np.stack(both_biases)),
        ]
        steps = ctx.builder.Transpose(x, perm=[1, 0, 2], _outputs=[f"{name}_steps"])
        direction = _DIRECTIONS[len(kernels) - 1]
        hidden = ctx.builder.LSTM(
            steps, *weights, hidden_size=features, direction=direction, _outputs=[f"{name}_directions"]
        )
        # (T, D, N, H) to (N, T, D H). Two nodes of one direction each, squeezed and joined, would be the same, but
        # OpenVINO 2026.4 then mixes up the clips of a batch.
        hidden = ctx.builder.Transpose(hidden, perm=[2, 0, 1, 3], _outputs=[f"{name}_hidden"])
        joined = self._constant(ctx, f"{name}_joined", np.asarray([0, 0, len(kernels) * features], np.int64))
        expected = ctx.get_value_for_var(eqn.outvars[0])
        output = ctx.builder.Reshape(hidden, joined, _outputs=[expected.name])
        output.type, output.shape = expected.type, expected.shape
        ctx.bind_value_for_var(eqn.outvars[0], output)

    @staticmethod
    def _constant(ctx: Any, name: str, array: np.ndarray) -> ir.Value:
        value: ir.Value = ctx.builder.add_initializer_from_array(name, np.ascontiguousarray(array))
        return value


def _numbers(value: ir.Value) -> np.ndarray:
    tensor = ir.convenience.get_const_tensor(value)
    assert tensor is not None
    return tensor.numpy()


def in_order_of_onnx(gates: Float[np.ndarray, "... G"]) -> Float[np.ndarray, "... G"]:
    """Return the numbers of the gates i, f, g, o side by side as ONNX has them: i, o, f, g.

    The order is that of the operator's specification (onnx.ai, LSTM: "W[iofc]").
    """
    i, f, g, o = np.split(gates, 4, axis=-1)
    return np.concatenate([i, o, f, g], axis=-1)
