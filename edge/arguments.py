"""What commands make of their command line: flags in either spelling, and values that are checked as they are read."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, List, Optional, Sequence, Tuple


class CommandParser(argparse.ArgumentParser):
    """A parser to which `--dry_run` and `--dry-run` are the same flag; help shows the one that was added."""

    def parse_known_args(self, args: Optional[Sequence[str]] = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Do what argparse does, which calls this from `parse_args`."""
        return super().parse_known_args(self._as_added(args), namespace)

    def parse_known_intermixed_args(self, args: Optional[Sequence[str]] = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Do what argparse does, which calls this from `parse_intermixed_args`."""
        return super().parse_known_intermixed_args(self._as_added(args), namespace)

    def _as_added(self, args: Optional[Sequence[str]]) -> List[str]:
        """Return arguments with their flags, or the beginnings of flags, as they were added."""
        args = list(sys.argv[1:] if args is None else args)
        end = args.index("--") if "--" in args else len(args)
        return [self._flag_as_added(arg) for arg in args[:end]] + args[end:]

    def _flag_as_added(self, arg: str) -> str:
        flag, equals, value = arg.partition("=")
        if flag.startswith("--"):
            for added in self._option_string_actions:
                if added.replace("_", "-").startswith(flag.replace("_", "-")):
                    return added[: len(flag)] + equals + value
        return arg


def positive_int(text: str) -> int:
    """Return a value as a whole number of at least 1 (like all below, for `type=` of argparse)."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} was given; a whole number from 1 is expected")
    return int(text)


def positive_float(text: str) -> float:
    """Return a value as a number above 0."""
    value = _number(text)
    if value is None or not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} was given; a number above 0 is expected")
    return value


def points(text: str) -> float:
    """Return a value as percentage points."""
    value = _number(text)
    if value is None or not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} was given; points from 0 to 100 are expected")
    return value


def some_name(text: str) -> str:
    """Return a value that names a file, a folder or a source."""
    if not text:
        raise argparse.ArgumentTypeError("an empty name was given; is a variable of the shell not set?")
    return text


def some_path(text: str) -> Path:
    """Return a value that names a file or a folder."""
    return Path(some_name(text))


def _number(text: str) -> Optional[float]:
    try:
        return float(text)
    except ValueError:
        return None


def cpu_list(text: str) -> Tuple[int, ...]:
    """Return a value like "0-3,6" as numbers of CPUs."""
    numbers: List[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            raise argparse.ArgumentTypeError(f"{text!r} was given; CPUs like 0-3,6 are expected")
        numbers += range(int(first), int(last or first) + 1)
    return tuple(numbers)
