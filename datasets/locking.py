"""One process at a time in a folder."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made if needed; waits while another process holds it.

    The lock ends with the process, however that ends, so there is no stale one to clear away.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logging.getLogger(__name__).warning("another process works in %s, waiting for it", folder)
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)
