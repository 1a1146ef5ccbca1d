"""Ending a training properly when Ctrl-C, a scheduler or the preemption of a machine asks for it."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Remembers the first SIGINT or SIGTERM after `listen`; a second one acts as if this were not there.

    Attributes:
      made: whether one has come.
    """

    def __init__(self) -> None:
        self.made = False
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
        self.made = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
