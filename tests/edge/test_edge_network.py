"""A network stream that breaks off and comes back, from a server of our own: MJPEG over HTTP."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from edge import ActionRecognizer, EdgeError
from edge.events import Notice, Predicted
from edge.runtime import StreamOptions
from edge.sources import CameraSource


class Camera(BaseHTTPRequestHandler):
    """Sends 60 frames, 50 a second, to whoever connects, then hangs up."""

    connections = 0

    def do_GET(self):
        type(self).connections += 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for i in range(60):
            jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), (4 * i, 90, 200), np.uint8))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + jpeg + b"\r\n")
            except OSError:  # whoever watched has gone
                return
            time.sleep(0.02)

    def log_message(self, *_):
        pass


@pytest.fixture
def address():
    Camera.connections = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/stream.mjpg"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_network_stream_that_breaks_off_is_watched_again(make_bundle, edit_bundle, address, monkeypatch):
    monkeypatch.setattr("edge.capture.RETRY_S", 0.2)
    folder = make_bundle("rgb")
    edit_bundle(folder, lambda values: values["window"].update(duration_s=0.3))
    stop, events, back = threading.Event(), [], False
    threading.Timer(30, stop.set).start()
    for event in ActionRecognizer.from_bundle(folder).stream(address, options=StreamOptions(stride=1), stop=stop):
        events.append(event)
        back = back or (isinstance(event, Notice) and "is back" in event.text)
        if back and isinstance(event, Predicted):
            stop.set()
    texts = [event.text for event in events if isinstance(event, Notice)]
    assert ["is lost" in texts[0], "is back" in texts[1]] == [True, True]
    kinds = [type(event) for event in events]
    assert Predicted in kinds[: kinds.index(Notice)] and kinds.count(Predicted) > 2
    assert Camera.connections >= 2


def test_an_address_where_nobody_answers_is_one_error():
    with pytest.raises(EdgeError, match=r"http://127\.0\.0\.1:9/x cannot be opened"):
        CameraSource("http://127.0.0.1:9/x")
