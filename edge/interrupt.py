"""Ending properly when somebody asks for it."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import Any, Iterator, Optional

# A terminal that is closed sends SIGHUP, which Windows does not have.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class StopRequest(threading.Event):
    """Set by SIGINT, SIGTERM or SIGHUP.

    Attributes:
      signal: the number of the signal that came; None if none did.
    """

    signal: Optional[int] = None


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn SIGINT, SIGTERM and SIGHUP into a request to stop; a second one ends the process as if this were not there.

    One that is ignored stays so, as SIGHUP is under nohup.
    """
    request = StopRequest()
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    before = {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}

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
