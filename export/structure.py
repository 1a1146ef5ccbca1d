"""What must not be in a graph that goes to a device, whatever the passes did or did not find."""

from __future__ import annotations

import functools

import onnx
import onnx_ir as ir

from export.errors import ExportError

_SEQUENCE_RANK = 3  # batch, time, features

# Operator to why an engine on a device should not meet it.
_FORBIDDEN = {
    "Loop": "engines run a loop step by step",
    "Scan": "engines run a loop step by step",
    "If": "engines run a branch on the host",
    "Shape": "shapes must be known when an engine is built",
    "BatchNormalization": "it belongs into the convolution before it",
    "Dropout": "it has no place in inference",
}


def check(model: ir.Model) -> None:
    """Check a finished graph: ONNX's own rules, no forbidden operator, no scaled Gemm, no transpose on the video path.

    A graph whose inputs are all of one size must have no value of unknown size either.

    Raises:
      ExportError: with the names of the nodes and the reason.
    """
    check_opset(model)
    try:
        onnx.checker.check_model(ir.to_proto(model), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported graph is not valid ONNX: {error}") from error
    problems = [
        f"  {node.op_type} {node.name}: {_FORBIDDEN[node.op_type]}"
        for node in model.graph
        if node.op_type in _FORBIDDEN
    ]
    problems += [
        f"  Gemm {node.name}: its alpha and beta must be 1, as TensorRT refuses others in float16; export again"
        for node in model.graph
        if node.op_type == "Gemm" and any(node.attributes.get_float(name, 1.0) != 1 for name in ("alpha", "beta"))
    ]
    shaped = _with_shapes(model)
    problems += [
        f"  Transpose {node.name}: the video path must be channels-first throughout"
        for node in _video_path(shaped)
        if node.op_type == "Transpose"
    ]
    if problems:
        raise ExportError("the exported graph has operators that do not belong there\n" + "\n".join(problems))
    if dynamic := _unknown_sizes(shaped):
        raise ExportError(f"inputs are of one size, but these values are not: {', '.join(dynamic)}")


def check_opset(model: ir.Model) -> None:
    """Check that the declared version of ONNX's operators has every operator of a graph.

    Raises:
      ExportError: with the node and the version that brought its operator.
    """
    opset = model.opset_imports.get("", 0)
    for node in model.graph:
        came_with = _first_opset(node.op_type) if node.domain == "" else 0
        if came_with > opset:
            raise ExportError(
                f"opset {opset} has no {node.op_type}, which {node.name or 'a node'} of this model needs: it came with "
                f"opset {came_with}\n  Export with --opset={came_with} or higher"
            )


@functools.cache
def _first_opset(op_type: str) -> int:
    """Return the version of ONNX's operators that brought an operator; 0 if there is no such operator."""
    every = onnx.defs.get_all_schemas_with_history()
    return min((s.since_version for s in every if s.domain == "" and s.name == op_type), default=0)


def _unknown_sizes(shaped: ir.Model) -> list[str]:
    """Return the values whose shape does not follow from the inputs' shapes; none if the inputs' are not fixed."""
    if not all(value.shape is not None and value.shape.is_static() for value in shaped.graph.inputs):
        return []
    values = [value for node in shaped.graph for value in node.outputs if value.name]
    return [str(value.name) for value in values if value.shape is None or not value.shape.is_static()]


def _with_shapes(model: ir.Model) -> ir.Model:
    """Return a copy whose values have the shapes that follow from the inputs'."""
    bare = ir.to_proto(model)
    del bare.graph.value_info[:]
    return ir.from_proto(onnx.shape_inference.infer_shapes(bare, strict_mode=True, data_prop=True))


def _video_path(model: ir.Model) -> list[ir.Node]:
    """Return the nodes that make pictures of the video: joints found in it are no pictures any more."""
    reached = {value for value in model.graph.inputs if value.name == "video"}
    nodes = []
    for node in model.graph:
        if any(value in reached for value in node.inputs):
            reached.update(value for value in node.outputs if value.shape is None or len(value.shape) > _SEQUENCE_RANK)
            nodes.append(node)
    return nodes
