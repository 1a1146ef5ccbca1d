"""What a person sees while an export runs: each step with its time, what it wrote and what was checked."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.status import Status
from rich.table import Table

from export.bundle import Export
from export.model_card import percent

T = TypeVar("T")


class Note:
    """What a step has to say when it is done."""

    text = ""


class Steps:
    """Prints to a console; spins while a step is under way."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self._status: Status | None = None
        self._name = ""
        self._ticks = 0

    @contextmanager
    def step(self, name: str) -> Iterator[Note]:
        """Show a step while it runs, and its time and note afterwards."""
        note, started = Note(), time.perf_counter()
        self._name, self._ticks = name, 0
        with self.console.status(name) as self._status:
            yield note
        seconds = time.perf_counter() - started
        self.say(f"{seconds:6.1f} s  {name}: {note.text}")

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def each(self, items: Iterable[T], count: int) -> Iterator[T]:
        """Yield items, counted in the display of the step that is under way."""
        for number, item in enumerate(items, start=1):
            if self._status is not None:
                self._status.update(f"{self._name}: clip {number} of {count}")
            yield item

    def tick(self) -> None:
        """Count that a model has seen a clip, in the display of the step that is under way."""
        self._ticks += 1
        if self._status is not None:
            self._status.update(f"{self._name}: {self._ticks} clips through a model")

    def table(self, title: str, exports: Sequence[Export]) -> None:
        """Print the formats of a bundle. McNemar: clips gained and lost against float32, and how likely by chance."""
        found = exports[0].accuracy  # all were measured on the same
        tested = f"top-1 of {found.clips} clips of the {found.split} side" if found.clips else "no test side, no top-1"
        table = Table(title=f"{title}: {tested}")
        numbers = ("size", "made in", "top-1")
        for column in ("format", "file", *numbers, "McNemar"):
            table.add_column(column, justify="right" if column in numbers else "left", no_wrap=True)
        for entry in exports:
            size, seconds = f"{entry.size_bytes / 1e6:.2f} MB", f"{entry.seconds:.1f} s"
            test = "" if entry.mcnemar is None else str(entry.mcnemar)
            table.add_row(entry.format.name, entry.format.file, size, seconds, percent(entry.accuracy), test)
        self.console.print(table)
