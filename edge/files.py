"""Files that are there as a whole or not at all, and what is said where one cannot be written."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager, suppress
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


def unfinished(path: Path, suffix: str) -> Path:
    """Return the hidden name that a file has beside its own until it is whole; what a killed process left is removed.

    Args:
      path: what it will be called, or the beginning of that.
      suffix: the end of the hidden name.
    """
    own = re.compile(re.escape(f".{path.name}.") + r"([0-9]+)" + re.escape(suffix))
    try:
        names = os.listdir(str(path.parent))
    except OSError:  # the folder is not there, or may not be listed: what is written will say so
        names = []
    for name, found in ((name, own.fullmatch(name)) for name in names):
        if found and not _lives(int(found.group(1))):
            with suppress(OSError):  # of another user, or another run was faster
                (path.parent / name).unlink()
    return path.with_name(f".{path.name}.{os.getpid()}{suffix}")


def _lives(pid: int) -> bool:
    """Return whether there is a process of that number, or this system does not say."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # somebody else's; no number of a process
        return True
    return True


def replace_text(path: Path, text: str) -> None:
    """Write a text file; whoever reads finds the old one or the whole new one.

    Raises:
      OSError: if it cannot be written; the old one is still there then.
    """
    if str(path).startswith(("/dev/", "/proc/")) or (path.exists() and not path.is_file()):  # /dev/stdout, a pipe
        path.write_text(text, encoding="utf-8")
        return
    path = path.resolve()  # where it is a link, what it leads to is replaced
    temporary = unfinished(path, ".tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(str(temporary), str(path))
    finally:
        if temporary.exists():
            temporary.unlink()
