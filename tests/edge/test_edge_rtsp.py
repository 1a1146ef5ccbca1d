"""A network camera by RTSP, from a server of our own: what it sends comes, and it may stall, go away and come back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import edge
from edge import ActionRecognizer, EdgeError
from edge.events import Notice, Predicted
from edge.runtime import StreamOptions
from edge.sources import CameraSource
from tests.edge.rtsp_camera import RtspCamera, shade


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("edge.sources._NETWORK_TIMEOUT_MS", 1500)
    monkeypatch.setattr("edge.capture.RETRY_S", 0.2)


def all_frames(source):
    """Return the frames until the camera gives none any more."""
    frames = []
    while True:
        frame = source.read()
        if frame is None:
            return frames
        frames.append(frame)


def test_no_frame_is_lost_and_only_one_is_kept_back(impatient):
    """FFmpeg cannot tell a frame to be whole until the next one begins: the last of 40 comes when it has given up."""
    with RtspCamera(stall_after=40) as camera:
        source = CameraSource(camera.address)
        frames = all_frames(source)
        source.close()
    assert source.rate_hz == pytest.approx(30, abs=1)
    assert len(frames) == 40
    assert np.diff([frame.captured_s for frame in frames]).argmax() == 38
    seen = np.asarray([frame.image.mean() for frame in frames])
    steps = np.asarray([shade(i) for i in range(5)])
    order = np.abs(seen[:, None] - steps).argmin(axis=1)
    assert np.abs(seen - steps[order]).max() < 5
    np.testing.assert_array_equal(np.diff(order) % 5, 1)
    assert all(frame.image.shape == (96, 128, 3) and frame.image.dtype == np.uint8 for frame in frames)


@pytest.mark.parametrize("fault", ["hang_up_after", "stall_after"])
def test_a_camera_that_breaks_off_is_watched_again(make_bundle, edit_bundle, impatient, fault):
    folder = make_bundle("rgb")
    edit_bundle(folder, lambda values: values["window"].update(duration_s=0.3))
    stop, events, back = threading.Event(), [], False
    timer = threading.Timer(60, stop.set)
    timer.start()
    with RtspCamera(**{fault: 60}) as camera:
        recognizer = ActionRecognizer.from_bundle(folder)
        for event in recognizer.stream(camera.address, options=StreamOptions(stride=1), stop=stop):
            events.append(event)
            back = back or (isinstance(event, Notice) and "is back" in event.text)
            if back and isinstance(event, Predicted):
                stop.set()
        assert camera.plays >= 2
    timer.cancel()
    # A busy machine may widen the stride, and say so in between.
    events = [event for event in events if not (isinstance(event, Notice) and event.about == "stride")]
    texts = [event.text for event in events if isinstance(event, Notice)]
    assert ["is lost" in texts[0], "is back" in texts[1]] == [True, True]
    kinds = [type(event) for event in events]
    assert Predicted in kinds[: kinds.index(Notice)] and kinds[-1] is not Notice


def test_a_camera_that_is_switched_off_and_on_again_is_found_again(impatient):
    with RtspCamera() as camera:
        source = CameraSource(camera.address)
        assert source.read() is not None
        port = camera.server_address[1]
    assert len(all_frames(source)) < 100
    assert not source.reopen() and source.read() is None
    with RtspCamera(port=port):
        assert source.reopen()
        assert source.read() is not None
        source.close()


def test_an_address_that_the_camera_does_not_have_is_one_error(impatient):
    with RtspCamera() as camera:
        wrong = camera.address.replace("camera", "other")
        with pytest.raises(EdgeError, match=f"source {wrong} cannot be opened"):
            CameraSource(wrong)


def test_the_command_watches_it_until_it_is_told_to_end(make_bundle):
    folder = make_bundle("rgb")
    environment = {**os.environ, "PYTHONPATH": str(Path(edge.__file__).parents[1])}
    with RtspCamera() as camera:
        command = [sys.executable, "-m", "edge.live", f"--bundle={folder}", f"--source={camera.address}", "--jsonl=-"]
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            timer = threading.Timer(60, process.kill)
            timer.start()
            events = [json.loads(process.stdout.readline()) for _ in range(2)]
            process.send_signal(signal.SIGINT)
            said, complaints = process.communicate()
            timer.cancel()
    assert process.returncode == 0, complaints
    events += [json.loads(line) for line in said.splitlines()]
    assert {"prediction"} <= {event["kind"] for event in events}
    assert "capture to result" in complaints and "Traceback" not in complaints
