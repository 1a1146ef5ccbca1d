"""The layers that int8 is about, the 3D convolutions behind the stem: their names and what they weigh in a model."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
import onnx
import onnx_ir as ir

from export.errors import ExportError
from export.passes import constant, infer_shapes
from export.quantize import plan

_NEAR = 3


@dataclass(frozen=True)
class Layer:
    """A convolution that int8 has a kernel for.

    Attributes:
      name: of its node, the same in the float32 and in the int8 file.
      parameters: number of its weights and biases.
      parameter_share: of all in the model, a fraction.
      macs: multiplications with a weight that one clip takes.
      mac_share: of all in the model, a fraction.
    """

    name: str
    parameters: int
    parameter_share: float
    macs: int
    mac_share: float


def layer_names(model: onnx.ModelProto) -> tuple[str, ...]:
    """Return the names of the layers of a float graph that can be quantised, in the graph's order."""
    return tuple(str(conv.name) for conv in plan(ir.from_proto(model)).convs)


def describe(model: onnx.ModelProto) -> dict[str, Layer]:
    """Return the layers of a float graph that can be quantised, by name, in the graph's order.

    All MACs are those of the graph's products with constant weights: Conv, Gemm, MatMul and LSTM.
    """
    graph = ir.from_proto(model)
    infer_shapes(graph)
    weights = [constant(value) for value in graph.graph.initializers.values()]
    all_parameters = sum(w.size for w in weights if w is not None and w.dtype == np.float32 and w.ndim)
    all_macs = sum(map(_macs, graph.graph))
    found = {}
    for conv in plan(graph).convs:
        name, parameters, macs = str(conv.name), _parameters(conv), _macs(conv)
        found[name] = Layer(name, parameters, parameters / all_parameters, macs, macs / all_macs)
    return found


def _parameters(node: ir.Node) -> int:
    return sum(array.size for value in node.inputs if (array := constant(value)) is not None)


def _macs(node: ir.Node) -> int:
    """Return the multiplications of a node for one clip; 0 for what is no product with a constant."""
    if node.op_type == "LSTM":
        kernels, steps = [constant(value) for value in node.inputs[1:3]], node.outputs[0].shape
        return 0 if steps is None else int(steps[0]) * sum(k.size for k in kernels if k is not None)  # type: ignore[arg-type]
    weight = constant(node.inputs[1]) if node.op_type in ("Conv", "Gemm", "MatMul") else None
    shape = node.outputs[0].shape
    if weight is None or shape is None:
        return 0
    outputs = int(np.prod([int(size) for size in shape.dims[1:]]))  # type: ignore[arg-type]  # the first is the batch
    if node.op_type == "Conv":
        return outputs * int(np.prod(weight.shape[1:]))
    transposed = node.op_type == "Gemm" and bool(node.attributes.get_int("transB", 0))
    return outputs * int(weight.shape[-1] if transposed else weight.shape[-2])


def match(patterns: Sequence[str], names: Collection[str]) -> dict[str, str]:
    """Return the layers that patterns match, as `fnmatch` does, each with the first pattern that matches it.

    Raises:
      ExportError: if a pattern matches none, with the nearest names.
    """
    found: dict[str, str] = {}
    for pattern in patterns:
        matched = [name for name in names if fnmatchcase(name, pattern)]
        if not matched:
            raise ExportError(
                f"--keep_float={pattern} was given, which matches no layer that int8 is for; {_nearest(pattern, names)}"
            )
        found |= {name: pattern for name in matched if name not in found}
    return {name: found[name] for name in names if name in found}


def _nearest(pattern: str, names: Collection[str]) -> str:
    near = difflib.get_close_matches(pattern, names, _NEAR)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there are {', '.join(names)}"


@dataclass(frozen=True)
class LayerChoice:
    """Which layers are int8, and why the others are not.

    Attributes:
      int8: names, in the graph's order.
      kept: name to the reason, of the layers that stay in float.
      search: how `--max_drop` went (`max_drop.Search.to_json`); None without it.
    """

    int8: tuple[str, ...]
    kept: Mapping[str, str]
    search: Mapping[str, object] | None = None

    def to_json(self) -> dict[str, object]:
        """Return what `calibration.json` and `export.json` keep under "layers"."""
        search = None if self.search is None else dict(self.search)
        return {"int8": list(self.int8), "float": dict(self.kept), "max_drop": search}
