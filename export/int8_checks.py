"""What an int8 model, and what was measured of it, can be held against: checks as those of `checks`."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from edge.bundle import sha256_of
from export import formats
from export.bundle import CALIBRATION_FILE, SENSITIVITY_FILE
from export.contents import Contents, load
from export.errors import ExportError
from export.layers import layer_names
from export.lint import lint
from export.passes import constant
from export.residual import behind_qdq, video_convs
from export.tensorrt import cache

# What rounding to int8 may change, in steps; a little more, for it was computed in float32.
_HALF_A_STEP = 0.5001


def has_layers(contents: Contents) -> bool:
    """Return whether a bundle's float model has layers that int8 has a kernel for; also if that cannot be read."""
    try:
        return bool(layer_names(load(contents, formats.BY_NAME[formats.BASE])))
    except ExportError:
        return True  # whoever looks for them says why there are none


def weights(model: onnx.ModelProto) -> str:
    """Return how many weights of a model that computes in float are stored in int8.

    Raises:
      ExportError: if none is, or something is rounded that is no weight.
    """
    found = [node.op_type for node in ir.from_proto(model).graph]
    if "QuantizeLinear" in found or "DequantizeLinear" not in found:
        raise ExportError("only weights may be int8: this model has no layer that computes in int8")
    return f"{found.count('DequantizeLinear')} weights; no layer computes in int8"


def placement(model: onnx.ModelProto) -> str:
    """Return how many tensors are quantised.

    Raises:
      ExportError: if a placement rule is broken, or nothing is quantised.
    """
    graph = ir.from_proto(model)
    if violations := lint(graph):
        raise ExportError("; ".join(map(str, violations)))
    pairs = sum(node.op_type == "QuantizeLinear" for node in graph.graph)
    if not pairs:
        raise ExportError("nothing is quantised: there is no QuantizeLinear")
    return f"{pairs} tensors quantised by TensorRT's rules"


def layers(contents: Contents, model: onnx.ModelProto) -> str:
    """Return how many layers are in int8.

    Raises:
      ExportError: if they are not all but those that `calibration.json` keeps in float.
    """
    stated = contents.read_json(CALIBRATION_FILE).get("layers") or {}
    kept = stated.get("float", {})
    names = layer_names(load(contents, formats.BY_NAME[formats.BASE]))
    if unknown := sorted(set(kept) - set(names)):
        raise ExportError(f"{CALIBRATION_FILE} keeps {', '.join(unknown)} in float, which is no layer of the model")
    expected = [name for name in names if name not in kept]
    graph = ir.from_proto(model)
    found = [str(conv.name) for conv in video_convs(graph) if behind_qdq(conv.inputs[1]) is not conv.inputs[1]]
    if sorted(found) != sorted(expected):
        raise ExportError(
            f"int8 in the model: {', '.join(found) or 'none'}; by {CALIBRATION_FILE}: {', '.join(expected) or 'none'}"
        )
    return f"{len(found)} of {len(names)} layers, as {CALIBRATION_FILE} says"


def rounding(contents: Contents, model: onnx.ModelProto) -> str:
    """Return how many layers have the weights of the float model, rounded.

    Raises:
      ExportError: if one is farther from them than rounding brings it: its weights were changed.
    """
    base = ir.from_proto(load(contents, formats.BY_NAME[formats.BASE]))
    exact = {conv.name: constant(conv.inputs[1]) for conv in video_convs(base)}
    checked = 0
    for conv in video_convs(ir.from_proto(model)):
        restored, expected = conv.inputs[1].producer(), exact.get(conv.name)  # type: ignore[union-attr]
        if restored is None or restored.op_type != "DequantizeLinear" or expected is None:
            continue  # in float, or no layer of the float model: `layers` says so
        stored, scale = constant(restored.inputs[0]), constant(restored.inputs[1])
        if stored is None or scale is None or stored.shape != expected.shape or scale.shape != stored.shape[:1]:
            raise ExportError(f"{conv.name}: its weights are not those of the float model in another type")
        steps = np.abs(stored - expected / scale.reshape(-1, *[1] * (stored.ndim - 1)))
        farthest = steps.reshape(len(steps), -1).max(axis=1)
        channel = int(farthest.argmax())
        if not farthest[channel] <= _HALF_A_STEP:
            raise ExportError(
                f"{conv.name}: weights of output channel {channel} are {farthest[channel]:.3g} steps of int8 from "
                "those of the float model; rounding brings them half a step away"
            )
        checked += 1
    return f"{checked} layers have the weights of {formats.BY_NAME[formats.BASE].file}, rounded"


def scales(contents: Contents, model: onnx.ModelProto) -> str:
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
    cached = cache.parse(contents.read_text(cache.CACHE_FILE)).scales
    outputs = {name: np.float32(entry["scale"]) for name, entry in calibration.get("outputs", {}).items()}
    if cached != {name: float(scale) for name, scale in (stated | outputs).items()}:
        raise ExportError(f"{cache.CACHE_FILE} does not have the scales of {CALIBRATION_FILE}")
    return f"{len(found)} scales are those of {CALIBRATION_FILE} and {cache.CACHE_FILE}, measured on {base}"


def sensitivity(contents: Contents) -> str:
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
