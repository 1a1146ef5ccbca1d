"""Ending a training properly when Ctrl-C, a scheduler or the preemption of a machine asks for it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SAME_S = 1.0  # Ctrl-C reaches all processes of a terminal, and a sweep passes it on to its runs: twice the same


class Stopped(KeyboardInterrupt):
    """A training that was asked to end has kept its step. Nothing compiles: Python may end in its own way."""


class StopRequest:
    """Remembers that SIGINT or SIGTERM came.

    After `listen` that is all. Before it, and where one comes later again, a signal acts as if this were not there as
    well: what it raises may be lost while XLA compiles, that it came is not.

    Attributes:
      made: whether one has come.
    """

    def __init__(self) -> None:
        self.made = False
        self._made_s = 0.0
        self._before: dict[int, Any] = {}

    def listen(self) -> None:
        """Keep the signals from acting from here on, in the main thread."""
        self._take(self._handle)

    def __enter__(self) -> StopRequest:
        self._take(self._pass_on)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _take(self, handler: Callable[[int, FrameType | None], None]) -> None:
        self._restore()
        self._before = {number: signal.signal(number, handler) for number in _SIGNALS}

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self.made, self._made_s = True, time.monotonic()
        self._restore()
        signal.raise_signal(number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if not self.made:
            self.made, self._made_s = True, now_s
        elif now_s - self._made_s > _SAME_S:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
