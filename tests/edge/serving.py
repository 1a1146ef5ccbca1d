"""A server for tests, and what a client of its streams needs; skips whoever imports it where no server can be had."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager

import pytest

uvicorn = pytest.importorskip("uvicorn", reason="edge/requirements-server.txt is not installed")
pytest.importorskip("fastapi", reason="edge/requirements-server.txt is not installed")
ws_client = pytest.importorskip("websockets.sync.client", reason="edge/requirements-server.txt is not installed")
from websockets.exceptions import ConnectionClosed  # noqa: E402

from edge.service import MOST_STREAMS, create_app  # noqa: E402, F401

# How uvicorn's newest version for Python 3.8 calls websockets, which nobody but they can change.
known_warnings = pytest.mark.filterwarnings("ignore:remove second argument of ws_handler:DeprecationWarning")


@contextmanager
def served(recognizer, max_upload_bytes=10_000_000):
    """Serve in a thread of its own; yields the address."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen()  # whoever connects before it serves waits
        app = create_app(recognizer, max_upload_bytes)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            yield f"127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def told(connection):
    """Return all that comes until the server closes, and how it closes."""
    events = []
    try:
        while True:
            events.append(json.loads(connection.recv(timeout=20)))
    except ConnectionClosed as closed:
        return events, closed.rcvd.code
