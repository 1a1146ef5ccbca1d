"""The table of formats: what a user types, what is refused, what the documents say."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export import formats
from export.__main__ import main
from export.errors import ExportError
from export.formats import BY_NAME, FORMATS, Options, Tolerance, check_options, parse

NAMES = [row.name for row in FORMATS]


@given(others=st.lists(st.sampled_from(NAMES), max_size=6), order=st.randoms(use_true_random=False))
def test_a_list_is_read_in_the_order_of_the_table_each_name_once(others, order):
    names = [formats.BASE, "onnx-int8", *others]  # what others are made from
    order.shuffle(names)
    found = [row.name for row in parse(",".join(names))]
    assert found == [name for name in NAMES if name in names]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("onnx-fp32,onnx_int8", "did you mean 'onnx-int8'"),
        ("onnx-fp32,stablehl0", "did you mean 'stablehlo'"),
        ("fp32", "any of onnx-fp32, onnx-fp16"),
        ("", "format '' was given"),
        ("onnx-fp16,stablehlo", "onnx-fp32 must be among the formats: onnx-fp16 is made from it"),
        ("onnx-fp32,openvino-int8", "onnx-int8 must be among the formats: openvino-int8 is made from it"),
    ],
)
def test_wrong_names_are_refused(text, message):
    with pytest.raises(ExportError, match=message):
        parse(text)


def test_an_option_that_no_chosen_format_honours_is_refused_with_those_that_do():
    with pytest.raises(ExportError, match=r"--calibration_clips .* onnx-fp32 cannot honour; onnx-fp16, onnx-int8, "):
        check_options(parse("onnx-fp32"), Options(calibration_clips=5))
    with pytest.raises(ExportError, match=r"--opset .* stablehlo cannot honour; onnx-fp32"):
        check_options([BY_NAME["stablehlo"]], Options(opset=13))


@given(
    names=st.lists(st.sampled_from(NAMES), min_size=1),
    name=st.sampled_from([field.name for field in dataclasses.fields(Options)]),
)
def test_an_option_is_refused_exactly_where_nobody_honours_it(names, name):
    options = dataclasses.replace(Options(), **{name: {"softmax": True, "batch": 3}.get(name, 18)})
    rows = [BY_NAME[chosen] for chosen in names]
    if any(name in row.options for row in rows):
        check_options(rows, options)
    else:
        with pytest.raises(ExportError, match=f"--{name} was given"):
            check_options(rows, options)
    check_options(rows, Options())


def test_rows_are_distinct_their_options_exist_and_their_makers_too():
    assert len({row.file for row in FORMATS}) == len(FORMATS) == len(BY_NAME)
    options = {field.name for field in dataclasses.fields(Options)}
    for row in FORMATS:
        assert row.options <= options
        assert callable(row.load_maker())


def test_tolerance_grows_with_the_outputs():
    assert Tolerance(absolute=0.5, relative=0.1).allowed(10) == pytest.approx(1.5)


def test_the_document_has_the_table(repository):
    assert formats.as_markdown() in (repository / "docs/export.md").read_text()


def test_help_tells_every_format_and_imports_nothing_heavy(repository):
    script = (
        "import sys, runpy\n"
        "sys.argv = ['export', '--help']\n"
        "try:\n    runpy.run_module('export', run_name='__main__')\n"
        "except SystemExit as stopped:\n    assert stopped.code == 0\n"
        "print({'jax', 'onnx', 'onnxruntime', 'flax', 'grain'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=repository, capture_output=True, text=True)
    assert done.stdout.rstrip().endswith("set()"), done.stdout + done.stderr
    for row in FORMATS:
        assert row.name in done.stdout and row.file in done.stdout


def test_what_a_format_is_made_with_is_missed_before_anything_is_made(monkeypatch, capsys, tmp_path):
    """Not after tracing and calibration: the run is not even looked for."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else found(name))
    formats = "--formats=onnx-fp32,onnx-int8,openvino-int8"
    assert main([f"--workdir={tmp_path / 'none'}", f"--bundle={tmp_path / 'b'}", formats]) == 1
    assert "pip install -r edge/requirements-openvino.txt" in capsys.readouterr().err
    assert main([f"--workdir={tmp_path / 'none'}", f"--bundle={tmp_path / 'b'}", "--formats=onnx-fp32"]) == 1
    assert "openvino" not in capsys.readouterr().err
