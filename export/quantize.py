"""INT8: QuantizeLinear and DequantizeLinear around the convolutions of the video path, int8 weights for the rest.

Placement follows what TensorRT fuses ("Working with Quantized Types", explicit quantization): Q/DQ in front
of each quantised convolution, on its data and its weights; nothing between a convolution and its ReLU; on
the skip input of a residual add, so that the add fuses into the convolution of the main branch; biases in
float. Symmetric throughout, weights per output channel. The stem, which reads the video itself, the recurrent
layers and the head compute in float: there is little to gain and most to lose.

The weights of recurrent layers, heads and flat convolutions are stored in int8 all the same, a quarter of their
size, and restored when the model is loaded or run.

ONNX Runtime's `quantize_static` can be told none of the second and third, so the nodes are placed here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from export import onnx_graph
from export.estimators import INT8_MAX
from export.passes import add_constant, constant
from export.residual import Residual, is_stem, is_video_conv, kernel_size, residuals, video_convs

NOTHING_TO_QUANTIZE = (
    "the model has no 3D convolution besides a stem, so nothing in it would compute in int8 (recurrent layers and the "
    "head compute in float)"
)

# Numbers in a weight: smaller ones are not worth a node that restores them.
_SMALLEST_WEIGHT = 2048

# Tensor to the size of its int8 step: `Calibration.scale`.
ScaleOf = Callable[[str], np.float32]


@dataclass(frozen=True)
class Placement:
    """Where Q/DQ pairs go.

    Attributes:
      convs: the convolutions to quantise.
      residuals: the adds whose skip input is quantised.
      activations: names of the tensors that get a pair, in the graph's order.
    """

    convs: tuple[ir.Node, ...]
    residuals: tuple[Residual, ...]
    activations: tuple[str, ...]


def plan(model: ir.Model, only: Collection[str] | None = None, *, stem: bool = False) -> Placement:
    """Return where a float graph is to be quantised; empty if there is nothing.

    Args:
      model: the float graph.
      only: names of the convolutions that may be; None for all that TensorRT has an int8 kernel for. A residual
        add is quantised with the convolution that ends its main branch.
      stem: whether the convolutions that read the video are quantised too, whatever `only` says.
    """
    behind = (conv for conv in video_convs(model) if not is_stem(conv) and has_int8_kernel(conv))
    convs = tuple(conv for conv in behind if only is None or conv.name in only)
    if stem:
        convs = (*filter(is_stem, video_convs(model)), *convs)
    adds = tuple(residual for residual in residuals(model) if residual.main in convs)
    wanted = {conv.inputs[0] for conv in convs} | {residual.skip for residual in adds}
    return Placement(convs, adds, tuple(str(value.name) for value in _values(model) if value in wanted))


def outputs(placement: Placement) -> tuple[str, ...]:
    """Return the names of what a placement's layers give, but for its `activations`.

    That is each convolution, the residual add behind it, and a ReLU right behind either.
    """
    found = []
    for node in (*placement.convs, *(residual.add for residual in placement.residuals)):
        (value,) = node.outputs
        relus = [use.node for use in value.uses() if use.node.op_type == "Relu"]
        found += [str(output.name) for output in (value, *(relu.outputs[0] for relu in relus))]
    return tuple(name for name in dict.fromkeys(found) if name not in placement.activations)


def has_int8_kernel(conv: ir.Node) -> bool:
    """Return whether TensorRT runs a convolution in int8.

    Grouped ones it does only with output channels in multiples of 8 and windows of at least 3.
    """
    groups = conv.attributes.get_int("group", 1)
    weight = constant(conv.inputs[1])
    if weight is None:
        return False
    return groups == 1 or (weight.shape[0] % 8 == 0 and min(kernel_size(conv)) >= 3)


def weight_scales(weight: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the int8 step of each output channel, which lie along `axis`; 1 for a channel of zeros."""
    largest = np.abs(np.moveaxis(weight, axis, 0)).reshape(weight.shape[axis], -1).max(axis=1)
    return np.where(largest > 0, largest / INT8_MAX, 1.0).astype(np.float32)


def quantize(model: ir.Model, placement: Placement, scale_of: ScaleOf) -> None:
    """Put the Q/DQ pairs of a placement into its graph.

    Args:
      model: the float graph; changed in place. Weights become int8, so the file shrinks.
      placement: from `plan` of this very graph.
      scale_of: tensor to the size of its int8 step.
    """
    values = {value.name: value for value in _values(model)}
    pairs = {name: quantize_activation(model, values[name], scale_of(name)) for name in placement.activations}
    weights: dict[str, ir.Value] = {}
    for conv in placement.convs:
        data, weight = conv.inputs[0], conv.inputs[1]
        assert data is not None and weight is not None
        conv.replace_input_with(0, pairs[str(data.name)])
        if str(weight.name) not in weights:
            weights[str(weight.name)] = _quantize_weight(model, conv, weight, axis=0)
        conv.replace_input_with(1, weights[str(weight.name)])
    for residual in placement.residuals:
        residual.add.replace_input_with(residual.skip_index, pairs[str(residual.skip.name)])
    common.RemoveUnusedNodesPass()(model)


