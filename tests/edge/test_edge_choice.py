"""Which engine and precision are taken: by name, by itself, and what is said about it."""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
from types import ModuleType

import pytest

from edge.bundle import read_bundle
from edge.engines import CPU, NVIDIA_GPU, EngineEntry, cuda
from edge.engines import choice as choosing
from edge.engines.choice import choose
from edge.errors import EdgeError


class Works:
    reason = None
    doubt = None

    @classmethod
    def lacks(cls, folder):
        return cls.reason

    @classmethod
    def doubts(cls, precision):
        return cls.doubt if precision == "int8" else None


@pytest.fixture
def engines(monkeypatch):
    """A function that replaces the table of engines; each is given as (name, precisions, by itself) and works."""

    def install(*rows, runs_on=CPU, model_file=None):
        entries, classes = [], {}
        for name, precisions, by_itself in rows:
            module = ModuleType(f"package_of_{name}")
            module.__spec__ = object()  # as find_spec wants of a module that is loaded
            module.Engine = classes[name] = type("Engine", (Works,), {})
            monkeypatch.setitem(sys.modules, module.__name__, module)
            entry = EngineEntry(
                name=name,
                runs_on=runs_on,
                package=module.__name__,
                install=f"pip install {name}",
                module=module.__name__,
                attribute="Engine",
                precisions=tuple(precisions.split()),
                by_itself=tuple(by_itself.split()),
                tolerance=0.0,
                note="",
                model_file=model_file,
            )
            entries.append(entry)
        monkeypatch.setattr(choosing, "ENGINES", tuple(entries))
        return classes

    return install


@pytest.fixture
def bundle(make_bundle, edit_bundle):
    """A function that returns a bundle of given precisions and accuracies."""

    def make(**top1):
        folder = make_bundle("skeleton", precisions=tuple(top1))

        def change(values):
            for name, value in top1.items():
                values["precisions"][name]["top1"] = value

        edit_bundle(folder, change)
        return read_bundle(folder)

    return make


def remove(monkeypatch, name):
    monkeypatch.setitem(sys.modules, f"package_of_{name}", None)
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda package: None if package == f"package_of_{name}" else real(package)
    )


# --- by itself -----------------------------------------------------------------------------------------


def test_the_first_engine_that_works_is_taken_and_the_others_are_accounted_for(engines, bundle, monkeypatch, caplog):
    classes = engines(("a", "fp32", "fp32"), ("b", "fp32", "fp32"), ("c", "fp32", "fp32"), ("d", "fp32", "fp32"))
    remove(monkeypatch, "a")
    classes["b"].reason = "no such device"
    with caplog.at_level(logging.INFO, "edge"):
        choice = choose(bundle(fp32=0.9))
    assert (choice.entry.name, choice.precision, choice.model_path.name) == ("c", "fp32", "model.fp32.onnx")
    passed = "a: the package package_of_a is not installed; b: no such device"
    said = f"engine c, precision fp32: the first that fits ({passed})"
    assert choice.why == said and caplog.messages == [said]


def test_an_engine_that_is_taken_by_name_only_is_passed_over(engines, bundle):
    engines(("a", "fp32", ""), ("b", "fp32", "fp32"))
    opened = bundle(fp32=0.9)
    assert choose(opened).entry.name == "b"
    assert choose(opened, "a").entry.name == "a"


@pytest.mark.parametrize(
    ("int8", "taken"),
    [
        (0.896, True),  # 0.4 points below
        (0.895, True),  # exactly the budget
        (0.894, False),
        (None, False),
    ],
)
@pytest.mark.parametrize("name", ["int8", "int8-openvino"])
def test_int8_is_taken_by_itself_if_it_was_measured_to_hold_the_budget(engines, bundle, name, int8, taken):
    engines(("a", f"{name} fp32", f"{name} fp32"))
    choice = choose(bundle(**{"fp32": 0.9, name: int8}))
    assert choice.precision == (name if taken else "fp32")
    assert ("loses" in choice.why) != taken


def test_the_budget_is_that_of_the_bundle(engines, bundle, edit_bundle):
    engines(("a", "int8 fp32", "int8 fp32"))
    opened = bundle(fp32=0.9, int8=0.88)
    assert choose(opened).precision == "fp32"
    edit_bundle(opened.path, lambda values: values.update(max_drop_points=2.5))
    assert choose(read_bundle(opened.path)).precision == "int8"


def test_half_precision_that_nobody_measured_is_taken(engines, bundle):
    engines(("a", "fp16 fp32", "fp16 fp32"))
    assert choose(bundle(fp32=None, fp16=None)).precision == "fp16"


def test_what_an_engine_computes_wrong_here_is_not_taken_by_itself(engines, bundle, caplog):
    classes = engines(("a", "int8", "int8"), ("b", "fp32", "fp32"))
    classes["a"].doubt = "sums overflow"
    opened = bundle(fp32=0.9, int8=0.9)
    assert choose(opened).entry.name == "b"
    assert "a: sums overflow" in choose(opened).why
    assert not caplog.records
    assert choose(opened, "a", "int8").entry.name == "a"
    assert caplog.messages == ["engine a, precision int8: sums overflow"]
    with pytest.raises(EdgeError, match="a: sums overflow"):
        choose(opened, precision="int8")


