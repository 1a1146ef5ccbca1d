"""What a bundle can be held against: its own description, the rules of its formats, the run it was made from.

Reads the finished files and nothing of how they were made. Each check is a function that returns what it found
or raises an error that says what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from edge.bundle import BUNDLE_FILE, Bundle, read_bundle, sha256_of
from edge.errors import EdgeError
from export import formats, half, onnx_graph, stablehlo, structure
from export.bundle import CALIBRATION_FILE, EXPORT_FILE, SENSITIVITY_FILE
from export.errors import ExportError
from export.formats import Format
from export.head import Head
from export.inputs import ModelInput
from export.layers import layer_names
from export.lint import lint
from export.parity import Compute
from export.passes import constant
from export.residual import behind_qdq, video_convs
from export.session import Session
from export.tensorrt import cache


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


@dataclass(frozen=True)
class Contents:
    """A bundle as `edge` reads it, and what only an export knows of it.

    Attributes:
      bundle: as the device sees it.
      raw: `bundle.json`.
      inputs: what the models read.
      head: what comes out.
      rows: the formats whose files the bundle lists.
    """

    bundle: Bundle
    raw: dict[str, Any]
    inputs: tuple[ModelInput, ...]
    head: Head
    rows: tuple[Format, ...]

    def path(self, name: str) -> Path:
        """Return the path of a file of the bundle."""
        return self.bundle.path / name

    def read_text(self, name: str) -> str:
        """Return the contents of a text file of the bundle."""
        try:
            return self.path(name).read_text()
        except (OSError, ValueError) as error:
            raise ExportError(f"{name} cannot be read: {error}") from None

    def read_json(self, name: str) -> dict[str, Any]:
        """Return the contents of a JSON file of the bundle."""
        try:
            return json.loads(self.read_text(name))
        except ValueError as error:
            raise ExportError(f"{name} cannot be read: {error}") from None


def attempt(subject: str, name: str, check: Callable[[], str]) -> Check:
    """Return the outcome of a check."""
    try:
        return Check(subject, name, True, check())
    except (ExportError, EdgeError) as error:
        return Check(subject, name, False, str(error))


def read(folder: Path) -> Contents:
    """Return a bundle whose files are what `bundle.json` says.

    Raises:
      EdgeError: if the device would refuse it.
      ExportError: if it lists no model of a known format, or says two things of one file.
    """
    bundle = read_bundle(folder)
    raw = json.loads((folder / BUNDLE_FILE).read_text())
    rows = tuple(row for row in formats.FORMATS if row.file in raw["files"])
    for name, precision in bundle.precisions.items():
        size_bytes = raw["files"][precision.path.name]["size_bytes"]
        if precision.size_bytes != size_bytes:
            raise ExportError(f"precisions.{name}.size_bytes is {precision.size_bytes}; its file has {size_bytes}")
        if precision.path.name not in {row.file for row in rows if row.precision == name}:
            raise ExportError(f"precisions.{name}.file is {precision.path.name!r}, which is not a file of that format")
    inputs = tuple(ModelInput(entry.name, entry.modality, entry.spec) for entry in bundle.inputs)
    return Contents(bundle, raw, inputs, Head(bundle.output == "probabilities", bundle.temperature), rows)


def check_format(contents: Contents, row: Format) -> Iterator[Check]:
    """Yield what there is to check of one file without the run."""
    if row.precision is None:
        yield attempt(row.file, "loads in JAX; inputs and output", lambda: _stablehlo(contents, row))
        return
    try:
        model = load(contents, row)
    except ExportError as error:
        yield Check(row.file, "valid ONNX", False, str(error))
        return
    yield attempt(row.file, "ONNX's rules, structure", lambda: _structure(model))
    yield attempt(row.file, "inputs and output", lambda: _signature(contents, model))
    yield attempt(row.file, "metadata", lambda: _metadata(contents, model))
    if row.precision == "fp16":
        yield attempt(row.file, "float16", lambda: _half(contents, model))
    if row.precision == "int8":
        yield attempt(row.file, "Q/DQ placement", lambda: _placement(model))
        yield attempt(row.file, "layers in int8", lambda: _layers(contents, model))
        yield attempt(row.file, "scales", lambda: check_scales(contents, model))


def load(contents: Contents, row: Format) -> onnx.ModelProto:
    """Return an ONNX model of a bundle.

    Raises:
      ExportError: if it cannot be read.
    """
    try:
        return onnx.load(contents.path(row.file))
    except Exception as error:  # protobuf's have no common class below Exception
        raise ExportError(f"it cannot be read as ONNX: {error}") from None


def compute(contents: Contents, row: Format) -> Compute:
    """Return the model of a file as a function on this machine.

    Raises:
      ExportError: if it cannot be loaded.
    """
    if row.precision is None:
        exported = stablehlo.read(contents.path(row.file).read_bytes())
        return stablehlo.as_function(exported, contents.inputs, contents.bundle.batch)
    model = load(contents, row)
    try:
        return Session(half.rounded(model) if row.precision == "fp16" else model).logits
    except Exception as error:  # ONNX Runtime's exceptions have no common class below Exception
        raise ExportError(f"ONNX Runtime cannot load it: {error}") from error


def _structure(model: onnx.ModelProto) -> str:
    structure.check(ir.from_proto(model))
    return f"{len(model.graph.node)} nodes, opset {_opset(model)}"


def _opset(model: onnx.ModelProto) -> int:
    return next((entry.version for entry in model.opset_import if entry.domain == ""), 0)


def _signature(contents: Contents, model: onnx.ModelProto) -> str:
    batch = contents.bundle.batch or "batch"
    expected = {entry.name: ("float32", [batch, *entry.shape]) for entry in contents.inputs}
    expected[contents.raw["output"]["name"]] = ("float32", [batch, len(contents.bundle.labels)])
    found = {}
    for value in (*model.graph.input, *model.graph.output):
        tensor = value.type.tensor_type
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        found[value.name] = (kind, [dim.dim_param or dim.dim_value for dim in tensor.shape.dim])
    if found != expected:
        raise ExportError(f"the model has {_describe(found)}; bundle.json says {_describe(expected)}")
    return _describe(found)


def _describe(values: dict[str, tuple[str, list[Any]]]) -> str:
    return ", ".join(f"{name} {' x '.join(map(str, shape))} {kind}" for name, (kind, shape) in values.items())


def _metadata(contents: Contents, model: onnx.ModelProto) -> str:
    bundle = contents.bundle
    expected = onnx_graph.properties(contents.inputs, bundle.labels, bundle.versions, contents.head)
    found = {entry.key: entry.value for entry in model.metadata_props}
    for name, value in expected.items():
        if found.get(name) != value:
            raise ExportError(f"{name} in the model is {found.get(name)}; bundle.json says {value}")
    if bundle.versions.get("opset") != str(_opset(model)):
        raise ExportError(f"the model is of opset {_opset(model)}; bundle.json says {bundle.versions.get('opset')}")
    return ", ".join(expected)


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


def _placement(model: onnx.ModelProto) -> str:
    graph = ir.from_proto(model)
    if violations := lint(graph):
        raise ExportError("; ".join(map(str, violations)))
    pairs = sum(node.op_type == "QuantizeLinear" for node in graph.graph)
    if not pairs:
        raise ExportError("nothing is quantised: there is no QuantizeLinear")
    return f"{pairs} tensors quantised by TensorRT's rules"


def _layers(contents: Contents, model: onnx.ModelProto) -> str:
    stated = contents.read_json(CALIBRATION_FILE).get("layers") or {}
    kept = stated.get("float", {})
    names = layer_names(load(contents, formats.BY_NAME[formats.BASE]))
    expected = [name for name in names if name not in kept]
    graph = ir.from_proto(model)
    found = [str(conv.name) for conv in video_convs(graph) if behind_qdq(conv.inputs[1]) is not conv.inputs[1]]
    if sorted(found) != sorted(expected):
        raise ExportError(
            f"int8 in the model: {', '.join(found) or 'none'}; by {CALIBRATION_FILE}: {', '.join(expected) or 'none'}"
        )
    return f"{len(found)} of {len(names)} layers, as {CALIBRATION_FILE} says"


def check_scales(contents: Contents, model: onnx.ModelProto) -> str:
    """Return where the scales of a bundle's int8 model come from.

    Raises:
      ExportError: if they are not those of `calibration.json` and `calibration.cache`, or measured on another model.
    """
    calibration = contents.read_json(CALIBRATION_FILE)
    base = formats.BY_NAME[formats.BASE].file
    if calibration.get("model_sha256") != sha256_of(contents.path(base)):
        raise ExportError(f"{CALIBRATION_FILE} was measured on another model than {base}")
    stated = {name: np.float32(entry["scale"]) for name, entry in calibration.get("tensors", {}).items()}
    found = {
        str(node.inputs[0].name): np.float32(constant(node.inputs[1]))  # type: ignore[union-attr, arg-type]
        for node in ir.from_proto(model).graph
        if node.op_type == "QuantizeLinear"
    }
    for name in sorted(stated.keys() | found.keys()):
        if stated.get(name) != found.get(name):
            raise ExportError(f"{name}: scale {found.get(name)} in the model, {stated.get(name)} in {CALIBRATION_FILE}")
    cached = cache.read(contents.read_text(cache.CACHE_FILE)).scales
    if cached != {name: float(scale) for name, scale in stated.items()}:
        raise ExportError(f"{cache.CACHE_FILE} does not have the scales of {CALIBRATION_FILE}")
    return f"{len(found)} scales are those of {CALIBRATION_FILE} and {cache.CACHE_FILE}, measured on {base}"


def check_sensitivity(contents: Contents) -> str:
    """Return on how many clips `sensitivity.json` was measured.

    Raises:
      ExportError: if it was measured on other models than the bundle's.
    """
    values = contents.read_json(SENSITIVITY_FILE)
    if values.get("models") != model_hashes(contents):
        raise ExportError(
            f"{SENSITIVITY_FILE} was measured on other models than these\n"
            f"  Measure again: python -m export.sensitivity --bundle={contents.bundle.path} --workdir=RUN"
        )
    return f"measured on these models, {len(values['clips'])} clips"


def model_hashes(contents: Contents) -> dict[str, str]:
    """Return the sha256 of the files that sensitivity compares, by precision."""
    names = {name: formats.by_precision(name).file for name in ("fp32", "int8")}
    return {name: contents.raw["files"][file]["sha256"] for name, file in names.items()}


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