def store_weights_in_int8(model: ir.Model) -> int:
    """Store the larger weights of what computes in float in int8, with a scale per output channel.

    3D convolutions are left alone: `plan` says which of them are int8, and the others are to stay as they are.

    Args:
      model: the graph; changed in place.

    Returns:
      The number of weights that were stored so.
    """
    stored: dict[str, ir.Value] = {}
    for node in list(model.graph):
        for index, axis in _weights(node).items():
            weight = node.inputs[index]
            array = constant(weight)
            if weight is None or array is None or array.ndim < 2 or array.size < _SMALLEST_WEIGHT:
                continue
            if array.size == array.shape[axis]:  # a scale for each number: nothing gained, and TensorRT-RTX 1.7 fails
                continue
            if str(weight.name) not in stored:
                store = _store_for_lstm if node.op_type == "LSTM" else _quantize_weight
                stored[str(weight.name)] = store(model, node, weight, axis=axis % array.ndim)
            node.replace_input_with(index, stored[str(weight.name)])
        if node.op_type == "LSTM":
            _store_half_of_biases(model, node)
    common.RemoveUnusedNodesPass()(model)
    return len(stored)


def _weights(node: ir.Node) -> dict[int, int]:
    """Return which inputs of a node are weights to be stored in int8, and along which of their axes scales differ."""
    if node.op_type == "LSTM":
        return {1: 0, 2: 0}
    if node.op_type == "MatMul":
        return {1: -1}
    if node.op_type == "Gemm":
        return {1: 0 if node.attributes.get_int("transB", 0) else 1}
    return {1: 0} if node.op_type == "Conv" and not is_video_conv(node) else {}


def _store_for_lstm(model: ir.Model, reader: ir.Node, weight: ir.Value, *, axis: int) -> ir.Value:
    """Return a weight (directions, gates, inputs) of an LSTM that is stored in int8, a scale for each direction.

    Its rows are much alike: a scale for each would bring the weight's error from 1 % down to 0.6 %, and take 2 % of the
    file.

    OpenVINO refuses an LSTM whose weights come from a DequantizeLinear in a graph that is int8 elsewhere ("expects
    Constant"): a Gather behind it makes a constant of them when the model is loaded. It picks the only one there is.
    """
    array = constant(weight)
    assert array is not None
    only = add_constant(model, f"{weight.name}_only", array[np.newaxis])
    restored = _quantize_weight(model, reader, only, axis=axis + 1)
    picked = ir.node("Gather", [restored, _shared(model, "first", np.asarray(0))], {"axis": 0})
    picked.name = f"{weight.name}_pick"
    model.graph.insert_before(reader, picked)
    return picked.outputs[0]


def _store_half_of_biases(model: ir.Model, lstm: ir.Node) -> None:
    """Share the zeros among an LSTM's biases: ONNX adds one for the recurrence, which the trained networks lack."""
    biases = lstm.inputs[3]
    array = constant(biases)
    if biases is None or array is None:
        return
    inputs, recurrence = np.split(array, 2, axis=1)
    if recurrence.any():
        return
    halves = [
        add_constant(model, f"{biases.name}_of_inputs", inputs),
        _shared(model, "zeros_{}_x_{}".format(*inputs.shape), recurrence),
    ]
    joined = ir.node("Concat", halves, {"axis": 1}, name=f"{biases.name}_join")
    model.graph.insert_before(lstm, joined)
    lstm.replace_input_with(3, joined.outputs[0])


def _shared(model: ir.Model, name: str, array: np.ndarray) -> ir.Value:
    """Return the constant of a graph that has this name; a new one at first."""
    return model.graph.initializers.get(name) or add_constant(model, name, array)


def quantize_activation(model: ir.Model, value: ir.Value, scale: np.float32) -> ir.Value:
    """Return what a value is after int8, by a new pair of nodes right behind where it comes from."""
    scale_value = add_constant(model, f"{value.name}_scale", np.asarray(scale, np.float32))
    # Without a zero point QuantizeLinear would mean uint8.
    zero = add_constant(model, f"{value.name}_zero", np.zeros((), np.int8))
    quantized = ir.node("QuantizeLinear", [value, scale_value, zero], name=f"{value.name}_quantize")
    quantized.outputs[0].name = f"{value.name}_int8"
    restored = ir.node("DequantizeLinear", [quantized.outputs[0], scale_value, zero], name=f"{value.name}_dequantize")
    restored.outputs[0].name = f"{value.name}_restored"
    producer = value.producer()
    if producer is None:
        model.graph.insert_before(model.graph[0], [quantized, restored])
    else:
        model.graph.insert_after(producer, [quantized, restored])
    return restored.outputs[0]


def quantized(model: onnx.ModelProto, only: Collection[str] | None, scale_of: ScaleOf) -> onnx.ModelProto:
    """Return a float model with some of its convolutions in int8, see `plan` and `quantize`."""
    graph = ir.from_proto(model)
    quantize(graph, plan(graph, only), scale_of)
    return onnx_graph.to_proto(graph)


def _values(model: ir.Model) -> list[ir.Value]:
    """Return what a graph reads and computes, in its order."""
    return [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]


def _quantize_weight(model: ir.Model, reader: ir.Node, weight: ir.Value, *, axis: int) -> ir.Value:
    """Return a weight that is stored in int8 and restored per output channel, in front of its first reader."""
    array = constant(weight)
    assert array is not None
    scales = weight_scales(array, axis)
    steps = np.rint(array / np.expand_dims(scales, tuple(other for other in range(array.ndim) if other != axis)))
    stored = add_constant(model, f"{weight.name}_int8", np.clip(steps, -INT8_MAX, INT8_MAX).astype(np.int8))
    scale_value = add_constant(model, f"{weight.name}_scale", scales)
    zero = add_constant(model, f"{weight.name}_zero", np.zeros(len(scales), np.int8))
    name = f"{weight.name}_dequantize"
    restored = ir.node("DequantizeLinear", [stored, scale_value, zero], {"axis": axis}, name=name)
    restored.outputs[0].name = f"{weight.name}_restored"
    model.graph.insert_before(reader, restored)
    return restored.outputs[0]
