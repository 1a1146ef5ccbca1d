"""Picking an engine and a precision, and what an engine does with a file it cannot read."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from edge.engines import ENGINES, EngineEntry, load_engine, pick_engine, pick_precision
from edge.errors import EdgeError

ORT = ENGINES[0]


def test_auto_takes_an_installed_engine():
    assert pick_engine("auto").name == "onnxruntime"


def test_a_mistyped_engine_is_refused_with_the_nearest_name():
    with pytest.raises(EdgeError, match="did you mean 'onnxruntime'"):
        pick_engine("onnxrutime")


@pytest.mark.parametrize("name", ["auto", "onnxruntime"])
def test_a_missing_package_is_named_with_its_installation(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EdgeError, match="pip install onnxruntime"):
        pick_engine(name)


def test_a_broken_package_is_told_apart_from_a_missing_one(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "edge.engines.onnxruntime", raising=False)
    with pytest.raises(EdgeError, match="cannot be imported"):
        load_engine(ORT, tmp_path / "model.onnx")


def entry(*precisions: str) -> EngineEntry:
    return EngineEntry("x", "x", "x", "x", "X", precisions)


def test_auto_takes_the_engine_s_first_precision_that_the_bundle_has():
    assert pick_precision(entry("fp16", "int8", "fp32"), ["fp32", "int8"], "auto") == "int8"


def test_a_precision_of_the_bundle_is_taken_by_name():
    assert pick_precision(entry("fp32", "int8"), ["fp32", "int8"], "int8") == "int8"


def test_a_mistyped_precision_is_refused_with_the_nearest_one():
    with pytest.raises(EdgeError, match="did you mean 'int8'"):
        pick_precision(entry("fp32", "int8"), ["fp32", "int8"], "itn8")


def test_a_precision_that_the_bundle_lacks_is_refused():
    with pytest.raises(EdgeError, match="'int8' was given; auto or one of fp32 is expected"):
        pick_precision(entry("fp32", "int8"), ["fp32"], "int8")


@pytest.mark.parametrize("name", ["auto", "int4"])
def test_a_precision_that_the_engine_cannot_run_is_refused(name):
    with pytest.raises(EdgeError, match="engine 'x' cannot run precision"):
        pick_precision(entry("fp32"), ["int4"], name)


def test_a_file_that_is_no_model_is_refused_with_its_name(tmp_path, capfd):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(EdgeError, match=r"cannot load .*model\.onnx"):
        load_engine(ORT, path)
    assert capfd.readouterr().err == ""


def test_inputs_of_another_shape_are_refused(make_bundle, capfd):
    engine = load_engine(ORT, make_bundle("skeleton") / "model.fp32.onnx")
    with pytest.raises(EdgeError, match="cannot run"):
        engine.run({"skeleton": np.zeros((1, 5, 75), np.float32)})
    assert capfd.readouterr().err == ""


def test_threads_do_not_change_the_result(make_bundle):
    path = make_bundle("skeleton") / "model.fp32.onnx"
    inputs = {"skeleton": np.random.default_rng(0).normal(size=(3, 6, 75)).astype(np.float32)}
    results = [load_engine(ORT, path, threads).run(inputs) for threads in (None, 1, 2)]
    assert results[0].shape == (3, 6)
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5)
    np.testing.assert_allclose(results[2], results[0], rtol=1e-5)


def test_no_thread_at_all_is_refused(make_bundle):
    with pytest.raises(EdgeError, match="threads=0"):
        load_engine(ORT, make_bundle("skeleton") / "model.fp32.onnx", threads=0)
