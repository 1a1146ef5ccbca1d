"""float16: weights and activations, but for what does not fit or would lose too much.

A node stays in float32 if a value that it reads or gives came near the largest float16 on training clips, if its
operator adds up many values or leaves the range (sums, means, exponentials), or if TensorRT's parser gets it wrong in
float16. The casts between the two are the graph's own, so that it means the same to every engine; inputs and outputs
are float32.

ONNX Runtime has no float16 kernels for a CPU. It computes such a graph in float32 and, even with all its
optimisations off, never rounds: what it gives says nothing about float16. `rounded` makes the graph that does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
import onnx_ir as ir

from export import onnx_graph, parity, structure
from export.calibration import Calibrator
from export.errors import ExportError
from export.formats import BY_NAME
from export.passes import add_constant, constant, infer_shapes, remove_unused
from export.product import Job, Product
from export.session import Session

HALF_MAX = float(np.finfo(np.float16).max)  # 65504

# A clip that was not looked at may go further than those that were.
HEADROOM = 2.0

_SUMS = ("ReduceSum", "ReduceMean", "ReduceProd", "ReduceL2", "ReduceSumSquare", "GlobalAveragePool")
_FUNCTIONS = ("Softmax", "LogSoftmax", "Exp", "Log", "Pow", "Sqrt", "Reciprocal")
# What onnx-tensorrt makes wrong of float16. Mean: it writes its factor, 1/N, as a float32 into a float16 constant, of
# which 0 is left for two inputs, so that all that is averaged is lost. LSTM: up to 10.6 at least, not in 10.15, it
# begins with float32 states, which a strongly typed network refuses beside float16 weights.
_MISREAD = ("Mean", "LSTM")
_FLOAT_OPERATORS = frozenset((*_SUMS, *_FUNCTIONS, *_MISREAD, "LayerNormalization", "InstanceNormalization", "Cast"))


def make_fp16(job: Job) -> Product:
    """Return the model in float16.

    Raises:
      ExportError: if a value is not finite on a training clip, or the result is too far from the float32 model.
    """
    base, tolerance = job.base(), BY_NAME["onnx-fp16"].tolerance
    with job.steps.step("fp16 ranges") as note:
        calibrator = Calibrator(base, float_tensors(base), job.inputs, job.clips, job.steps.each)
        chosen = calibrator.choose(job.options.calibration_clips)
        ranges = calibrator.largest(chosen)
        widest = max(ranges, key=lambda name: ranges[name])
        note.text = (
            f"largest value {ranges[widest]:.3g} of {HALF_MAX:.0f}, in {widest}, on {len(chosen)} training clips"
        )
    with job.steps.step("fp16 graph") as note:
        graph = ir.from_proto(base)
        kept = stay_float(graph, ranges)
        convert(graph, kept)
        structure.check(graph)
        model = onnx_graph.to_proto(graph)
        for_range = sorted(name for name, reason in kept.items() if reason == "range")
        note.text = f"{len(kept)} of {len(base.graph.node)} nodes stay in float32, {len(for_range)} for their range"
    compute = Session(rounded(model)).output
    found = parity.check(compute, Session(base).output, job.inputs, job.checked, tolerance)
    details = {
        "largest_value": {"tensor": widest, "magnitude": ranges[widest], "limit": HALF_MAX, "headroom": HEADROOM},
        "float32_nodes": dict(sorted(kept.items())),
        "range_clips": len(chosen),
    }
    too_large = f"kept in float32 for their range: {', '.join(for_range)}" if for_range else "no value near overflow"
    return Product(model.SerializeToString(), compute, f"against fp32, {found}; {too_large}", details, model)


def float_tensors(model: onnx.ModelProto) -> list[str]:
    """Return the names of the float32 values that a graph's nodes compute."""
    graph = ir.from_proto(model)
    infer_shapes(graph)
    return [str(value.name) for node in graph.graph for value in node.outputs if value.dtype == ir.DataType.FLOAT]


def stay_float(model: ir.Model, ranges: Mapping[str, float]) -> dict[str, str]:
    """Return the nodes that stay in float32, by name, with the reason: "range" or the operator.

    Args:
      model: the float32 graph; nodes without a name get one.
      ranges: name of each computed value to its largest magnitude.
    """
    kept = {}
    for index, node in enumerate(model.graph):
        node.name = node.name or f"{node.op_type}_{index}"
        values = [value for value in (*node.inputs, *node.outputs) if value is not None]
        if max((_magnitude(value, ranges) for value in values), default=0.0) * HEADROOM > HALF_MAX:
            kept[node.name] = "range"
        elif node.op_type in _FLOAT_OPERATORS:
            kept[node.name] = node.op_type
    return kept


def _magnitude(value: ir.Value, ranges: Mapping[str, float]) -> float:
    array = constant(value)
    if array is None:
        return ranges.get(str(value.name), 0.0)
    return float(np.abs(array).max()) if array.dtype == np.float32 and array.size else 0.0


