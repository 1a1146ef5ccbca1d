"""What must not be in a graph that goes to a device, whatever the passes did or did not find."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from export.errors import ExportError

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
    """Check a finished graph: ONNX's own rules, no forbidden operator, no transpose on the video path.

    Raises:
      ExportError: with the names of the nodes and the reason.
    """
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
        f"  Transpose {node.name}: the video path must be channels-first throughout"
        for node in _video_path(model)
        if node.op_type == "Transpose"
    ]
    if problems:
        raise ExportError("the exported graph has operators that do not belong there\n" + "\n".join(problems))


def _video_path(model: ir.Model) -> list[ir.Node]:
    """Return the nodes that depend on the video."""
    reached = {value for value in model.graph.inputs if value.name == "video"}
    nodes = []
    for node in model.graph:
        if any(value in reached for value in node.inputs):
            reached.update(node.outputs)
            nodes.append(node)
    return nodes
