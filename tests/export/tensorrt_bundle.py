"""Small bundles made by hand, for the tests of export.tensorrt: a video and a skeleton, in float and with Q/DQ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import FORMAT_VERSION
from edge.preprocess import DepthSpec, SkeletonSpec, spec_to_dict

LABELS = ["wave", "clap", "throw"]
DEPTH, SKELETON = DepthSpec(num_frames=4, crop=16), SkeletonSpec(num_frames=6)
SCALES = {"video": 0.025, "features": 0.5}


def make_model(
    *, qdq: bool = False, opset: int = 17, batch: str | int = "batch", zero_point: int = 0
) -> onnx.ModelProto:
    """Return a network of a video (N, 1, 4, 16, 16) and a skeleton (N, 6, 75)."""
    rng = np.random.default_rng(0)
    constants = {
        "kernel": rng.normal(size=(3, 1, 3, 3, 3)).astype(np.float32),
        "weight": rng.normal(size=(3 + 75, len(LABELS))).astype(np.float32),
    }
    nodes, video = [], "video"
    if qdq:
        constants.update({"scale": np.float32(SCALES["video"]), "zero": np.int8(zero_point)})
        nodes.append(helper.make_node("QuantizeLinear", ["video", "scale", "zero"], ["video_int8"], name="quantize"))
        nodes.append(
            helper.make_node("DequantizeLinear", ["video_int8", "scale", "zero"], ["restored"], name="restore")
        )
        video = "restored"
    nodes += [
        helper.make_node("Conv", [video, "kernel"], ["features"], name="conv", pads=[1] * 6),
        helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("ReduceMean", ["skeleton"], ["pose"], axes=[1], keepdims=0),
        helper.make_node("Concat", ["flat", "pose"], ["joined"], axis=1),
        helper.make_node("MatMul", ["joined", "weight"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [
            helper.make_tensor_value_info("video", TensorProto.FLOAT, [batch, 1, 4, 16, 16]),
            helper.make_tensor_value_info("skeleton", TensorProto.FLOAT, [batch, 6, 75]),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, len(LABELS)])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def write_bundle(
    folder: Path,
    *,
    top1: Mapping[str, float | None],
    models: Mapping[str, onnx.ModelProto] | None = None,
    **extra: Any,
) -> Path:
    """Write a bundle of the precisions that `top1` names, and return its folder.

    Args:
      folder: where.
      top1: precision to recorded accuracy.
      models: precision to its model, where it is not the usual one.
      extra: more fields of bundle.json.
    """
    folder.mkdir()
    for precision in top1:
        model = (models or {}).get(precision) or make_model(qdq=precision == "int8")
        onnx.save(model, str(folder / f"model.{precision}.onnx"))
    float_sha256 = hashlib.sha256((folder / "model.fp32.onnx").read_bytes()).hexdigest()
    tensors = {name: {"range": scale * 127, "scale": scale} for name, scale in SCALES.items()}
    (folder / "calibration.json").write_text(json.dumps({"model_sha256": float_sha256, "tensors": tensors}))
    seal(folder, top1, extra)
    return folder


def seal(folder: Path, top1: Mapping[str, float | None], extra: Mapping[str, Any]) -> None:
    """Write bundle.json for the files that lie in a folder."""
    files = {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size_bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
        if path.name != "bundle.json"
    }
    inputs = [
        {"name": "video", "modality": "depth", "shape": ["batch", 1, 4, 16, 16], "layout": "NCDHW"},
        {"name": "skeleton", "modality": "skeleton", "shape": ["batch", 6, 75], "layout": "NTC"},
    ]
    for entry, spec in zip(inputs, (DEPTH, SKELETON)):
        entry.update({"dtype": "float32", "preprocess": spec_to_dict(spec)})
    values = {
        "format_version": FORMAT_VERSION,
        "model": "small",
        "created": "2025-01-01T00:00:00+00:00",
        "inputs": inputs,
        "output": {"name": "logits", "is": "logits", "shape": ["batch", len(LABELS)], "dtype": "float32"},
        "window": {"frames": 4, "stride": 2, "duration_s": 2.2},
        "temperature": 1.0,
        "labels": LABELS,
        "precisions": {
            name: {
                "file": f"model.{name}.onnx",
                "size_bytes": files[f"model.{name}.onnx"]["size_bytes"],
                "top1": value,
                "clips": 100,
                "split": "test",
            }
            for name, value in top1.items()
        },
        "files": files,
        "versions": {},
        **extra,
    }
    (folder / "bundle.json").write_text(json.dumps(values))
