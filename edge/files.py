"""Files that are there as a whole or not at all, and what is said where one cannot be written."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Union

from edge.errors import EdgeError


@contextmanager
def written(path: Union[str, Path]) -> Iterator[None]:
    """Turn what writing to a file may end in into an `EdgeError`; a reader who has gone stays a `BrokenPipeError`."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise EdgeError(f"{path} cannot be written: {error.strerror}") from None


def replace_text(path: Path, text: str) -> None:
    """Write a text file; whoever reads finds the old one or the whole new one.

    Raises:
      OSError: if it cannot be written; the old one is still there then.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(str(temporary), str(path))
    finally:
        if temporary.exists():
            temporary.unlink()
