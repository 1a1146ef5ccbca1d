"""Writing an engine and the JSON beside it, which `edge.engines.engine_record` compares with the device."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Dict, Mapping

from edge.engines.engine_record import ENGINE_FILE, FORMAT_VERSION, RECORD_FILE
from edge.errors import EdgeError

TIMING_CACHE_FILE = "timing.cache"


def write_file(path: Path, content: bytes) -> None:
    """Write a file: all of it, or nothing and what was there stays.

    Raises:
      EdgeError: if the disk is full or the folder cannot be written.
    """
    write_files({path: content})


def write_files(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together: all of them, or none and what was there stays.

    Raises:
      EdgeError: if the disk is full or the folder cannot be written.
    """
    partial = {path: path.with_name(f".{path.name}.tmp") for path in contents}
    try:
        for path, content in contents.items():
            with open(str(partial[path]), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # some file systems only then say that they are full
        for path in contents:
            os.replace(str(partial[path]), str(path))
    except OSError as error:
        kept = "the one that was there is unchanged" if path.exists() else "nothing was left behind"
        raise EdgeError(
            f"{path} cannot be written: {error.strerror or error}; {kept}\n"
            f"  {sum(map(len, contents.values())):,} bytes are needed, and the right to write into {path.parent}"
        ) from error
    finally:
        for file_left in partial.values():
            if file_left.exists():
                file_left.unlink()


def write_engine(folder: Path, engine: bytes, record: Dict[str, Any]) -> None:
    """Write an engine and its record.

    The record says what the engine's hash is, so that one without the other is refused.

    Args:
      folder: the bundle's folder.
      engine: the serialised engine.
      record: what is to be known about it, JSON values.

    Raises:
      EdgeError: if it cannot be written.
    """
    facts = {"sha256": hashlib.sha256(engine).hexdigest(), "size_bytes": len(engine)}
    values = {"format_version": FORMAT_VERSION, "engine": facts, **record}
    text = (json.dumps(values, indent=1) + "\n").encode()
    write_files({folder / ENGINE_FILE: engine, folder / RECORD_FILE: text})
