"""Tiny bundles that follow the format to the letter, made by hand, so that no training is needed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edge
from edge.bundle import FORMAT_VERSION
from edge.preprocess import VIDEO_MODALITIES, DepthSpec, InertialSpec, SkeletonSpec, VideoSpec, spec_to_dict

REPOSITORY = Path(edge.__file__).resolve().parents[1]
LABELS = ["wave", "clap", "throw", "push", "knock", "catch"]
SPECS = {
    "rgb": VideoSpec(num_frames=4, resize=20, crop=16),
    "depth": DepthSpec(num_frames=4, crop=16),
    "skeleton": SkeletonSpec(num_frames=6),
    "inertial": InertialSpec(num_frames=8),
}


def _write_model(path: Path, modalities, seed: int) -> None:
    """Write a network: the mean of the video over time and place and of the others over time, then Gemm."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    inputs, nodes, features, width = [], [], [], 0
    for modality in modalities:
        shape = SPECS[modality].shape
        video = modality in VIDEO_MODALITIES
        name = "video" if video else modality
        axes = ["batch", shape[3], *shape[:3]] if video else ["batch", *shape]
        inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, axes))
        if video:
            nodes.append(helper.make_node("GlobalAveragePool", [name], [name + "_p"]))
            nodes.append(helper.make_node("Flatten", [name + "_p"], [name + "_f"]))
        else:
            nodes.append(helper.make_node("ReduceMean", [name], [name + "_f"], axes=[1], keepdims=0))
        features.append(name + "_f")
        width += shape[-1]
    nodes.append(helper.make_node("Concat", features, ["features"], axis=1))
    nodes.append(helper.make_node("Gemm", ["features", "weight", "bias"], ["logits"]))
    rng = np.random.default_rng(seed)
    constants = {
        "weight": rng.normal(size=(width, len(LABELS))).astype(np.float32),
        "bias": rng.normal(size=len(LABELS)).astype(np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        inputs,
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


def _describe_input(modality: str) -> dict:
    spec = SPECS[modality]
    video = modality in VIDEO_MODALITIES
    shape = [spec.shape[3], *spec.shape[:3]] if video else list(spec.shape)
    return {
        "name": "video" if video else modality,
        "modality": modality,
        "shape": ["batch", *shape],
        "layout": "NCDHW" if video else "NTC",
        "dtype": "float32",
        "preprocess": spec_to_dict(spec),
    }


def _describe_file(path: Path) -> dict:
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size_bytes": path.stat().st_size}


@pytest.fixture
def make_bundle(tmp_path):
    """A function that writes a bundle for some modalities and returns its folder."""

    def make(*modalities: str, precisions=("fp32", "int8"), temperature=1.0) -> Path:
        folder = tmp_path / ("bundle_" + "_".join(modalities))
        folder.mkdir()
        files = {name: f"model.{name}.onnx" for name in precisions}
        for seed, file in enumerate(files.values()):
            _write_model(folder / file, modalities, seed)
        (folder / "calibration.json").write_text("{}")
        (folder / "model_card.md").write_text("A tiny network.")
        values = {
            "format_version": FORMAT_VERSION,
            "model": "tiny",
            "created": "2025-01-01T00:00:00+00:00",
            "inputs": [_describe_input(modality) for modality in modalities],
            "output": {"name": "logits", "is": "logits", "shape": ["batch", len(LABELS)], "dtype": "float32"},
            "window": {"frames": 4, "stride": 2, "duration_s": 2.2},
            "temperature": temperature,
            "labels": LABELS,
            "precisions": {
                name: {
                    "file": file,
                    "size_bytes": (folder / file).stat().st_size,
                    "top1": 0.9 if name == "fp32" else None,
                    "clips": 100,
                    "split": "test",
                }
                for name, file in files.items()
            },
            "files": {path.name: _describe_file(path) for path in sorted(folder.iterdir())},
            "versions": {"numpy": np.__version__},
        }
        (folder / "bundle.json").write_text(json.dumps(values))
        return folder

    return make


@pytest.fixture
def edit_bundle():
    """A function that changes the values of a bundle.json in place."""

    def edit(folder: Path, change) -> None:
        path = folder / "bundle.json"
        values = json.loads(path.read_text())
        change(values)
        path.write_text(json.dumps(values))

    return edit


@pytest.fixture
def run_python(tmp_path):
    """A function that runs Python on arguments, in a folder that is not the repository's."""

    def run(*arguments: str, on_path: bool = True) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY) if on_path else ""}
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=str(tmp_path),
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture
def write_video(tmp_path):
    """A function that writes a video whose frame i is of the colour that a function gives for i."""
    import cv2

    def write(name: str = "clip.avi", frames: int = 12, size=(64, 48), rate_hz: float = 15.0, colour=None) -> Path:
        path = tmp_path / name
        codec = {".avi": "MJPG", ".mp4": "mp4v"}[path.suffix]
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), rate_hz, size)
        assert writer.isOpened()
        for i in range(frames):
            rgb = colour(i) if colour else (200, 20 * i, 30)
            writer.write(np.full((size[1], size[0], 3), rgb[::-1], np.uint8))
        writer.release()
        return path

    return write


@pytest.fixture
def skeletons():
    """Thirty skeletons of 20 joints that move."""
    rng = np.random.default_rng(3)
    still = rng.normal(size=(20, 3))
    drift = np.linspace(0, 1, 30)[:, None, None] * rng.normal(size=(20, 3))
    return (still + drift).astype(np.float32)


@pytest.fixture
def depth_frames():
    """Ten depth frames of a box that moves to the right."""
    frames = np.zeros((10, 60, 80), np.uint16)
    for i in range(10):
        frames[i, 15:45, 20 + i : 40 + i] = 2300 + 10 * i
    return frames


@pytest.fixture
def samples():
    """Eighty inertial samples: gravity on the second axis and a turn that gets faster."""
    values = np.random.default_rng(4).normal(0, 0.1, size=(80, 6))
    values[:, 1] += 1
    values[:, 3:] += np.linspace(0, 200, 80)[:, None]
    return values.astype(np.float32)
