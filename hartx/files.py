"""Files that are there as a whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file that takes the place of `path` at the end: no reader ever sees half of it.

    It has the suffix of `path`, by which some writers choose the format. If writing fails, what was there stays.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file; whoever reads finds the old one or the whole new one."""
    with whole(path) as temporary:
        temporary.write_text(text)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON; whoever reads finds the old one or the whole new one."""
    write_text(path, json.dumps(value, indent=1) + "\n")
