"""Ways in which a bundle goes wrong, and what is to be found: changes by hand that keep sizes and hashes in order."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import onnx

from export import stablehlo
from export.bundle import bundle_sha256
from tests.export.conftest import LABELS


def sign(folder: Path, name: str) -> None:
    """Make the hashes fit a changed file, as somebody would who edits a bundle by hand."""
    values = json.loads((folder / "bundle.json").read_text())
    data = (folder / name).read_bytes()
    grown = len(data) - values["files"][name]["size_bytes"]
    values["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    for entry in values["precisions"].values():
        if entry["file"] == name.replace(".bin", ".xml"):
            entry["size_bytes"] += grown
    if name != "export.json":
        made = json.loads((folder / "export.json").read_text())
        (folder / "export.json").write_text(json.dumps({**made, "bundle_sha256": bundle_sha256(values)}))
        data = (folder / "export.json").read_bytes()
        values["files"]["export.json"] = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    (folder / "bundle.json").write_text(json.dumps(values))


def edit_model(name: str, change):
    def damage(folder: Path) -> None:
        model = onnx.load(folder / name)
        change(model)
        onnx.save(model, folder / name)
        sign(folder, name)

    return damage


def edit_json(name: str, change):
    def damage(folder: Path) -> None:
        values = json.loads((folder / name).read_text())
        change(values)
        (folder / name).write_text(json.dumps(values))
        if name != "bundle.json":
            sign(folder, name)

    return damage


def append_byte(folder: Path) -> None:
    with (folder / "model.fp32.onnx").open("ab") as file:
        file.write(b"\0")


def no_model(name: str):
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(b"not a model")
        sign(folder, name)

    return damage


def put_fp32_in_place_of(name: str):
    def damage(folder: Path) -> None:
        shutil.copy(folder / "model.fp32.onnx", folder / name)
        sign(folder, name)

    return damage


def add_batch_norm(model: onnx.ModelProto) -> None:
    output = model.graph.output[0].name
    size = len(LABELS)
    for node in model.graph.node:
        node.output[:] = ["inner" if name == output else name for name in node.output]
    for name in ("one", "two", "three", "four"):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(size, np.float32), name))
    model.graph.node.append(
        onnx.helper.make_node("BatchNormalization", ["inner", "one", "two", "three", "four"], [output], name="extra")
    )


def rename_input(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.input[:] = ["film" if name == "video" else name for name in node.input]
    model.graph.input[0].name = "film"


def change_labels(model: onnx.ModelProto) -> None:
    next(p for p in model.metadata_props if p.key == "labels").value = json.dumps(["sneeze"] * len(LABELS))


def nudge_a_weight(model: onnx.ModelProto) -> None:
    kernel = next(i for i in model.graph.initializer if len(i.dims) == 5 and i.data_type == onnx.TensorProto.FLOAT)
    array = onnx.numpy_helper.to_array(kernel).copy()
    array += 1
    kernel.CopyFrom(onnx.numpy_helper.from_array(array, kernel.name))


def give_a_zero_point(model: onnx.ModelProto) -> None:
    name = next(node for node in model.graph.node if node.op_type == "QuantizeLinear").input[2]
    zero = next(i for i in model.graph.initializer if i.name == name)
    zero.CopyFrom(onnx.numpy_helper.from_array(np.asarray(3, np.int8), name))


def widen_a_scale(model: onnx.ModelProto) -> None:
    name = next(node for node in model.graph.node if node.op_type == "QuantizeLinear").input[1]
    scale = next(i for i in model.graph.initializer if i.name == name)
    scale.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(scale) * np.float32(1.01), name))


def silence_a_channel(model: onnx.ModelProto) -> None:
    kernel = next(i for i in model.graph.initializer if len(i.dims) == 5 and i.data_type == onnx.TensorProto.INT8)
    array = onnx.numpy_helper.to_array(kernel).copy()
    array[3] = 0
    kernel.CopyFrom(onnx.numpy_helper.from_array(array, kernel.name))


def drop_the_last_line(folder: Path) -> None:
    path = folder / "calibration.cache"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    sign(folder, path.name)


def halve(name: str):
    def damage(folder: Path) -> None:
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        sign(folder, name)

    return damage


def edit_ir_labels(folder: Path) -> None:
    path = folder / "model.int8.xml"
    path.write_text(path.read_text().replace("wave", "sneeze"))
    sign(folder, path.name)


def exported_anew(platforms, batch):
    def damage(folder: Path) -> None:
        path = folder / "model.stablehlo"
        exported = stablehlo.read(path.read_bytes())
        (size,) = jax.export.symbolic_shape("batch") if batch is None else (batch,)
        arguments = [jax.ShapeDtypeStruct((size, *aval.shape[1:]), aval.dtype) for aval in exported.in_avals]
        path.write_bytes(jax.export.export(jax.jit(exported.call), platforms=platforms)(*arguments).serialize())
        sign(folder, path.name)

    return damage


def forget_the_calibration(folder: Path) -> None:
    (folder / "calibration.json").unlink()
    edit_json("bundle.json", lambda v: v["files"].pop("calibration.json"))(folder)


# Name to what is done to a bundle, and the file, the check and the words that tell.
DAMAGE = {
    "a byte more": (append_byte, "bundle.json", "fields, sizes, hashes", "does not match its bundle"),
    "a file gone": (
        lambda folder: (folder / "model.int8.onnx").unlink(),
        "bundle.json", "fields, sizes, hashes", "is missing",
    ),
    "another format version": (
        edit_json("bundle.json", lambda v: v.update(format_version=1)),
        "bundle.json", "fields, sizes, hashes", "format version 1",
    ),
    "a precision of another size": (
        edit_json("bundle.json", lambda v: v["precisions"]["fp32"].update(size_bytes=1)),
        "bundle.json", "fields, sizes, hashes", "size_bytes is 1",
    ),
    "a precision that names another's file": (
        edit_json("bundle.json", lambda v: v["precisions"]["int8"].update(v["precisions"]["fp32"])),
        "bundle.json", "fields, sizes, hashes", "not a file of that format",
    ),
    "no ONNX": (no_model("model.fp32.onnx"), "model.fp32.onnx", "valid ONNX", "cannot be read as ONNX"),
    "an unknown operator": (
        edit_model("model.fp32.onnx", lambda m: setattr(m.graph.node[0], "op_type", "Nonsense")),
        "model.fp32.onnx", "ONNX's rules, structure", "not valid ONNX",
    ),
    "an operator that does not belong": (
        edit_model("model.fp32.onnx", add_batch_norm),
        "model.fp32.onnx", "ONNX's rules, structure", "BatchNormalization extra",
    ),
    "another opset": (
        edit_model("model.fp32.onnx", lambda m: setattr(m.opset_import[0], "version", 18)),
        "model.fp32.onnx", "metadata", "of opset 18; bundle.json says 17",
    ),
    "another input": (
        edit_model("model.fp32.onnx", rename_input),
        "model.fp32.onnx", "inputs and output", "the model has film",
    ),
    "a better accuracy": (
        edit_json("bundle.json", lambda v: v["precisions"]["int8"].update(top1=0.99)),
        "bundle.json", "accuracy as it was measured", "int8 says top1 0.99; export.json has",
    ),
    "less that may be lost": (
        edit_json("bundle.json", lambda v: v.update(max_drop_points=50)),
        "bundle.json", "as it was written", "changed after the export",
    ),
    "a longer window": (
        edit_json("bundle.json", lambda v: v["window"].update(duration_s=9.0)),
        "bundle.json", "as it was written", "changed after the export",
    ),
    "another name": (
        edit_json("bundle.json", lambda v: v.update(model="x")),
        "bundle.json", "as it was written", "changed after the export",
    ),
    "other labels": (edit_model("model.fp16.onnx", change_labels), "model.fp16.onnx", "metadata", "sneeze"),
    "another temperature": (
        edit_json("bundle.json", lambda v: v.update(temperature=9)),
        "model.fp32.onnx", "metadata", '"temperature": 9',
    ),
    "float32 for float16": (
        put_fp32_in_place_of("model.fp16.onnx"), "model.fp16.onnx", "float16", "float32 constants",
    ),
    "float32 for int8": (
        put_fp32_in_place_of("model.int8.onnx"), "model.int8.onnx", "Q/DQ placement", "nothing is quantised",
    ),
    "a zero point": (
        edit_model("model.int8.onnx", give_a_zero_point), "model.int8.onnx", "Q/DQ placement", "it must be 0",
    ),
    "a wider scale": (edit_model("model.int8.onnx", widen_a_scale), "model.int8.onnx", "scales", "in the model"),
    "a channel of zeros": (
        edit_model("model.int8.onnx", silence_a_channel), "model.int8.onnx", "weights", "of output channel 3 are 127",
    ),
    "a layer in float that there is not": (
        edit_json("calibration.json", lambda v: v["layers"]["float"].update(conv="made up")),
        "model.int8.onnx", "layers in int8", "keeps conv in float, which is no layer",
    ),
    "scales of another model": (
        edit_json("calibration.json", lambda v: v.update(model_sha256="0" * 64)),
        "model.int8.onnx", "scales", "measured on another model",
    ),
    "a cache without a scale": (drop_the_last_line, "model.int8.onnx", "scales", "calibration.cache does not have"),
    "no IR": (
        no_model("model.int8.xml"), "model.int8.xml", "loads in OpenVINO; inputs and output", "OpenVINO cannot read it",
    ),
    "half of the IR's weights": (
        halve("model.int8.bin"), "model.int8.xml", "loads in OpenVINO; inputs and output", "OpenVINO cannot read it",
    ),
    "other labels in the IR": (
        edit_ir_labels, "model.int8.xml", "loads in OpenVINO; inputs and output", "sneeze",
    ),
    "half of the StableHLO": (
        halve("model.stablehlo"), "model.stablehlo", "loads in JAX; inputs and output", "cannot read",
    ),
    "StableHLO for CPUs alone": (
        exported_anew(["cpu"], None), "model.stablehlo", "loads in JAX; inputs and output", "not made for cuda, tpu",
    ),
    "StableHLO of two clips": (
        exported_anew(stablehlo.PLATFORMS, 2),
        "model.stablehlo", "loads in JAX; inputs and output", "it takes and gives",
    ),
    "more clips": (
        edit_json("bundle.json", lambda v: v["precisions"]["int8"].update(clips=999)),
        "bundle.json", "accuracy as it was measured", "int8 says clips 999; export.json has 10",
    ),
    "another side": (
        edit_json("bundle.json", lambda v: v["precisions"]["int8"].update(split="train")),
        "bundle.json", "accuracy as it was measured", "int8 says split train; export.json has test",
    ),
    "calibration gone": (forget_the_calibration, "model.int8.onnx", "scales", "calibration.json cannot be read"),
}  # fmt: skip
