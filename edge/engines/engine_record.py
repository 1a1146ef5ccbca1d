"""The JSON beside a TensorRT engine, and whether the engine may be loaded where we are.

An engine is a program for one GPU and one TensorRT release. TensorRT itself notices some mismatches and crashes on
others, so everything is compared before it sees the file. `export.tensorrt` writes both files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict

from edge.bundle import sha256_of
from edge.engines.cuda import Gpu
from edge.errors import EdgeError

ENGINE_FILE = "engine"
RECORD_FILE = "engine.json"
FORMAT_VERSION = 2


def read_record(folder: Path, tensorrt_version: str, gpu: Gpu) -> Dict[str, Any]:
    """Return the record of a bundle's engine if this device may load the engine.

    Args:
      folder: the bundle's folder.
      tensorrt_version: of the device.
      gpu: of the device.

    Raises:
      EdgeError: if the engine is damaged or was built by another release, for another GPU, from other files.
    """
    path, where = folder / ENGINE_FILE, folder / RECORD_FILE
    again = _again(folder)
    record = read_unchecked(folder)
    try:
        facts, source, built_for = record["engine"], record["source"], record["gpu"]
        expected = {
            "format version": (record["format_version"], FORMAT_VERSION),
            "size in bytes": (facts["size_bytes"], path.stat().st_size),
            "sha256": (facts["sha256"], sha256_of(path)),
            "TensorRT version": (record["tensorrt_version"], tensorrt_version),
            "GPU": (built_for["name"], gpu.name),
            "compute capability": (built_for["compute_capability"], gpu.compute_capability),
            "number of multiprocessors": (built_for["multiprocessors"], gpu.multiprocessors),
        }
        model = folder / source["file"]
        expected[f"sha256 of {source['file']}"] = (source["sha256"], sha256_of(model) if model.is_file() else "no file")
    except (KeyError, TypeError) as error:
        raise EdgeError(f"{where} lacks the field {error}\n  {again}") from None
    for name, (recorded, found) in expected.items():
        if recorded != found:
            raise EdgeError(
                f"{path} is not for this device and bundle: {name}\n"
                f"  the engine's record says {recorded}, here it is {found}\n"
                f"  {again}"
            )
    return record


def read_unchecked(folder: Path) -> Dict[str, Any]:
    """Return the record of a bundle's engine as it stands there, whatever this device is.

    Raises:
      EdgeError: if there is no engine or no record, or the record is no JSON object.
    """
    where = folder / RECORD_FILE
    for file in (folder / ENGINE_FILE, where):
        if not file.is_file():
            raise EdgeError(f"there is no {file}\n  {_again(folder)}")
    try:
        record = json.loads(where.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EdgeError(f"{where} cannot be read as JSON: {error}\n  {_again(folder)}") from None
    if not isinstance(record, dict):
        raise EdgeError(f"{where} is {record!r}; an object is expected\n  {_again(folder)}")
    return record


def _again(folder: Path) -> str:
    return f"Build it here: python -m export.tensorrt --bundle={folder}"