def test_the_only_precision_is_taken_whatever_it_is(engines, bundle):
    engines(("a", "fp32 int8", "fp32 int8"))
    assert choose(bundle(int8=None)).precision == "int8"


def test_a_named_precision_takes_the_first_engine_that_runs_it(engines, bundle):
    engines(("a", "fp32", "fp32"), ("b", "fp32 int8", "fp32 int8"))
    choice = choose(bundle(fp32=0.9, int8=None), precision="int8")
    assert (choice.entry.name, choice.precision) == ("b", "int8")


def test_without_any_engine_the_error_says_what_to_install(engines, bundle, monkeypatch):
    engines(("a", "fp32", "fp32"))
    remove(monkeypatch, "a")
    with pytest.raises(EdgeError, match=r"package_of_a is not installed(.|\n)*pip install onnxruntime.*doctor"):
        choose(bundle(fp32=0.9))


# --- by name ---------------------------------------------------------------------------------------------


def test_a_mistyped_engine_is_refused_with_the_nearest_name(bundle):
    with pytest.raises(EdgeError, match="did you mean 'openvino'"):
        choose(bundle(fp32=0.9), "openvno")


def test_a_missing_package_is_named_with_its_installation(engines, bundle, monkeypatch):
    engines(("a", "fp32", "fp32"))
    remove(monkeypatch, "a")
    with pytest.raises(EdgeError, match=r"package_of_a is not installed\n  To get it: pip install a"):
        choose(bundle(fp32=0.9), "a")


def test_a_missing_device_is_an_error_if_the_engine_was_named(engines, bundle):
    engines(("a", "fp32", "fp32"), ("b", "fp32", "fp32"))["a"].reason = "no such device"
    with pytest.raises(EdgeError, match="engine 'a' was asked for; no such device"):
        choose(bundle(fp32=0.9), "a")


def test_a_gpu_needs_a_driver(engines, bundle, monkeypatch):
    engines(("a", "fp32", "fp32"), runs_on=NVIDIA_GPU)
    opened = bundle(fp32=0.9)
    monkeypatch.setattr(cuda, "has_driver", lambda: False)
    with pytest.raises(EdgeError, match="no NVIDIA driver"):
        choose(opened, "a")
    monkeypatch.setattr(cuda, "has_driver", lambda: True)
    assert choose(opened, "a").entry.name == "a"


def test_the_engine_s_preferred_precision_is_taken_and_why_others_are_not(engines, bundle):
    engines(("a", "int8 fp16 fp32", ""))
    choice = choose(bundle(fp32=0.9, fp16=0.9, int8=0.8), "a")
    assert choice.precision == "fp16"
    assert "int8 loses 10.00 points" in choice.why


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("itn8", "'itn8' was given; auto or one of int8, fp32 is expected; did you mean 'int8'"),
        ("fp16", "'fp16' was given; auto or one of int8, fp32 is expected"),
        ("int4", "engine 'a' cannot run precision 'int4' of this bundle, which has fp32, int8, int4"),
    ],
)
def test_a_precision_that_cannot_be_had_is_refused(engines, bundle, given, message):
    engines(("a", "int8 fp32", ""))
    with pytest.raises(EdgeError, match=message):
        choose(bundle(fp32=0.9, int8=0.9, int4=0.9), "a", given)


def test_a_bundle_without_anything_that_the_engine_runs_is_refused(engines, bundle):
    engines(("a", "fp32", ""))
    with pytest.raises(EdgeError, match="engine 'a' runs nothing of this bundle, which has int4"):
        choose(bundle(int4=0.9), "a")


def test_a_mistyped_precision_is_refused_whichever_engine(bundle):
    with pytest.raises(EdgeError, match="did you mean 'fp32'"):
        choose(bundle(fp32=0.9), precision="fp23")


# --- an engine with a file of its own ----------------------------------------------------------------------


def test_an_engine_with_a_file_of_its_own_runs_the_precision_of_its_record(engines, bundle):
    engines(("a", "int8 fp16 fp32", "int8 fp16 fp32"), model_file="engine")
    opened = bundle(fp32=0.9)
    with pytest.raises(EdgeError, match="no engine that works here runs this bundle"):
        choose(opened)
    (opened.path / "engine").write_bytes(b"x")
    (opened.path / "engine.json").write_text(json.dumps({"precision": "fp16"}))
    choice = choose(opened)
    assert (choice.precision, choice.model_path.name) == ("fp16", "engine")
    with pytest.raises(EdgeError, match="'int8' was given; auto or one of fp16 is expected"):
        choose(opened, "a", "int8")


def test_an_engine_without_a_record_is_as_good_as_none(make_bundle):
    """As `trtexec` leaves it, or an export that was killed between the two files."""
    folder = make_bundle("rgb")
    (folder / "engine").write_bytes(b"x")
    assert choose(read_bundle(folder), precision="int8").entry.name != "tensorrt"
