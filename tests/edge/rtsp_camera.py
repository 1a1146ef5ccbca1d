"""A network camera for tests: RTSP (RFC 2326), H.264 in RTP (RFC 6184), all in the one TCP connection."""

from __future__ import annotations

import base64
import re
import socketserver
import struct
import threading
import time
from fractions import Fraction

import numpy as np
import pytest

av = pytest.importorskip("av", reason="PyAV encodes the camera's video")

FRAMES = 60  # of five shades
_CLOCK_HZ = 90_000
_PACKET_BYTES = 1200
_SPS, _PPS, _FU_A = 7, 8, 28  # kinds of NAL units


def shade(i):
    """Return how bright frame i is, 0 to 255: the next one can be told from it."""
    return 24 + 52 * (i % 5)


def encoded(height=96, width=128):
    """Return FRAMES frames as lists of NAL units, each frame with all that it needs to be decoded alone."""
    context = av.CodecContext.create("libx264", "w")
    context.height, context.width, context.pix_fmt = height, width, "yuv420p"
    context.time_base, context.framerate = Fraction(1, 30), Fraction(30)
    context.options = {"tune": "zerolatency", "g": "1", "profile": "baseline", "preset": "ultrafast"}
    frames = []
    for i in range(FRAMES):
        frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), shade(i), np.uint8), format="rgb24")
        frame.pts = i
        frames += [bytes(packet) for packet in context.encode(frame)]
    assert len(frames) == FRAMES
    return [[unit for unit in re.split(b"\x00\x00\x00?\x01", frame) if unit] for frame in frames]


def packets(units, number, timestamp):
    """Return the RTP packets of a frame, and the number of the next one."""
    payloads = []
    for k, unit in enumerate(units):
        last = k == len(units) - 1
        if len(unit) <= _PACKET_BYTES:
            payloads.append((unit, last))
            continue
        pieces = [unit[at : at + _PACKET_BYTES] for at in range(1, len(unit), _PACKET_BYTES)]
        for j, piece in enumerate(pieces):
            begins, ends = j == 0, j == len(pieces) - 1
            head = bytes([unit[0] & 0xE0 | _FU_A, begins << 7 | ends << 6 | unit[0] & 0x1F])
            payloads.append((head + piece, last and ends))
    made = [
        struct.pack(">BBHII", 0x80, 96 | marked << 7, (number + n) & 0xFFFF, timestamp & 0xFFFFFFFF, 7) + payload
        for n, (payload, marked) in enumerate(payloads)
    ]
    return made, number + len(made)


class RtspCamera(socketserver.ThreadingTCPServer):
    """Sends 30 frames a second to whoever plays it, from the frame that it is at.

    Args:
      hang_up_after: frames after which a connection is closed; None: never.
      stall_after: frames after which nothing more is sent to the first who plays it, and the connection stays.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port=0, hang_up_after=None, stall_after=None, rate_hz=30.0):
        super().__init__(("127.0.0.1", port), _Connection)
        self.hang_up_after, self.stall_after, self.rate_hz = hang_up_after, stall_after, rate_hz
        self.frames = encoded()
        self.begun_s = time.perf_counter()
        self.plays = 0
        self.open = set()
        self.address = f"rtsp://127.0.0.1:{self.server_address[1]}/camera"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()
        self._thread.join()
        for connection in list(self.open):
            connection.shutdown(2)

    def handle_error(self, request, client_address):
        pass  # whoever watched has gone


class _Connection(socketserver.StreamRequestHandler):
    def handle(self):
        self.server.open.add(self.connection)
        self._playing, self._lock = False, threading.Lock()
        try:
            while self._answer():
                pass
        finally:
            self._playing = False
            self.server.open.discard(self.connection)

    def _answer(self):
        """Answer a request; return whether there may be more."""
        first = self.rfile.read(1)
        if first == b"$":  # what the client reports of the RTP that it got
            _, length = struct.unpack(">BH", self.rfile.read(3))
            return len(self.rfile.read(length)) == length
        lines = [(first + self.rfile.readline()).decode().strip()]
        while lines[-1]:
            lines.append(self.rfile.readline().decode().strip())
        if not lines[0]:
            return False
        method, url = lines[0].split()[:2]
        given = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines[1:])}
        if not url.startswith(self.server.address):
            self._say("404 Not Found", given["cseq"])
        elif method == "OPTIONS":
            self._say("200 OK", given["cseq"], "Public: OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN")
        elif method == "DESCRIBE":
            self._say("200 OK", given["cseq"], "Content-Type: application/sdp", body=self._description())
        elif method == "SETUP":
            self._say("200 OK", given["cseq"], "Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1")
        else:
            self._say("200 OK", given["cseq"], "Session: 1")
            if method == "PLAY":
                threading.Thread(target=self._play, daemon=True).start()
        return method != "TEARDOWN"

    def _say(self, status, number, *headers, body=""):
        lines = [f"RTSP/1.0 {status}", f"CSeq: {number}", *headers, f"Content-Length: {len(body)}", "", body]
        with self._lock:
            self.wfile.write("\r\n".join(lines).encode())

    def _description(self):
        kinds = {unit[0] & 0x1F: unit for unit in self.server.frames[0]}
        sets = ",".join(base64.b64encode(kinds[kind]).decode() for kind in (_SPS, _PPS))
        lines = ["v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=camera", "t=0 0", "m=video 0 RTP/AVP 96"]
        lines += [f"a=rtpmap:96 H264/{_CLOCK_HZ}", f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}"]
        return "\r\n".join([*lines, "a=control:track", ""])

    def _play(self):
        server, number, sent = self.server, 0, 0
        server.plays += 1
        first, self._playing = server.plays == 1, True
        at = int((time.perf_counter() - server.begun_s) * server.rate_hz) + 1
        while self._playing and sent != server.hang_up_after and not (first and sent == server.stall_after):
            time.sleep(max(0.0, server.begun_s + at / server.rate_hz - time.perf_counter()))
            timestamp = round(at * _CLOCK_HZ / server.rate_hz)
            made, number = packets(server.frames[at % FRAMES], number, timestamp)
            try:
                with self._lock:
                    self.wfile.write(b"".join(b"$\x00" + struct.pack(">H", len(one)) + one for one in made))
            except OSError:  # whoever watched has gone
                return
            at, sent = at + 1, sent + 1
        if sent == server.hang_up_after:
            self.connection.shutdown(2)
