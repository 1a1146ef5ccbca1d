"""Ending a training properly when Ctrl-C, a scheduler or the preemption of a machine asks for it."""

from __future__ import annotations

import signal
import time
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SAME_S = 1.0  # Ctrl-C reaches all processes of a terminal, and a sweep passes it on to its runs: twice the same


class Stopped(KeyboardInterrupt):
    """A training that was asked to end has kept its step. Nothing compiles: Python may end in its own way."""


class StopRequest:
    """Remembers that SIGINT or SIGTERM came after `listen`; one that comes later again acts as if this were not there.

    Attributes:
      made: whether one has come.
    """

    def __init__(self) -> None:
        self.made = False
        self._made_s = 0.0
        self._before: dict[int, Any] = {}

    def listen(self) -> None:
        """Take the signals from here on, in the main thread."""
        self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}

    def __enter__(self) -> StopRequest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

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
