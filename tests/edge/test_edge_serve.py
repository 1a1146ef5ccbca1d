"""The server: python -m edge.serve, and recordings that are sent to it. Streams are in test_edge_serve_stream."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import edge
from edge import ActionRecognizer, predict, serve
from edge.engines import TakingTurns
from edge.errors import EdgeError
from tests.edge.serving import known_warnings, served, told, ws_client

REPOSITORY = Path(edge.__file__).resolve().parents[1]
pytestmark = known_warnings


def saved(save):
    """Return what is written into a file."""
    content = io.BytesIO()
    save(content, np.zeros((2, 20, 3)))
    return content.getvalue()


NPY, NPZ = saved(np.save), saved(np.savez)


def form(fields):
    """Return a form (name to text, or to a file's name and bytes) as a request has it."""
    parts = []
    for name, value in fields.items():
        head = f'Content-Disposition: form-data; name="{name}"'
        if isinstance(value, tuple):
            head, value = f'{head}; filename="{value[0]}"', value[1]
        parts += [b"--frontier", head.encode(), b"", value if isinstance(value, bytes) else str(value).encode()]
    return b"\r\n".join([*parts, b"--frontier--", b""])


def ask(address, path="/", **fields):
    """Return status and answer of a request, a form if fields are given."""
    request = urllib.request.Request(f"http://{address}{path}")
    if fields:
        request.data = form(fields)
        request.add_header("Content-Type", "multipart/form-data; boundary=frontier")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def file(path):
    return path.name, path.read_bytes()


def untimed(prediction):
    return {key: value for key, value in prediction.items() if not key.endswith("_ms")}


@pytest.fixture
def numpy_file(tmp_path):
    def write(name, values):
        np.save(tmp_path / name, values)
        return tmp_path / name

    return write


# --- recordings -----------------------------------------------------------------------------------


def test_the_server_says_what_the_model_is(make_bundle):
    recognizer = ActionRecognizer.from_bundle(make_bundle("rgb", "skeleton"))
    with served(recognizer) as address:
        status, said = ask(address)
    assert status == 200 and said["model"] == "tiny" and said["reads"] == ["rgb", "skeleton"]
    assert said["labels"] == list(recognizer.bundle.labels) and said["engine"] == recognizer.engine.name
    assert said["window"] == {"frames": 4, "stride": 2, "duration_s": 2.2}


def test_a_recording_gets_the_answer_that_the_command_gives(make_bundle, write_video, numpy_file, skeletons, capsys):
    folder, clip = make_bundle("rgb", "skeleton"), write_video("a clip.mp4")
    joints = numpy_file("joints.npy", skeletons)
    arguments = [str(clip), f"--skeleton={joints}", "--skeleton_rate=25", "--json"]
    assert predict.main([f"--bundle={folder}", *arguments]) == 0
    expected = json.loads(capsys.readouterr().out)
    with served(ActionRecognizer.from_bundle(folder)) as address:
        status, found = ask(address, "/predict", clip=file(clip), skeleton=file(joints), skeleton_rate=25)
        _, without = ask(address, "/predict", clip=file(clip))
    assert status == 200 and found["latency_ms"] > 0
    assert untimed(found) == {key: value for key, value in untimed(expected).items() if key in found}
    assert without["missing"] == ["skeleton"] and without["top5"] != found["top5"]


def test_depth_and_inertial_samples_come_as_arrays(make_bundle, numpy_file, depth_frames, samples):
    recognizer = ActionRecognizer.from_bundle(make_bundle("depth", "inertial"))
    given = {"clip": numpy_file("d.npy", depth_frames), "inertial": numpy_file("i.npy", samples)}
    with served(recognizer) as address:
        status, found = ask(address, "/predict", frame_rate=30, **{kind: file(path) for kind, path in given.items()})
    assert status == 200, found
    expected = recognizer.predict(depth_frames, inertial=samples, frame_rate_hz=30)
    assert [(s["action"], s["confidence"]) for s in found["top5"]] == [(s.action, s.confidence) for s in expected.top5]


@pytest.mark.parametrize(
    "fields, status, words",
    [
        ({"clip": ("a.mp4", b"no video")}, 400, r"^a\.mp4 is no video"),
        ({"clip": ("../../a\0b/..mp4", b"no video")}, 400, r"^\.\.mp4 is no video"),
        ({"clip": (100 * "漢" + ".mp4", b"no video")}, 400, r"^漢+\.mp4 is no video"),
        ({"clip": ("", b"no video")}, 400, "^a file without a name was sent"),
        ({"clip": "a.mp4"}, 400, "^clip: text was sent; a file is expected, as curl sends it with -F clip=@FILE"),
        ({"clip": ("a.m3u8", b"#EXTM3U")}, 400, r"^a\.m3u8 was sent; \.avi, .* are expected"),
        ({"skeleton": ("s.avi", b"x")}, 400, r"^s\.avi was given; a skeleton is expected as \.npy"),
        ({"skeleton": ("s.npy", NPZ)}, 400, r"^s\.npy holds several arrays"),
        ({"skeleton": ("s.npy", NPY.replace(b"(2, 20, 3)", b"(-1,20, 3)"))}, 400, r"^s\.npy cannot be read as \.npy"),
        ({"skeleton": ("s.npy", NPY.replace(b"(2, 20, 3)", b"(T, ((((  "))}, 400, r"^s\.npy cannot be read as \.npy"),
        ({"inertial": ("i.npy", b"")}, 400, r"i\.npy"),
        ({"frame_rate": "30"}, 400, "nothing was given; this bundle reads rgb"),
        ({"frame_rate": "often"}, 400, "^frame_rate: "),
        ({"frame_rate": "0"}, 400, "^frame_rate: .*greater than 0"),
        ({"frame_rate": "nan"}, 400, "^frame_rate: "),
        ({"skelton": ("s.npy", b"")}, 400, "there is no field skelton; .*mean 'skeleton'"),
        ({"clip": ("a.mp4", bytes(20_000))}, 413, r"0\.0 MB were sent; at most 0\.01 are expected"),
    ],
)
def test_a_mistake_gets_one_clear_answer_and_the_server_goes_on(
    make_bundle, write_video, tmp_path, monkeypatch, fields, status, words
):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    clip = write_video(frames=3)
    with served(ActionRecognizer.from_bundle(make_bundle("rgb", "skeleton")), 10_000) as address:
        found, said = ask(address, "/predict", **fields)
        assert found == status and re.search(words, said["error"]), said
        assert str(tmp_path) not in str(said)
        assert ask(address, "/predict", clip=file(clip))[0] == 200
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_field_that_is_there_twice_is_refused(make_bundle, numpy_file, skeletons):
    joints = file(numpy_file("s.npy", skeletons))
    with served(ActionRecognizer.from_bundle(make_bundle("skeleton"))) as address:
        connection = http.client.HTTPConnection(address, timeout=60)
        twice = form({"skeleton": joints})[: -len(b"--frontier--\r\n")] + form({"skeleton": joints})
        connection.request("POST", "/predict", twice, {"Content-Type": "multipart/form-data; boundary=frontier"})
        answer = connection.getresponse()
        assert (answer.status, json.load(answer)) == (
            400,
            {"error": "skeleton was sent 2 times; once at most is expected"},
        )
        connection.close()
        assert ask(address, "/elsewhere") == (404, {"error": "Not Found"})


@pytest.mark.parametrize("length", [None, "10"])
def test_chunks_do_not_get_past_the_limit(make_bundle, length):
    """With both headers, the chunks count and not the length."""
    with served(ActionRecognizer.from_bundle(make_bundle("skeleton")), 100) as address:
        connection = http.client.HTTPConnection(address, timeout=60)
        connection.putrequest("POST", "/predict")
        if length:
            connection.putheader("Content-Length", length)
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        connection.send(b"400\r\n" + bytes(1024) + b"\r\n0\r\n\r\n")
        assert connection.getresponse().status in (400, 411)
        connection.close()


def test_recordings_at_the_same_time_take_turns(make_bundle, numpy_file):
    recognizer = ActionRecognizer.from_bundle(make_bundle("skeleton"))
    engine, inside, most = recognizer.engine, [], []

    class Watched:
        name = engine.name

        def run(self, inputs):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()
            return engine.run(inputs)

    recordings = [numpy_file(f"{i}.npy", np.random.default_rng(i).normal(size=(30, 20, 3))) for i in range(8)]
    with served(ActionRecognizer(recognizer.bundle, Watched(), "fp32")) as address, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda path: ask(address, "/predict", skeleton=file(path)), recordings))
    assert max(most) == 1 and len(most) == 8
    for path, (_, answer) in zip(recordings, found):
        expected = recognizer.predict(skeleton=np.load(path))
        assert (answer["action"], answer["confidence"]) == (expected.action, expected.confidence)


