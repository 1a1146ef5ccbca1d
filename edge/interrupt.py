"""Ending properly when somebody asks for it."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import Any, Iterator, Optional

# What a terminal that is closed sends; Windows does not have it.
_HANGUP = getattr(signal, "SIGHUP", None)
_SIGNALS = [number for number in (signal.SIGINT, signal.SIGTERM, _HANGUP) if number is not None]


class Stopped(BaseException):
    """What a request to stop breaks off with; no `Exception`, which readers of files take for a damaged one."""


class StopRequest(threading.Event):
    """Set by SIGINT, SIGTERM or SIGHUP.

    Attributes:
      signal: the number of the signal that came; None if none did.
    """

    signal: Optional[int] = None
    _breaks_off = False

    @contextmanager
    def breaking_off(self) -> Iterator[None]:
        """Let a signal break off what is done here, which must leave nothing half done: only reading and computing.

        Raises:
          Stopped: where the signal came, or at once if it came before.
        """
        self._breaks_off = True
        try:
            if self.is_set():
                raise Stopped
            yield
        finally:
            self._breaks_off = False

    def came(self, number: int) -> None:
        """Take a signal, in the main thread."""
        self.signal = number
        self.set()
        if self._breaks_off:
            raise Stopped


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn SIGINT, SIGTERM and SIGHUP into a request to stop; a second one ends the process as if this were not there.

    SIGHUP stays ignored where it is, as under nohup.
    """
    request = StopRequest()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    if before.get(_HANGUP) is signal.SIG_IGN:
        del before[_HANGUP]

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, _: Any) -> None:
        restore()
        request.came(number)

    for number in before:
        signal.signal(number, handle)
    try:
        yield request
    finally:
        restore()
