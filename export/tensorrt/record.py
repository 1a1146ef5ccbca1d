"""Writing an engine and the JSON beside it, which `edge.engines.engine_record` compares with the device."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Dict

from edge.engines.engine_record import ENGINE_FILE, FORMAT_VERSION, RECORD_FILE
from edge.errors import EdgeError

TIMING_CACHE_FILE = "timing.cache"


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
