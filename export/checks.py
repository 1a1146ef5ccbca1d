"""What a bundle can be held against: its own description, the rules of its formats, the run it was made from.

Reads the finished files and nothing of how they were made. Each check is a function that returns what it found
or raises an error that says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from edge.errors import EdgeError
from export import fp16, int8_checks, onnx_graph, openvino, stablehlo, structure
from export.bundle import BUNDLE_HASH, EXPORT_FILE, bundle_sha256
from export.contents import Contents, load
from export.errors import ExportError
from export.formats import Format
from export.parity import Compute
from export.passes import constant
from export.session import Session

# Input or output to its type and its shape, with the name of an open size.
Signature = dict[str, tuple[str, list[int | str]]]


@dataclass(frozen=True)
class Check:
    """One line of the table.

    Attributes:
      subject: the file, or the bundle.
      name: what was checked.
      passed: whether it holds.
      note: what was found, or what is wrong.
    """

    subject: str
    name: str
    passed: bool
    note: str


def attempt(subject: str, name: str, check: Callable[[], str]) -> Check:
    """Return the outcome of a check."""
    try:
        return Check(subject, name, True, check())
    except (ExportError, EdgeError) as error:
        return Check(subject, name, False, str(error))
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # a JSON file that was edited by hand
        said = f"{type(error).__name__}: {error}"
        return Check(subject, name, False, f"what stands there is not what an export writes: {said}")


def unchanged(contents: Contents) -> str:
    """Return where the hash of `bundle.json` stands.

    Raises:
      ExportError: if it is another one: something was edited.
    """
    kept = contents.read_json(EXPORT_FILE).get(BUNDLE_HASH)
    if kept is None:
        return f"not known: {EXPORT_FILE} of an export before this check has no hash of it"
    if kept != bundle_sha256(contents.raw):
        raise ExportError(f"it was changed after the export: {EXPORT_FILE} has another hash of what it says")
    return f"the hash is that in {EXPORT_FILE}"


def accuracy(contents: Contents) -> str:
    """Return how many precisions say of their accuracy what the export measured.

    Raises:
      ExportError: if one says something else: by it a device chooses what it runs.
    """
    measured = contents.read_json(EXPORT_FILE).get("exports", {})
    for row in contents.rows:
        if row.precision is None:
            continue
        said = contents.raw["precisions"].get(row.precision)
        if said is None:
            raise ExportError(f"precisions has no {row.precision}, though its model is there: {row.file}")
        for field in ("top1", "clips", "split"):
            there = measured.get(row.name, {}).get(field)
            if said[field] != there:
                raise ExportError(f"{row.precision} says {field} {said[field]}; {EXPORT_FILE} has {there}")
    return f"of {len(contents.bundle.precisions)} precisions, as in {EXPORT_FILE}"


def check_format(contents: Contents, row: Format) -> Iterator[Check]:
    """Yield what there is to check of one file without the run."""
    if row.name == "stablehlo":
        yield attempt(row.file, "loads in JAX; inputs and output", lambda: _stablehlo(contents, row))
        return
    if row.name == "openvino-int8":
        yield attempt(row.file, "loads in OpenVINO; inputs and output", lambda: _openvino(contents, row))
        return
    try:
        model = load(contents, row)
    except ExportError as error:
        yield Check(row.file, "valid ONNX", False, str(error))
        return
    yield attempt(row.file, "ONNX's rules, structure", lambda: _structure(model))
    yield attempt(row.file, "inputs and output", lambda: _signature(contents, _values(model)))
    yield attempt(row.file, "metadata", lambda: _onnx_metadata(contents, model))
    if row.precision == "fp16":
        yield attempt(row.file, "float16", lambda: _half(contents, model))
    if row.precision == "int8" and not int8_checks.has_layers(contents):
        yield attempt(row.file, "weights in int8", lambda: int8_checks.weights(model))
    elif row.precision == "int8":
        yield attempt(row.file, "Q/DQ placement", lambda: int8_checks.placement(model))
        yield attempt(row.file, "layers in int8", lambda: int8_checks.layers(contents, model))
        yield attempt(row.file, "weights", lambda: int8_checks.rounding(contents, model))
        yield attempt(row.file, "scales", lambda: int8_checks.scales(contents, model))


def compute(contents: Contents, row: Format) -> Compute:
    """Return the model of a file as a function on this machine.

    Raises:
      ExportError: if it cannot be loaded.
    """
    if row.name == "openvino-int8":
        return openvino.as_function(_read_openvino(contents, row), contents.bundle.batch)
    if row.name == "stablehlo":
        exported = stablehlo.read(contents.path(row.file).read_bytes())
        return stablehlo.as_function(exported, contents.inputs, contents.bundle.batch)
    model = load(contents, row)
    try:
        return Session(fp16.rounded(model) if row.precision == "fp16" else model).output
    except Exception as error:  # ONNX Runtime's exceptions have no common class below Exception
        raise ExportError(f"ONNX Runtime cannot load it: {error}") from error


def _structure(model: onnx.ModelProto) -> str:
    structure.check(ir.from_proto(model))
    return f"{len(model.graph.node)} nodes, opset {_opset(model)}"


def _opset(model: onnx.ModelProto) -> int:
    return next((entry.version for entry in model.opset_import if entry.domain == ""), 0)


def _values(model: onnx.ModelProto) -> Signature:
    found: Signature = {}
    for value in (*model.graph.input, *model.graph.output):
        tensor = value.type.tensor_type
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        found[value.name] = (kind, [dim.dim_param or dim.dim_value for dim in tensor.shape.dim])
    return found


def _signature(contents: Contents, found: Signature) -> str:
    batch = contents.bundle.batch or "batch"
    expected: Signature = {entry.name: ("float32", [batch, *entry.shape]) for entry in contents.inputs}
    expected[contents.raw["output"]["name"]] = ("float32", [batch, len(contents.bundle.labels)])
    if found != expected:
        raise ExportError(f"the model has {_describe(found)}; bundle.json says {_describe(expected)}")
    return _describe(found)


def _describe(values: Signature) -> str:
    return ", ".join(f"{name} {' x '.join(map(str, shape))} {kind}" for name, (kind, shape) in values.items())


def _metadata(contents: Contents, found: Mapping[str, str]) -> str:
    bundle = contents.bundle
    expected = onnx_graph.properties(contents.inputs, bundle.labels, bundle.versions, contents.head)
    for name, value in expected.items():
        if found.get(name) != value:
            raise ExportError(f"{name} in the model is {found.get(name)}; bundle.json says {value}")
    return ", ".join(expected)


def _onnx_metadata(contents: Contents, model: onnx.ModelProto) -> str:
    found = _metadata(contents, {entry.key: entry.value for entry in model.metadata_props})
    opset = contents.bundle.versions.get("opset")
    if opset != str(_opset(model)):
        raise ExportError(f"the model is of opset {_opset(model)}; bundle.json says {opset}")
    return found


def _read_openvino(contents: Contents, row: Format) -> Any:
    graph, weights = (contents.path(name) for name in (row.file, *row.beside))
    if not weights.exists():
        raise ExportError(f"{weights.name} is missing: the weights of {row.file}")
    return openvino.read(graph.read_bytes(), weights.read_bytes())


def _openvino(contents: Contents, row: Format) -> str:
    model = _read_openvino(contents, row)
    _metadata(contents, openvino.metadata(model))
    return _signature(contents, openvino.values(model))


def _half(contents: Contents, model: onnx.ModelProto) -> str:
    kept = contents.read_json(EXPORT_FILE).get("exports", {}).get("onnx-fp16", {}).get("float32_nodes", {})
    graph, in_half = ir.from_proto(model), 0
    for node in graph.graph:
        arrays = [array for value in node.inputs if (array := constant(value)) is not None]
        if any(array.dtype == np.float32 for array in arrays) and node.name not in kept:
            raise ExportError(f"{node.name} has float32 constants and is not among the nodes kept in float32")
        in_half += any(array.dtype == np.float16 for array in arrays)
    if not in_half:
        raise ExportError("no node has constants in float16")
    return f"{in_half} nodes with constants in float16, {len(kept)} nodes kept in float32"


def _stablehlo(contents: Contents, row: Format) -> str:
    exported = stablehlo.read(contents.path(row.file).read_bytes())
    batch = contents.bundle.batch or "batch"
    expected = [[batch, *entry.shape] for entry in contents.inputs] + [[batch, len(contents.bundle.labels)]]
    avals = (*exported.in_avals, *exported.out_avals)
    found = [[dim if isinstance(dim, int) else str(dim) for dim in aval.shape] for aval in avals]
    if found != expected or any(aval.dtype != np.float32 for aval in avals):
        raise ExportError(f"it takes and gives {found}; bundle.json says {expected} in float32")
    missing = set(stablehlo.PLATFORMS) - set(exported.platforms)
    if missing:
        raise ExportError(f"it was not made for {', '.join(sorted(missing))}")
    return f"for {', '.join(exported.platforms)}"
