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
from typing import Any, Dict, Mapping, MutableMapping, Optional, Set

from fastapi import Depends, FastAPI, Form, Request, UploadFile, WebSocket, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from edge.errors import EdgeError, suggestion
from edge.events import Predicted, as_dict
from edge.items import SKELETON_SUFFIXES, VIDEO_SUFFIXES, Item
from edge.pushed import PushedStream
from edge.recognizer import ActionRecognizer
from edge.recording import predict_files
from edge.runtime import StreamOptions, StreamRuntime
from edge.stream_options import RULE, make_stream_options

MOST_STREAMS = 8  # at once; each keeps a window in memory, and they share one engine
# Of RFC 6455 and its registry: all was said, a mistake of the client, try again later.
_CLOSE_END, _CLOSE_MISTAKE, _CLOSE_LATER = 1000, 1008, 1013
_FILES = ("clip", "skeleton", "inertial")
_FIELDS = (*_FILES, "frame_rate", "skeleton_rate", "inertial_rate")
_SUFFIXES = (*VIDEO_SUFFIXES, *SKELETON_SUFFIXES)
_GONE = (WebSocketDisconnect, RuntimeError, OSError)  # by version, what sending to a client that has gone raises


def create_app(recognizer: ActionRecognizer, max_upload_bytes: int) -> FastAPI:
    """Return the server of a recogniser.

    Args:
      recognizer: whose bundle and engine.
      max_upload_bytes: the largest request that is read.
    """
    bundle, precision = recognizer.bundle, recognizer.precision
    app = FastAPI(title="hartx", description=f"{bundle.model}: actions from {bundle.reads}.")
    pool = ThreadPoolExecutor(MOST_STREAMS, thread_name_prefix="stream")
    watched: Set[_Watch] = set()

    app.add_middleware(_SizeLimit, max_bytes=max_upload_bytes)
    app.add_exception_handler(HTTPException, _say_http)
    app.add_exception_handler(RequestValidationError, _say_invalid)

    @app.get("/")
    async def model() -> Dict[str, Any]:
        """Say what the model is: labels, what it reads, engine, precision, window."""
        return {
            "model": bundle.model,
            "reads": list(bundle.specs),
            "labels": list(bundle.labels),
            "engine": recognizer.engine.name,
            "precision": precision,
            "window": asdict(bundle.window),
        }

    @app.post("/predict", dependencies=[Depends(_check_fields)])
    def predict(
        clip: Optional[UploadFile] = None,
        skeleton: Optional[UploadFile] = None,
        inertial: Optional[UploadFile] = None,
        frame_rate: Optional[float] = Form(None, gt=0),
        skeleton_rate: Optional[float] = Form(None, gt=0),
        inertial_rate: Optional[float] = Form(None, gt=0),
    ) -> Any:
        """Name the action of a recording, given as the files that `python -m edge.predict` takes, one of each kind."""
        rates_hz = {"frame": frame_rate, "skeleton": skeleton_rate, "inertial": inertial_rate}
        uploads = {"clip": clip, "skeleton": skeleton, "inertial": inertial}
        with tempfile.TemporaryDirectory(prefix="hartx-") as folder:
            try:
                item = Item(**{kind: _save(upload, Path(folder, kind)) for kind, upload in uploads.items()})
                return asdict(predict_files(recognizer, item, rates_hz))
            except EdgeError as error:
                return _mistake(re.sub(rf"{re.escape(folder)}/\w+/", "", str(error)), 400)

    @app.websocket("/stream")
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        if len(watched) >= MOST_STREAMS:
            await _refuse(socket, f"{MOST_STREAMS} streams are watched already; try again later", _CLOSE_LATER)
            return
        try:
            watch = _Watch(socket, recognizer, _stream_options(socket.query_params))
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


class _SizeLimit:
    """Refuses requests that are too large before anything of them is read."""

    def __init__(self, app: Any, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" and scope["method"] == "POST" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Mapping[str, Any]) -> Optional[JSONResponse]:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        length = headers.get(b"content-length", "")
        if b"transfer-encoding" in headers or not length.isdecimal():
            return _mistake("the request does not say its size: send a Content-Length, and not in chunks", 411)
        if int(length) > self._max_bytes:
            most = f"at most {self._max_bytes / 1e6:g} are expected (--max_upload_mb of the server)"
            return _mistake(f"{int(length) / 1e6:.1f} MB were sent; {most}", 413)
        return None


async def _check_fields(request: Request) -> None:
    """Raise for a field that there is not, or is there twice: both would be overlooked."""
    names = [name for name, _ in (await request.form()).multi_items()]
    for name in names:
        if name not in _FIELDS:
            text = f"there is no field {name}; {', '.join(_FIELDS)} are there{suggestion(name, _FIELDS)}"
            raise HTTPException(400, text)
        if names.count(name) > 1:
            raise HTTPException(400, f"{name} was sent {names.count(name)} times; once at most is expected")


def _stream_options(params: Mapping[str, str]) -> StreamOptions:
    """Return the options in the address of a stream.

    Raises:
      EdgeError: for one that there is not, or that is no number or does not fit.
    """
    values: Dict[str, Any] = {"stride": None, "smoothing": RULE.smoothing, "threshold": RULE.threshold, "release": None}
    for name, text in params.items():
        if name not in values:
            raise EdgeError(f"there is no {name}; {', '.join(values)} are there{suggestion(name, values)}")
        try:
            values[name] = (int if name in ("stride", "smoothing") else float)(text)
        except ValueError:
            raise EdgeError(f"{name}={text} was given; a number is expected") from None
    return make_stream_options(**values)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise EdgeError(f"a message of text is no JSON: {text[:80]}") from None


def _save(upload: Optional[UploadFile], folder: Path) -> Optional[str]:
    """Write a file that was sent into a new folder, under the name that it was sent with, and return its path.

    Raises:
      EdgeError: if its name does not end as a recording's does. A playlist, say, could name files of ours.
    """
    if upload is None:
        return None
    name = re.sub(r"[^\w. -]", "_", Path(upload.filename or "").name)[-60:]  # at most 240 bytes
    if Path(name).suffix.lower() not in _SUFFIXES:
        raise EdgeError(f"{name or 'a file without a name'} was sent; {', '.join(_SUFFIXES)} are expected")
    folder.mkdir()
    with open(folder / name, "wb") as file:
        shutil.copyfileobj(upload.file, file)
        return file.name


async def _say_http(request: Request, error: Any) -> JSONResponse:
    return _mistake(str(error.detail), error.status_code)


async def _say_invalid(request: Request, error: Any) -> JSONResponse:
    first = error.errors()[0]
    field = first["loc"][-1]
    said = f"text was sent; a file is expected, as curl sends it with -F {field}=@FILE"
    return _mistake(f"{field}: {said if field in _FILES else first['msg']}", 400)


def _mistake(text: str, status: int) -> JSONResponse:
    return JSONResponse({"error": text}, status)


async def _refuse(socket: WebSocket, text: str, code: int) -> None:
    """Say what is wrong and close."""
    with suppress(*_GONE):
        await socket.send_json({"kind": "error", "text": text})
        await socket.close(code)
