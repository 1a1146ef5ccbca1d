"""Which names of TensorRT our code uses, and the distilled copy of the listing that says which release has them.

The listing has, for each release, every public name of every class of NVIDIA's Python module; it is a quarter of a
megabyte, so only what we use is kept in tensorrt_api.json. After using another name, distil again:

    python tests/export/tensorrt_names.py LISTING.json
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

API_FILE = Path(__file__).with_name("tensorrt_api.json")
_CODE = Path(__file__).parents[2]
_FILES = ("export/tensorrt/builder.py", "export/tensorrt/calibration.py", "edge/engines/tensorrt.py")

MODULE = "module"

# What our code calls a thing, to the class it is of.
_VARIABLES = {
    "trt": MODULE,
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "error": "ParserError",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "cache": "ITimingCache",
    "serialized": "IHostMemory",
    "_runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
}

# Flags come out of plans, as strings; types are compared by name.
_BY_STRING = {
    "NetworkDefinitionCreationFlag": {"EXPLICIT_BATCH", "STRONGLY_TYPED"},
    "BuilderFlag": {"FP16", "INT8"},
    "DataType": {"FLOAT", "HALF", "name"},
}
# What a calibrator of ours overrides.
_OVERRIDDEN = {
    "IInt8EntropyCalibrator2": {"get_batch_size", "get_batch", "read_calibration_cache", "write_calibration_cache"},
    "ILogger": {"log"},
}


def used_names() -> dict[str, set[str]]:
    """Return class to the names of it that our code uses; `MODULE` for the module itself."""
    used: dict[str, set[str]] = {MODULE: set()}
    for names in (_BY_STRING, _OVERRIDDEN):
        for owner, found in names.items():
            used.setdefault(owner, set()).update(found)
    for file in _FILES:
        for node in ast.walk(ast.parse((_CODE / file).read_text())):
            if isinstance(node, ast.Attribute) and (owner := _owner(node.value)):
                used.setdefault(owner, set()).add(node.attr)
    return {owner: {name for name in names if not name.startswith("__")} for owner, names in used.items()}


def _owner(value: ast.expr) -> str | None:
    """Return the class of what an attribute is taken of, if it is one of TensorRT's."""
    if isinstance(value, ast.Name):
        return _VARIABLES.get(value.id)
    if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name):
        if value.value.id == "trt":
            return value.attr
        if value.value.id == "self":
            return _VARIABLES.get(value.attr)
    return None


def read_api() -> dict[str, dict[str, list[str]]]:
    """Return release to class to the names that it has, of those we use."""
    return json.loads(API_FILE.read_text())


def distil(listing: dict[str, dict[str, list[str]]]) -> dict[str, dict[str, list[str]]]:
    """Return a listing with nothing in it but the names that we use."""
    used = used_names()
    distilled = {}
    for release, classes in listing.items():
        classes = {**classes, MODULE: list(classes)}
        kept = {owner: sorted(names & set(classes[owner])) for owner, names in used.items() if owner in classes}
        distilled[release] = {owner: kept[owner] for owner in sorted(kept)}
    return {release: distilled[release] for release in sorted(distilled)}


if __name__ == "__main__":
    API_FILE.write_text(json.dumps(distil(json.loads(Path(sys.argv[1]).read_text())), indent=1) + "\n")
