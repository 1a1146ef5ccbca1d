"""The JSON beside an engine, and whether an engine may be loaded where we are.

An engine is a program for one GPU and one TensorRT release. TensorRT itself notices some mismatches and crashes on
others, so everything is compared before it sees the file.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Dict

from edge.bundle import Bundle, sha256_of
from edge.errors import EdgeError
from export.tensorrt.cuda import Gpu

ENGINE_FILE = "engine"
RECORD_FILE = "engine.json"
TIMING_CACHE_FILE = "timing.cache"
FORMAT_VERSION = 1


def write_file(path: Path, content: bytes) -> None:
    """Write a file: all of it, or nothing and what was there stays.

    Raises:
      EdgeError: if the disk is full or the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.tmp")
    try:
        with open(str(partial), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # some file systems only then say that they are full
        os.replace(str(partial), str(path))
    except OSError as error:
        if partial.exists():
            partial.unlink()
        kept = "the one that was there is unchanged" if path.exists() else "nothing was left behind"
        raise EdgeError(
            f"{path} cannot be written: {error.strerror or error}; {kept}\n"
            f"  {len(content):,} bytes are needed, and the right to write into {path.parent}"
        ) from error


def write_engine(folder: Path, engine: bytes, record: Dict[str, Any]) -> None:
    """Write an engine and its record.

    The record says what the engine's hash is and is written last, so that an engine of which the record was not
    written is refused.

    Args:
      folder: the bundle's folder.
      engine: the serialised engine.
      record: what is to be known about it, JSON values.

    Raises:
      EdgeError: if it cannot be written.
    """
    facts = {"sha256": hashlib.sha256(engine).hexdigest(), "size_bytes": len(engine)}
    write_file(folder / ENGINE_FILE, engine)
    values = {"format_version": FORMAT_VERSION, "engine": facts, **record}
    write_file(folder / RECORD_FILE, (json.dumps(values, indent=1) + "\n").encode())


def read_record(bundle: Bundle, tensorrt_version: str, gpu: Gpu) -> Dict[str, Any]:
    """Return the record of a bundle's engine if this device may load the engine.

    Args:
      bundle: the bundle.
      tensorrt_version: of the device.
      gpu: of the device.

    Raises:
      EdgeError: if the engine is damaged or was built by another release, for another GPU, from other files.
    """
    path, where = bundle.path / ENGINE_FILE, bundle.path / RECORD_FILE
    again = f"Build it here: python -m export.tensorrt --bundle={bundle.path}"
    record = _read_json(path, where, again)
    try:
        facts, source, built_for = record["engine"], record["source"], record["gpu"]
        expected = {
            "format version": (record["format_version"], FORMAT_VERSION),
            "size in bytes": (facts["size_bytes"], path.stat().st_size),
            "sha256": (facts["sha256"], sha256_of(path)),
            "TensorRT version": (record["tensorrt_version"], tensorrt_version),
            "GPU": (built_for["name"], gpu.name),
            "compute capability": (built_for["compute_capability"], gpu.compute_capability),
        }
        model = bundle.path / source["file"]
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


def _read_json(path: Path, where: Path, again: str) -> Dict[str, Any]:
    for file in (path, where):
        if not file.is_file():
            raise EdgeError(f"there is no {file}\n  {again}")
    try:
        record = json.loads(where.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EdgeError(f"{where} cannot be read as JSON: {error}\n  {again}") from None
    if not isinstance(record, dict):
        raise EdgeError(f"{where} is {record!r}; an object is expected\n  {again}")
    return record
