"""Bundles parsed and built by NVIDIA's own parser and builder: TensorRT-RTX, which needs no GPU for that.

It has the strongly typed interface of TensorRT 11. What it builds here shows that the files are read and that our
builder calls are right; not that a Jetson has an int8 kernel for each layer, nor how fast one is.

The package (230 MB) is installed once, into a folder of its own: HARTX_TENSORRT_RTX, or one in the user's cache.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from export.fp16 import convert, stay_float
from tests.export.tensorrt_bundle import make_model, write_bundle

PACKAGE = "tensorrt-rtx==1.7.1.116"
SCRIPT = Path(__file__).with_name("build_with_rtx.py")
_INSTALL_TIMEOUT_S = 300


def _folder() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    # The wheel of one Python cannot be loaded by another.
    name = f"{PACKAGE.replace('==', '-')}-{sys.implementation.cache_tag}"
    return Path(os.environ.get("HARTX_TENSORRT_RTX") or cache / "hartx" / name)


@pytest.fixture(scope="module")
def rtx() -> dict[str, str]:
    """The environment of a Python that sees TensorRT-RTX; the tests' own packages stay as they are."""
    folder = _folder()
    complete = folder / ".complete"
    if not complete.is_file():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]
        try:
            done = subprocess.run(
                [*command, str(folder), PACKAGE], capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            pytest.skip(
                f"{PACKAGE} was not installed within {_INSTALL_TIMEOUT_S} s: nothing was built by NVIDIA's builder"
            )
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["pip does not say why"])[-1]
            pytest.skip(f"{PACKAGE} cannot be installed, so nothing was built by NVIDIA's builder: {said}")
        complete.write_text(time.strftime("%Y-%m-%d"))
    # After everything else: its folder must not stand before the packages of the tests.
    code = f"import runpy, sys; sys.path.append({str(folder)!r}); sys.argv = sys.argv[1:]; "
    return {"code": code + "runpy.run_path(sys.argv[0], run_name='__main__')"}


def build(rtx: dict[str, str], bundle: Path, *options: str) -> dict[str, Any]:
    """Return precision to the engine's size, or to what was refused."""
    command = [sys.executable, "-c", rtx["code"], str(SCRIPT), str(bundle), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line["precision"]: line.get("size_bytes", line.get("refused")) for line in lines}


@pytest.fixture(scope="module")
def exported(fusion, tmp_path_factory) -> Path:
    """A bundle as the exporter writes it, of the tiny depth + skeleton network."""
    # Imported here: the other tests need neither JAX nor the exporter.
    from rich.console import Console

    import export.exporter
    from export import onnx_graph, quantize
    from export.formats import BY_NAME, Options
    from export.steps import Steps

    folder = tmp_path_factory.mktemp("rtx") / "a"
    with pytest.MonkeyPatch.context() as patch:  # tracing is slow, and done already
        patch.setattr(onnx_graph, "trace", lambda *_: fusion.traced)
        patch.setattr(export.exporter, "reference", lambda *_: fusion.reference)
        patch.setattr(quantize, "_SMALLEST_WEIGHT", 1)  # the tiny LSTM's weights in int8 too
        options = Options(calibration_clips=10, calibrator="max")
        rows = [BY_NAME[name] for name in ("onnx-fp32", "onnx-fp16", "onnx-int8")]
        export.exporter.export(fusion.run, fusion.clips, folder, rows, options, Steps(Console(file=io.StringIO())))
    return folder


def test_an_exported_bundle_is_built_in_float_and_in_int8(rtx, exported):
    assert all(size > 10_000 for size in build(rtx, exported).values())
    assert set(build(rtx, exported, "--max_batch=4")) == {"fp16", "int8"}


def test_a_mean_in_the_fp16_model_keeps_its_factor(rtx, tmp_path):
    """It builds either way, so what the parser read is looked at: of a float16 Mean it makes a factor of 0."""
    model = make_model()
    model.graph.node[-1].output[0] = "one"
    model.graph.node.append(onnx.helper.make_node("Tanh", ["one"], ["other"]))
    model.graph.node.append(onnx.helper.make_node("Mean", ["one", "other"], ["logits"], name="members"))
    graph = ir.from_proto(model)
    convert(graph, stay_float(graph, {}))
    models = {"fp32": model, "fp16": ir.to_proto(graph)}
    folder = write_bundle(tmp_path / "a", top1={"fp32": 0.9, "fp16": 0.9}, models=models)
    assert build(rtx, folder, "--precision=fp16")["fp16"] > 10_000
    command = [sys.executable, "-c", rtx["code"], str(SCRIPT), str(folder), "--precision=fp16", "--constants=members"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert [json.loads(line)["values"] for line in done.stdout.splitlines()] == [[0.5]], done.stderr


def test_the_small_bundle_of_the_other_tests_is_built_too(rtx, tmp_path):
    folder = write_bundle(tmp_path / "a", top1={"fp32": 0.9, "int8": 0.9})
    sizes = build(rtx, folder)
    assert set(sizes) == {"fp32", "int8"} and all(isinstance(size, int) for size in sizes.values())


def test_a_zero_point_that_is_not_zero_is_refused(rtx, tmp_path):
    models = {"int8": make_model(qdq=True, zero_point=3)}
    folder = write_bundle(tmp_path / "a", top1={"fp32": 0.9, "int8": 0.9}, models=models)
    assert "Non-zero zero point" in build(rtx, folder, "--precision=int8")["int8"]


def test_an_unknown_operator_is_refused(rtx, tmp_path):
    model = make_model()
    model.graph.node[0].op_type = "Sorcery"
    folder = write_bundle(tmp_path / "a", top1={"fp32": 0.9}, models={"fp32": model})
    assert "cannot read" in build(rtx, folder)["fp32"]


def test_a_dynamic_input_without_a_profile_is_refused(rtx, tmp_path):
    folder = write_bundle(tmp_path / "a", top1={"fp32": 0.9})
    assert "no optimization profile" in build(rtx, folder, "--without_profiles")["fp32"]


def test_a_quantised_bias_is_refused(rtx, tmp_path):
    """This is why the exporter leaves biases in float: int32 is no type that TensorRT dequantises."""
    model = make_model(qdq=True)
    constants = {"b": np.zeros(3, np.int32), "b_scale": np.full(3, 0.1, np.float32), "b_zero": np.zeros(3, np.int32)}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    conv.input.append("bias")
    restore = onnx.helper.make_node(
        "DequantizeLinear", ["b", "b_scale", "b_zero"], ["bias"], name="bias_restore", axis=0
    )
    model.graph.node.insert(2, restore)
    folder = write_bundle(tmp_path / "a", top1={"fp32": 0.9, "int8": 0.9}, models={"int8": model})
    assert "Int32" in build(rtx, folder, "--precision=int8")["int8"]


def test_a_file_that_ends_early_is_refused(rtx, tmp_path):
    """Cut after planning: a plan already refuses such a file, which test_export_tensorrt_plan.py checks."""
    folder = write_bundle(tmp_path / "a", top1={"fp32": 0.9})
    assert "cannot read" in build(rtx, folder, "--cut")["fp32"]
