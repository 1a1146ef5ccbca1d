"""Streams that are sent to python -m edge.serve."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from contextlib import suppress
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from edge import ActionRecognizer
from edge.events import Latency, Predicted
from edge.runtime import StreamOptions
from edge.service import _Watch
from tests.edge.pictures import picture
from tests.edge.serving import MOST_STREAMS, ConnectionClosed, known_warnings, served, told, ws_client

pytestmark = known_warnings


@pytest.fixture
def quick(make_bundle, edit_bundle):
    """A function that loads a bundle whose window is full in a moment."""

    def make(*modalities):
        folder = make_bundle(*modalities)
        edit_bundle(folder, lambda values: values["window"].update(duration_s=0.2))
        return ActionRecognizer.from_bundle(folder)

    return make


def test_a_stream_is_watched_as_a_camera_is(quick, skeletons):
    with served(quick("rgb", "skeleton")) as address, ws_client.connect(f"ws://{address}/stream?stride=1") as client:
        for i in range(30):
            if i >= 10:
                client.send(json.dumps({"skeleton": skeletons[i].tolist()}))
            client.send(picture(i))
            time.sleep(0.02)
        client.send(b"")
        events, code = told(client)
    predictions = [event for event in events if event["kind"] == "prediction"]
    assert code == 1000 and len(predictions) >= 4
    assert predictions[0]["missing"] == ["skeleton"] and predictions[-1]["missing"] == []
    times = [event["time_s"] for event in predictions]
    assert times == sorted(set(times)) and all(event["latency"]["total_ms"] > 0 for event in predictions)
    assert {"kind": "notice", "about": "missing", "text": "all modalities are there"}.items() <= max(
        (event for event in events if event["kind"] == "notice"), key=lambda event: event["time_s"]
    ).items()


@pytest.mark.parametrize(
    "modality, message",
    [
        ("skeleton", {"skeleton": np.ones((20, 3)).tolist()}),
        ("inertial", {"inertial": np.ones((2, 6)).tolist()}),
    ],
)
def test_without_video_skeletons_or_samples_give_the_beat(quick, modality, message):
    with served(quick(modality)) as address, ws_client.connect(f"ws://{address}/stream") as client:
        for _ in range(15):
            client.send(json.dumps(message))
            time.sleep(0.03)
        client.send(b"")
        events, code = told(client)
    assert code == 1000 and any(event["kind"] == "prediction" and event["missing"] == [] for event in events)


@pytest.mark.parametrize(
    "query, message, words",
    [
        ("", b"xyz", "a message of 3 bytes is no picture"),
        ("", "nonsense", "is no JSON: nonsense"),
        ("", "[]", "is expected to be"),
        ("", '{"inertial": [[0, 0, 1, 0, 0, 0]]}', "inertial was sent; this bundle reads rgb and skeleton"),
        ("", '{"skeleton": [[0, 0, 1]]}', "20, 3"),
        ("", '{"skeleton": "x"}', "not an array of numbers"),
        ("", '{"skeleton": [[' + "9" * 400 + ", 0, 0]]}", "not an array of numbers"),
        ("", '{"skeleton":' + "[" * 100_000 + "]" * 100_000 + "}", "is no JSON"),
        ("", b"\x89PNG and so on", "is no picture that can be read"),
        ("", cv2.imencode(".bmp", np.zeros((9, 9, 3), np.uint8))[1].tobytes(), "is no picture that can be read"),
        ("?strid=4", None, "there is no strid; stride, .*mean 'stride'"),
        ("?stride=often", None, "stride=often was given; a number is expected"),
        ("?stride=0", None, "a stride of 0 was given"),
        ("?threshold=7", None, "a threshold of 7.0 was given"),
    ],
)
def test_a_mistake_in_a_stream_ends_it_with_a_word(make_bundle, query, message, words):
    recognizer = ActionRecognizer.from_bundle(make_bundle("rgb", "skeleton"))
    with served(recognizer) as address, ws_client.connect(f"ws://{address}/stream{query}") as client:
        if message is not None:
            client.send(message)
        (event,), code = told(client)
    assert event["kind"] == "error" and re.search(words, event["text"]) and code == 1008


def test_joints_that_change_their_number_end_a_stream(quick):
    with served(quick("skeleton")) as address, ws_client.connect(f"ws://{address}/stream") as client:
        for joints in (20, 25):
            client.send(json.dumps({"skeleton": np.ones((joints, 3)).tolist()}))
            time.sleep(0.1)
        events, code = told(client)
    assert events[-1]["kind"] == "error" and "(25, 3) was given after one of (20, 3)" in events[-1]["text"]
    assert code == 1008


def test_streams_are_limited_and_one_that_has_gone_makes_room(make_bundle):
    with served(ActionRecognizer.from_bundle(make_bundle("rgb"))) as address:
        clients = [ws_client.connect(f"ws://{address}/stream") for _ in range(MOST_STREAMS)]
        for client in clients:
            client.send(picture())
        with ws_client.connect(f"ws://{address}/stream") as late:
            (event,), code = told(late)
            assert "8 streams are watched already" in event["text"] and code == 1013
        clients[0].socket.shutdown(socket.SHUT_RDWR)  # without a goodbye, as a cable that is pulled out
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with ws_client.connect(f"ws://{address}/stream") as another:
                with suppress(ConnectionClosed):  # refused, as long as there is no room
                    another.send(b"")
                events, code = told(another)
            if code == 1000:
                break
        assert code == 1000 and events == []
        for client in clients:
            client.close()


def test_pictures_that_were_not_even_decoded_count_as_dropped(quick):
    sent = []

    class Socket:
        async def send_json(self, values):
            sent.append(values)

    latency = Latency(12.0, 1.0, 2.0, 7.0, 1.0, 1.0)
    event = Predicted(1.0, 0.0, 1.0, "wave", 0.9, (), (), latency, 3, 2, ())
    watch = _Watch(Socket(), quick("rgb"), StreamOptions())
    watch._source.skipped = 4
    watch._runtime = SimpleNamespace(run=lambda: iter([event]))

    async def watched():
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, watch._watch, loop)

    asyncio.run(watched())
    assert [values["dropped_frames"] for values in sent] == [7]
