"""Files that are there as a whole or not at all, and what is said where one cannot be written."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Optional, Sequence, Union

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


def check_not_read(outputs: Sequence[Optional[Path]], inputs: Sequence[Optional[str]]) -> None:
    """Refuse to write over what is read. None is a file that was not given; inputs may be no files at all (a camera).

    Raises:
      EdgeError: if one of the outputs is one of the inputs, by whatever path.
    """
    for given in filter(None, inputs):
        for path in filter(None, outputs):
            if os.path.exists(given) and os.path.exists(str(path)) and os.path.samefile(given, str(path)):
                raise EdgeError(f"{path} would be written over {given}, which is read; give another name or folder")


def replace_text(path: Path, text: str) -> None:
    """Write a text file; whoever reads finds the old one or the whole new one.

    Raises:
      OSError: if it cannot be written; the old one is still there then.
    """
    if str(path).startswith(("/dev/", "/proc/")) or (path.exists() and not path.is_file()):  # /dev/stdout, a pipe
        path.write_text(text, encoding="utf-8")
        return
    path = path.resolve()  # where it is a link, what it leads to is replaced
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(str(temporary), str(path))
    finally:
        if temporary.exists():
            temporary.unlink()
