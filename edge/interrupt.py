"""Ending properly when somebody asks for it."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import Any, Iterator, Optional

# What a terminal that is closed sends; Windows does not have it.
_HANGUP = getattr(signal, "SIGHUP", None)
_SIGNALS = [number for number in (signal.SIGINT, signal.SIGTERM, _HANGUP) if number is not None]


class StopRequest(threading.Event):
    """Set by SIGINT, SIGTERM or SIGHUP.

    Attributes:
      signal: the number of the signal that came; None if none did.
    """

    signal: Optional[int] = None


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
        request.signal = number
        request.set()
        restore()

    for number in before:
        signal.signal(number, handle)
    try:
        yield request
    finally:
        restore()
