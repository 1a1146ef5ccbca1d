"""edge stands alone, and is quick to import."""

from __future__ import annotations

import importlib.util
import json
import pkgutil
import sys
from pathlib import Path

import pytest

import edge
from edge.engines import ENGINES

FOREIGN = ("jax", "jaxlib", "flax", "hartx", "export", "datasets", "configs", "tensorflow", "scipy")
# Modules whose package is not installed cannot be imported.
LACKING = {entry.module for entry in ENGINES if importlib.util.find_spec(entry.package) is None}
if importlib.util.find_spec("fastapi") is None:
    LACKING.add("edge.service")
MODULES = [module.name for module in pkgutil.walk_packages(edge.__path__, "edge.") if module.name not in LACKING]


def loaded_by(run_python, statement: str) -> set:
    """Return the names of the top-level modules that a statement loads in a fresh Python."""
    done = run_python("-c", f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))")
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in json.loads(done.stdout)}


def test_all_modules_are_found():
    assert {"edge.recognizer", "edge.bench", "edge.engines.onnxruntime"} <= set(MODULES)


def test_no_module_pulls_in_what_the_device_does_not_have(run_python):
    loaded = loaded_by(run_python, f"import {', '.join(MODULES)}")
    assert "onnxruntime" in loaded  # or the list of modules is wrong
    assert loaded.isdisjoint(FOREIGN)


@pytest.mark.parametrize(
    "module", ["edge", "edge.errors", "edge.joints", "edge.sampling", "edge.preprocess", "edge.streaming"]
)
def test_training_does_not_load_an_engine(run_python, module):
    assert "onnxruntime" not in loaded_by(run_python, f"import {module}")


def test_the_table_of_engines_and_the_doctor_need_nothing_installed(run_python):
    loaded = loaded_by(run_python, "import edge.engines, edge.engines.cuda, edge.engines.processor")
    assert loaded.isdisjoint({"numpy", "cv2", "onnxruntime", "openvino", "tensorrt"})


def test_importing_edge_alone_loads_no_library(run_python):
    """This is what keeps it quick: the recogniser is looked up on first use."""
    assert loaded_by(run_python, "import edge").isdisjoint({"numpy", "cv2", "onnxruntime"})


@pytest.mark.parametrize("name", edge.__all__)
def test_what_edge_exports_is_there(name):
    assert getattr(edge, name).__name__ == name


def test_a_name_that_edge_lacks_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'Recogniser'"):
        edge.Recogniser  # noqa: B018


@pytest.mark.skipif(sys.version_info < (3, 10), reason="sys.stdlib_module_names is of Python 3.10")
def test_no_file_of_edge_stands_before_a_standard_module():
    """`python edge/bench.py` starts with edge/ first on the path."""
    assert {path.stem for path in Path(edge.__path__[0]).iterdir()}.isdisjoint(sys.stdlib_module_names)


def test_bench_by_its_path_takes_edge_off_the_path(run_python):
    script = Path(edge.__path__[0]) / "bench.py"
    code = f"import runpy, sys; sys.path.insert(0, {str(script.parent)!r}); "
    code += f"runpy.run_path({str(script)!r}, run_name='x'); print(*sys.path[:2], sep='\\n')"
    done = run_python("-c", code, on_path=False)
    first, second = done.stdout.splitlines()
    assert first == str(script.parents[1]) and second != str(script.parent)