def convert(model: ir.Model, kept: Collection[str]) -> None:
    """Let every node of a float32 graph but the `kept` ones compute in float16; inputs and outputs stay float32.

    The weights of an LSTM, which are most of some files, are stored in float16 even where it computes in float32.

    Raises:
      ExportError: if a graph has values of float16 already.
    """
    infer_shapes(model)
    casts = _Casts(model)
    for node in list(model.graph):
        if node.op_type == "Constant":
            continue
        in_half = node.name not in kept
        for index, value in enumerate(node.inputs):
            if value is None:
                continue
            if value.dtype == ir.DataType.FLOAT16 and value not in casts.halves:
                raise ExportError(f"{value.name} is float16 already; a float32 graph is expected")
            if in_half:
                value = casts.half(value, node)
            elif node.op_type == "LSTM" and _magnitude(value, {}) * HEADROOM <= HALF_MAX:
                value = casts.stored(value, node)
            else:
                value = casts.single(value, node)
            node.replace_input_with(index, value)
        if in_half:
            casts.give_half(node)
    for index, output in enumerate(model.graph.outputs):
        if output in casts.halves:
            _restore_output(model, index)
    remove_unused(model)  # the float32 constants


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a float32 graph that gives what a float16 one gives where every operator computes exactly.

    Every value of float16 is computed in float32, stored as float16 and read back, by casts that ONNX Runtime must
    keep. How a device adds up inside an operator is not part of it.
    """
    graph = ir.from_proto(model)
    infer_shapes(graph)
    half, single = ir.TensorType(ir.DataType.FLOAT16), ir.TensorType(ir.DataType.FLOAT)
    for value in list(graph.graph.initializers.values()):
        array = constant(value)
        if array is not None and array.dtype == np.float16:
            value.replace_all_uses_with(add_constant(graph, f"{value.name}_read", array.astype(np.float32)))
    for node in list(graph.graph):
        for output in node.outputs:
            if output.type != half:
                continue
            readers = list(output.uses())
            read = ir.node("Cast", [output], {"to": int(single.dtype)}, name=f"{output.name}_read_cast")
            graph.graph.insert_after(node, read)
            if node.op_type != "Cast":
                output.type = single
                store = ir.node("Cast", [output], {"to": int(half.dtype)}, name=f"{output.name}_store_cast")
                graph.graph.insert_after(node, store)
                read.replace_input_with(0, store.outputs[0])
            for use in readers:
                use.node.replace_input_with(use.idx, read.outputs[0])
    return onnx_graph.to_proto(graph)


class _Casts:
    """The float16 values of a graph, and one cast for each value that is needed in the other type."""

    def __init__(self, model: ir.Model) -> None:
        self.halves: set[ir.Value] = set()
        self._model = model
        self._to_half: dict[ir.Value, ir.Value] = {}
        self._to_single: dict[ir.Value, ir.Value] = {}

    def give_half(self, node: ir.Node) -> None:
        """Note that a node's float outputs are now of float16."""
        for output in node.outputs:
            if output.dtype == ir.DataType.FLOAT:
                output.type = ir.TensorType(ir.DataType.FLOAT16)
                self.halves.add(output)

    def half(self, value: ir.Value, reader: ir.Node) -> ir.Value:
        """Return a value in float16 for a node; what is no float is returned as it is."""
        array = constant(value)
        if value in self.halves or (value.dtype != ir.DataType.FLOAT and (array is None or array.dtype != np.float32)):
            return value
        if value not in self._to_half:
            if array is None:
                self._to_half[value] = self._cast(value, ir.DataType.FLOAT16, reader)
            else:
                self._to_half[value] = add_constant(self._model, f"{value.name}_half", array.astype(np.float16))
        return self._to_half[value]

    def stored(self, value: ir.Value, reader: ir.Node) -> ir.Value:
        """Return a value in float32 for a node, a constant one from float16."""
        array = constant(value)
        if array is not None and array.dtype == np.float32 and value not in self._to_single:
            self._to_single[value] = self._cast(self.half(value, reader), ir.DataType.FLOAT, reader)
        return self.single(value, reader)

    def single(self, value: ir.Value, reader: ir.Node) -> ir.Value:
        """Return a value in float32 for a node."""
        if value not in self.halves and value not in self._to_single:
            return value
        if value not in self._to_single:
            self._to_single[value] = self._cast(value, ir.DataType.FLOAT, reader)
        return self._to_single[value]

    def _cast(self, value: ir.Value, dtype: ir.DataType, reader: ir.Node) -> ir.Value:
        name = f"{value.name}_{'half' if dtype == ir.DataType.FLOAT16 else 'single'}"
        node = ir.node("Cast", [value], {"to": int(dtype)}, name=f"{name}_cast")
        (output,) = node.outputs
        output.name, output.type, output.shape = name, ir.TensorType(dtype), value.shape
        self._model.graph.insert_before(reader, node)
        if dtype == ir.DataType.FLOAT16:
            self.halves.add(output)
        return output


def _restore_output(model: ir.Model, index: int) -> None:
    """Give an output of a graph that became float16 its type back, by a cast behind it."""
    half = model.graph.outputs[index]
    name, shape = str(half.name), half.shape
    half.name = f"{name}_half_output"
    node = ir.node("Cast", [half], {"to": int(ir.DataType.FLOAT)}, name=f"{name}_cast")
    (output,) = node.outputs
    output.name, output.type, output.shape = name, ir.TensorType(ir.DataType.FLOAT), shape
    model.graph.append(node)
    model.graph.outputs[index] = output