def test_an_engine_that_fails_lets_the_next_one_in():
    class Failing:
        name = "failing"

        def run(self, inputs):
            raise EdgeError("it does not fit")

    turns = TakingTurns(Failing())
    for _ in range(2):
        with pytest.raises(EdgeError, match="it does not fit"):
            turns.run({})


# --- the command ----------------------------------------------------------------------------------


def test_the_command_serves_until_it_is_told_to_stop(make_bundle):
    folder = make_bundle("skeleton")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "edge.serve", f"--bundle={folder}", f"--port={port}"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        for line in process.stdout:
            if "startup complete" in line:
                break
        assert ask(f"127.0.0.1:{port}")[1]["model"] == "tiny"
        with ws_client.connect(f"ws://127.0.0.1:{port}/stream") as client:
            client.send(json.dumps({"skeleton": np.ones((20, 3)).tolist()}))
            process.send_signal(signal.SIGTERM)
            told(client)
        assert process.wait(timeout=30) in (0, -signal.SIGTERM)
        assert "Traceback" not in process.stdout.read()
    finally:
        process.kill()
        process.stdout.close()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--host="], "cannot listen on --host= --port=8000"),
        (["--port=99999"], "--port=99999: there is no such address"),
        (["--host=no.such.host.invalid"], "--host=no.such.host.invalid"),
    ],
)
def test_an_address_that_cannot_be_listened_to_is_named(make_bundle, capsys, arguments, words):
    assert serve.main([f"--bundle={make_bundle('rgb')}", *arguments]) == 1
    assert words in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(make_bundle, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert serve.main([f"--bundle={make_bundle('rgb')}", f"--port={port}"]) == 1
    assert f"cannot listen on --host=127.0.0.1 --port={port}: Address already in use" in capsys.readouterr().err


def test_what_is_not_installed_is_named(make_bundle, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert serve.main([f"--bundle={make_bundle('rgb')}"]) == 1
    assert "pip install -r edge/requirements-server.txt" in capsys.readouterr().err


def test_all_rates_that_are_sent_are_those_of_the_prediction(make_bundle, numpy_file, skeletons, samples):
    recognizer = ActionRecognizer.from_bundle(make_bundle("skeleton", "inertial"))
    given = {"skeleton": numpy_file("s.npy", skeletons), "inertial": numpy_file("i.npy", samples)}
    with served(recognizer) as address:
        files = {kind: file(path) for kind, path in given.items()}
        status, found = ask(address, "/predict", skeleton_rate=30, inertial_rate=160, **files)
    assert status == 200, found
    expected = recognizer.predict(None, skeletons, samples, skeleton_rate_hz=30, inertial_rate_hz=160)
    assert found["confidence"] == expected.confidence
    assert found["confidence"] != recognizer.predict(None, skeletons, samples, skeleton_rate_hz=30).confidence
