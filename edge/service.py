"""What the server answers; `edge.serve` starts it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Awaitable, Callable, Dict, Mapping, Optional, Set

import numpy as np
from fastapi import FastAPI, Form, Request, UploadFile, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse, Response
from starlette.middleware.base import BaseHTTPMiddleware

from edge.engines import Engine
from edge.errors import EdgeError
from edge.events import Predicted, as_dict
from edge.items import Item
from edge.pushed import PushedStream
from edge.recognizer import ActionRecognizer
from edge.recording import predict_files
from edge.runtime import StreamOptions, StreamRuntime
from edge.stream_options import RULE, make_stream_options

MOST_STREAMS = 8  # at once; each keeps a window in memory, and they share one engine
# Of RFC 6455 and its registry: all was said, a mistake of the client, try again later.
_CLOSE_END, _CLOSE_MISTAKE, _CLOSE_LATER = 1000, 1008, 1013
_GONE = (WebSocketDisconnect, RuntimeError, OSError)  # by version, what sending to a client that has gone raises


class TakingTurns:
    """An engine that several threads may call: one at a time."""

    def __init__(self, engine: Engine) -> None:
        self.name = engine.name
        self._engine = engine
        self._lock = threading.Lock()

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the output, as `edge.engines.Engine` does."""
        with self._lock:
            return self._engine.run(inputs)


def create_app(recognizer: ActionRecognizer, max_upload_bytes: int) -> FastAPI:
    """Return the server of a recogniser.

    Args:
      recognizer: whose bundle and engine; nothing else may call the engine from now on.
      max_upload_bytes: the largest request that is read.
    """
    bundle, precision = recognizer.bundle, recognizer.precision
    shared = ActionRecognizer(bundle, TakingTurns(recognizer.engine), precision)  # type: ignore[arg-type]
    app = FastAPI(title="hartx", description=f"{bundle.model}: actions from {bundle.reads}.")
    pool = ThreadPoolExecutor(MOST_STREAMS, thread_name_prefix="stream")
    watched: Set[_Watch] = set()

    async def refuse_large(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.method != "POST":
            return await answer(request)
        length = request.headers.get("content-length", "")
        if not length.isdecimal():
            return _mistake("a request without Content-Length was sent", 411)
        if int(length) > max_upload_bytes:
            most = f"at most {max_upload_bytes / 1e6:g} are expected (--max_upload_mb of the server)"
            return _mistake(f"{int(length) / 1e6:.1f} MB were sent; {most}", 413)
        return await answer(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=refuse_large)

    @app.get("/")
    def model() -> Dict[str, Any]:
        """Say what the model is: labels, what it reads, engine, precision, window."""
        return {
            "model": bundle.model,
            "reads": list(bundle.specs),
            "labels": list(bundle.labels),
            "engine": recognizer.engine.name,
            "precision": precision,
            "window": asdict(bundle.window),
        }

    @app.post("/predict")
    def predict(
        clip: Optional[UploadFile] = None,
        skeleton: Optional[UploadFile] = None,
        inertial: Optional[UploadFile] = None,
        frame_rate: Optional[float] = Form(None),
        skeleton_rate: Optional[float] = Form(None),
        inertial_rate: Optional[float] = Form(None),
    ) -> Any:
        """Name the action of a recording, given as the files that `python -m edge.predict` takes, one of each kind."""
        rates_hz = {"frame": frame_rate, "skeleton": skeleton_rate, "inertial": inertial_rate}
        uploads = {"clip": clip, "skeleton": skeleton, "inertial": inertial}
        with tempfile.TemporaryDirectory(prefix="hartx-") as folder:
            try:
                item = Item(**{kind: _save(upload, Path(folder, kind)) for kind, upload in uploads.items()})
                return asdict(predict_files(shared, item, rates_hz))
            except EdgeError as error:
                return _mistake(re.sub(rf"{re.escape(folder)}/\w+/", "", str(error)), 400)

    @app.websocket("/stream")
    async def stream(
        socket: WebSocket,
        stride: Optional[int] = None,
        smoothing: int = RULE.smoothing,
        threshold: float = RULE.threshold,
        release: Optional[float] = None,
    ) -> None:
        await socket.accept()
        if len(watched) >= MOST_STREAMS:
            await _refuse(socket, f"{MOST_STREAMS} streams are watched already; try again later", _CLOSE_LATER)
            return
        try:
            watch = _Watch(socket, shared, make_stream_options(stride, smoothing, threshold, release))
        except EdgeError as error:
            await _refuse(socket, str(error), _CLOSE_MISTAKE)
            return
        watched.add(watch)
        try:
            await watch.run(pool)
        finally:
            watched.discard(watch)

    return app


class _Watch:
    """One stream: what a client sends goes in, events go back."""

    def __init__(self, socket: WebSocket, recognizer: ActionRecognizer, options: StreamOptions) -> None:
        self._socket = socket
        self._source = PushedStream(recognizer.bundle)
        self._stop = threading.Event()
        self._runtime = StreamRuntime(recognizer, self._source, self._source.feeds, options, stop=self._stop)
        self._gone = False

    async def run(self, pool: ThreadPoolExecutor) -> None:
        """Return when the stream has ended and all was said, or the client has gone."""
        loop = asyncio.get_running_loop()
        receiving = asyncio.ensure_future(self._receive())
        try:
            await loop.run_in_executor(pool, self._watch, loop)
            if receiving.done():
                receiving.result()  # raises what was wrong with a message
            if not self._gone:
                await self._socket.close(_CLOSE_END)
        except EdgeError as error:
            await _refuse(self._socket, str(error), _CLOSE_MISTAKE)
        finally:
            receiving.cancel()
            self._end()

    async def _receive(self) -> None:
        try:
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    self._gone = True
                    return
                self._put(message)
        finally:
            self._end()

    def _put(self, message: Mapping[str, Any]) -> None:
        data = message.get("bytes")
        if data:
            self._source.put_picture(data)
        elif data is not None:
            self._source.end()
        else:
            self._source.put_entries(_parsed(message["text"]))

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        for event in self._runtime.run():
            if isinstance(event, Predicted):
                event = replace(event, dropped_frames=event.dropped_frames + self._source.skipped)
            # Waits until it is sent: a client that does not read must not fill our memory.
            sent = asyncio.run_coroutine_threadsafe(self._socket.send_json(as_dict(event)), loop)
            try:
                sent.result()
            except _GONE:
                self._gone = True
                return

    def _end(self) -> None:
        self._stop.set()
        self._source.end()


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise EdgeError(f"a message of text is no JSON: {text[:80]}") from None


def _save(upload: Optional[UploadFile], folder: Path) -> Optional[str]:
    """Write a file that was sent into a new folder, under the name that it was sent with, and return its path."""
    if upload is None:
        return None
    name = re.sub(r"[^\w. -]", "_", Path(upload.filename or "").name)[-100:]
    folder.mkdir()
    with open(folder / (name or "_"), "wb") as file:
        shutil.copyfileobj(upload.file, file)
        return file.name


def _mistake(text: str, status: int) -> JSONResponse:
    return JSONResponse({"error": text}, status)


async def _refuse(socket: WebSocket, text: str, code: int) -> None:
    """Say what is wrong and close."""
    with suppress(*_GONE):
        await socket.send_json({"kind": "error", "text": text})
        await socket.close(code)
