"""The command python -m edge.live."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import edge
from edge import ActionRecognizer, live
from edge.annotate import annotate, picture_size
from edge.events import Latency, Predicted, as_dict
from edge.interrupt import stop_on_signals
from edge.joints import KINECT20
from edge.media import read_video
from edge.outputs import JsonLines, VideoRecorder
from edge.recognizer import Score
from edge.runtime import Look, StreamOptions
from edge.sources import Frame
from edge.summary import StreamSummary

TIMES = ("latency",)


def untimed(values):
    return {key: value for key, value in values.items() if key not in TIMES}


def flicker(i):
    return (10 * i) % 256, (37 * i) % 256, 99


def test_json_lines_are_the_events_of_the_stream(make_bundle, write_video, capsys):
    folder, clip = make_bundle("rgb"), write_video(frames=90, colour=flicker)
    arguments = [f"--bundle={folder}", f"--source={clip}", "--every_frame", "--jsonl=-", "--stride=1"]
    assert live.main(arguments) == 0
    captured = capsys.readouterr()
    given = [json.loads(line) for line in captured.out.splitlines()]
    options = StreamOptions(stride=1)
    expected = [
        json.loads(json.dumps(as_dict(e))) for e in ActionRecognizer.from_bundle(folder).stream(clip, options=options)
    ]
    assert [untimed(values) for values in given] == [untimed(values) for values in expected] != []
    assert {values["kind"] for values in given} >= {"prediction", "start", "end"}
    assert "precision fp32: " in captured.err and "capture to result" in captured.err


@pytest.mark.parametrize("output", ["--every_frame", "--jsonl=-", "--jsonl=LINES", "--record=VIDEO"])
def test_a_recording_that_fills_no_window_is_said_on_stderr_with_what_to_do(
    make_bundle, write_video, tmp_path, run_python, output
):
    clip, output = write_video(frames=3), output.replace("LINES", "l.jsonl").replace("VIDEO", "v.mp4")
    done = run_python("-m", "edge.live", f"--bundle={make_bundle('rgb')}", f"--source={clip}", output)
    said = done.stderr.splitlines()[-1]
    assert done.returncode == 0
    # Without --every_frame it is watched like a camera, and a busy machine may miss one.
    frames = "3" if output == "--every_frame" else "[123]"
    assert re.match(rf"{re.escape(str(clip))}: nothing could be recognised: {frames} frames in 0\.\d s do not", said)
    assert "a window of 4 frames in 2.2 s" in said and "edge.predict takes a recording of any length" in said
    if output == "--jsonl=-":
        assert [json.loads(line)["kind"] for line in done.stdout.splitlines()] == ["notice"]
    else:
        assert said == done.stderr.strip() and "frames looked at" in done.stdout


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_the_recorded_video_lasts_as_long_as_the_source(make_bundle, write_video, tmp_path, capsys, suffix):
    folder, clip = make_bundle("rgb", "skeleton"), write_video(frames=60, rate_hz=15.0, colour=flicker)
    out = tmp_path / f"out{suffix}"
    np.save(tmp_path / "s.npy", np.random.default_rng(0).normal(size=(60, 20, 3)))
    arguments = [f"--bundle={folder}", f"--source={clip}", "--every_frame", f"--record={out}", "--show-skeleton"]
    assert live.main([*arguments, f"--skeleton={tmp_path / 's.npy'}"]) == 0
    recording = read_video(out)
    assert len(recording.values) == 60 and recording.rate_hz == pytest.approx(15.0)
    assert recording.values[0].shape == (480, 640, 3)
    assert "begins" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_closes_video_and_lines(make_bundle, write_video, tmp_path, number):
    folder = make_bundle("rgb")
    clip = write_video("long.avi", frames=900, rate_hz=30.0, colour=flicker)
    out, lines = tmp_path / "out.mp4", tmp_path / "events.jsonl"
    command = [sys.executable, "-m", "edge.live", f"--bundle={folder}", f"--source={clip}", f"--record={out}"]
    environment = {**os.environ, "PYTHONPATH": str(Path(edge.__file__).parents[1])}
    with subprocess.Popen(
        [*command, f"--jsonl={lines}", "--stride=1"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 60
        while not (lines.is_file() and lines.read_text().count("\n") >= 3) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        said, complaints = process.communicate(timeout=30)
    assert process.returncode == 0 and complaints == ""
    assert "capture to result" in said
    assert all(json.loads(line) for line in lines.read_text().splitlines())
    assert 30 < len(read_video(out).values) < 600


def test_a_reader_that_goes_away_ends_it_quietly(make_bundle, write_video):
    folder, clip = make_bundle("rgb"), write_video("long.avi", frames=600, rate_hz=30.0, colour=flicker)
    command = (
        f"{sys.executable} -m edge.live --bundle={folder} --source={clip} --every_frame --stride=1 --jsonl=- | head -1"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(edge.__file__).parents[1])}
    done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout)["kind"] == "prediction"
    assert "Traceback" not in done.stderr and "Broken" not in done.stderr


def test_the_lines_of_before_stay(make_bundle, write_video, tmp_path, capsys):
    """A service starts again after a crash, and perhaps before its camera is there."""
    folder, clip, lines = make_bundle("rgb"), write_video(frames=90), tmp_path / "events.jsonl"
    command = [f"--bundle={folder}", "--every_frame", f"--jsonl={lines}"]
    assert live.main([*command, f"--source={clip}"]) == 0
    before = lines.read_text()
    assert before and live.main([*command, "--source=97"]) == 1
    assert lines.read_text() == before
    assert live.main([*command, f"--source={clip}"]) == 0
    assert lines.read_text().startswith(before) and lines.read_text().count("\n") == 2 * before.count("\n")


def test_what_is_read_is_not_written_over(make_bundle, write_video, tmp_path, capsys):
    folder, clip = make_bundle("rgb", "skeleton"), write_video(frames=20)
    skeleton, linked = tmp_path / "s.npy", tmp_path / "linked.mp4"
    np.save(skeleton, np.zeros((20, 20, 3)))
    linked.symlink_to(clip)
    before = clip.read_bytes(), skeleton.read_bytes()
    for output in (f"--record={linked}", f"--jsonl={clip}", f"--jsonl={skeleton}"):
        arguments = [f"--bundle={folder}", f"--source={clip}", f"--skeleton={skeleton}", "--every_frame", output]
        assert live.main(arguments) == 1
        assert "which is read; give another name or folder" in capsys.readouterr().err
    assert (clip.read_bytes(), skeleton.read_bytes()) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_one_message(make_bundle, write_video, capsys):
    arguments = [f"--bundle={make_bundle('rgb')}", f"--source={write_video(frames=90)}", "--every_frame"]
    assert live.main([*arguments, "--jsonl=/dev/full"]) == 1
    assert "error: /dev/full cannot be written: No space left" in capsys.readouterr().err


RECORD = """
import resource, signal, sys
import numpy as np
from pathlib import Path
from edge.outputs import VideoRecorder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
rng = np.random.default_rng(0)
recorder = VideoRecorder(Path(sys.argv[1]), 30.0)
for i in range(60):
    recorder.write(i / 30, rng.integers(0, 255, (120, 160, 3), dtype=np.uint8))
recorder.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the size of files is limited by POSIX's setrlimit")
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_video_that_a_full_disk_cut_off_is_no_success(run_python, tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    assert run_python("-c", RECORD, path, 50_000_000).returncode == 0
    cut = run_python("-c", RECORD, path, 100_000)
    assert "is not whole: 60 pictures were written; is the disk full?" in cut.stderr


MISTAKES = {
    "no source": ([], "no source, and no skeletons"),
    "missing": (["--source=nowhere.mp4"], "nowhere.mp4: there is no such file"),
    "camera": (["--source=97"], "no camera that can be opened"),
    "video": (["--source=CLIP", "--record=out.gif"], "one of .mp4, .mkv, .avi is expected"),
    "folder": (["--source=CLIP", "--record=no/where/out.mp4"], "there is no folder"),
    "lines": (["--source=CLIP", "--jsonl=no/where.jsonl"], "there is no folder"),
    "rule": (["--source=CLIP", "--threshold=2"], "0 <= threshold <= 1"),
    "release": (["--source=CLIP", "--release=0.9"], "release"),
    "skeleton": (["--source=CLIP", "--skeleton=a.npy"], "this bundle reads rgb"),
    "screen": (["--source=CLIP", "--display"], "--display: "),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_one_message(make_bundle, write_video, monkeypatch, capsys, kind):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    arguments, message = MISTAKES[kind]
    clip = str(write_video())
    assert live.main([f"--bundle={make_bundle('rgb')}", *(a.replace("CLIP", clip) for a in arguments)]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ") and message in err and "Traceback" not in err


# --- what it is made of ---------------------------------------------------------------------------


def prediction(confidence=0.8, missing=()):
    scores = tuple(Score(action, share) for action, share in (("wave", confidence), ("clap", 1 - confidence)))
    latency = Latency(12.0, 1.0, 2.0, 7.0, 1.0, 1.0)
    return Predicted(1.0, 0.0, 2.0, "wave", confidence, scores, scores, latency, 3, 8, missing)


def look(image, predicted=None, joints=None):
    return Look(Frame(image, 1.0, 0.0, 0.0), joints, predicted, 30.0)


@pytest.mark.parametrize("shape", [(48, 64, 3), (481, 641, 3), (2160, 3840, 3), (1, 1, 3), (240, 320)])
def test_any_frame_becomes_a_picture_that_a_codec_takes(shape):
    image = np.full(shape, 90, np.uint8 if len(shape) == 3 else np.uint16)
    picture = annotate(look(image, prediction(missing=("skeleton",))), 29.7)
    assert picture.shape == (*picture_size(*shape[:2])[::-1], 3) and picture.dtype == np.uint8
    assert 480 <= picture.shape[0] <= 1080 and picture.shape[0] % 2 == picture.shape[1] % 2 == 0
    assert image.max() == 90  # it draws on a copy


def test_the_bar_grows_with_the_confidence():
    image = np.zeros((480, 640, 3), np.uint8)
    pictures = [annotate(look(image, prediction(confidence)), None) for confidence in (0.2, 0.5, 0.9)]
    green = [int((picture[32:40] == (80, 200, 80)).all(axis=2).sum()) for picture in pictures]
    assert green[0] < green[1] < green[2]


def test_the_skeleton_is_drawn_where_asked(skeletons):
    image = np.zeros((480, 640, 3), np.uint8)
    plain, drawn = (annotate(look(image, None, skeletons[0]), None, show) for show in (False, True))
    assert (plain != drawn).any() and (plain != drawn).any(axis=(0, 2)).nonzero()[0].min() > 320
    assert annotate(look(image, None, np.full((25, 3), 1e30)), None, True).shape == image.shape


def test_the_recorder_fills_what_was_dropped_and_cuts_long_gaps(tmp_path):
    recorder = VideoRecorder(tmp_path / "a.avi", 10.0)
    for time_s in (0.0, 0.1, 0.4, 0.41, 60.0, 60.1):
        recorder.write(time_s, np.zeros((48, 64, 3), np.uint8))
    recorder.close()
    assert len(read_video(tmp_path / "a.avi").values) == 5 + 2


@pytest.mark.parametrize("pause_s, lasts_s", [(0.5, 0.5), (0.9, 0.9), (1.2, 0.1)])
def test_what_comes_after_a_pause_has_its_time_in_the_video(tmp_path, pause_s, lasts_s):
    recorder = VideoRecorder(tmp_path / "a.avi", 10.0)
    for time_s in (0.0, 0.1, 0.2, 0.2 + pause_s, 0.3 + pause_s):
        recorder.write(time_s, np.full((48, 64, 3), 255 if time_s == 0.2 + pause_s else 0, np.uint8))
    recorder.close()
    white = [i for i, frame in enumerate(read_video(tmp_path / "a.avi").values) if frame.mean() > 128]
    assert white == [round(10 * (0.2 + lasts_s))]


def test_each_picture_has_its_time_along_the_lower_edge():
    frames = [Frame(np.zeros((480, 640, 3), np.uint8), time_s, 0.0, 0.0) for time_s in (1.0, 1.0, 2.0)]
    first, same, later = (annotate(Look(frame, None, None, 30.0), None) for frame in frames)
    assert (first == same).all() and np.argwhere(first != later)[:, 0].min() > 450


@pytest.mark.parametrize("rate_hz", [29.97, 59.94, 65.539, 119.873, 234.707])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_recorder_takes_any_rate(tmp_path, suffix, rate_hz):
    recorder = VideoRecorder(tmp_path / f"a{suffix}", rate_hz)
    for index in range(10):
        recorder.write(index / rate_hz, np.zeros((48, 64, 3), np.uint8))
    recorder.close()
    assert len(read_video(tmp_path / f"a{suffix}").values) == 10


def test_a_log_goes_on_behind_half_a_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"kind": "start"}\n{"kind": "predic')
    lines = JsonLines(str(path))
    lines.write({"kind": "end"})
    lines.close()
    assert path.read_text().splitlines() == ['{"kind": "start"}', '{"kind": "predic', '{"kind": "end"}']


def test_pictures_of_another_size_go_into_the_same_video(tmp_path):
    recorder = VideoRecorder(tmp_path / "a.avi", 10.0)
    recorder.write(0.0, np.zeros((48, 64, 3), np.uint8))
    recorder.write(0.1, np.full((96, 64, 3), 255, np.uint8))
    recorder.close()
    frames = list(read_video(tmp_path / "a.avi").values)
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 2 and frames[1].mean() > 240


def test_the_summary_does_not_grow_and_shows_no_percentile_of_too_few():
    summary = StreamSummary()
    for _ in range(10_050):
        summary.add(prediction())
    assert len(summary._latencies) == 10_000 and summary.predictions == 10_050
    few = StreamSummary()
    few.add(prediction())
    cells = [list(column.cells) for column in few.tables()[1].columns]
    assert cells[0][0] == "capture to result" and cells[3][0] == "-" and cells[4][0] == "12.00"


def test_the_recorder_repeats_the_picture_before_a_gap(tmp_path):
    recorder = VideoRecorder(tmp_path / "a.avi", 10.0)
    for time_s, shade in ((0.0, 0), (0.4, 255)):
        recorder.write(time_s, np.full((48, 64, 3), shade, np.uint8))
    recorder.close()
    assert [frame.mean() > 128 for frame in read_video(tmp_path / "a.avi").values] == [False] * 4 + [True]


def test_a_line_is_there_at_once(tmp_path):
    lines = JsonLines(str(tmp_path / "a.jsonl"))
    lines.write({"kind": "start"})
    assert json.loads((tmp_path / "a.jsonl").read_text()) == {"kind": "start"}
    lines.close()


def test_the_picture_has_the_colours_of_the_frame_and_of_depth_the_nearer_the_lighter():
    image = np.full((480, 640, 3), (200, 20, 30), np.uint8)
    assert annotate(look(image), None)[240, 320].tolist() == [30, 20, 200]  # BGR
    depth = np.repeat(np.array([[1000, 4000, 0, 0]], np.uint16), 160, axis=1).repeat(480, axis=0)
    near, far, nothing = (int(annotate(look(depth), None)[240, x, 0]) for x in (80, 240, 400))
    assert near > far > nothing == 0


def test_the_skeleton_stands_upright_and_its_left_is_blue():
    joints = np.zeros((20, 3))
    for index, name in enumerate(KINECT20):
        joints[index, 0] = {"left": -0.4, "right": 0.4}.get(name.split("_")[0], 0.0)
    joints[KINECT20.index("head"), 1], joints[KINECT20.index("left_foot"), 1] = 0.8, -0.6
    corner = annotate(look(np.zeros((480, 640, 3), np.uint8), None, joints), None, True)[:192, 448:]
    white, blue, red = (
        (corner == colour).all(axis=2).nonzero() for colour in ((255,) * 3, (230, 140, 50), (60, 60, 230))
    )
    assert white[0].min() < 50 and blue[0].max() > 140 > white[0].max()
    assert blue[1].mean() < 96 < red[1].mean()


def test_the_summary_has_the_rate_of_the_frames_and_the_drops_of_the_last_prediction():
    summary = StreamSummary()
    assert summary.frame_rate_hz is None
    for i in range(50):
        summary.saw_frame(i / 20)
        summary.add(prediction())
    assert summary.frame_rate_hz == pytest.approx(20) and summary.dropped_frames == 3


def test_the_rates_of_the_command_line_are_those_of_the_stream(make_bundle, monkeypatch):
    given = {}

    def stream(self, *_, **options):
        given.update(options)
        yield from ()

    monkeypatch.setattr(ActionRecognizer, "stream", stream)
    arguments = ["--source=a.mp4", "--frame_rate=10", "--skeleton_rate=20", "--inertial_rate=50"]
    assert live.main([f"--bundle={make_bundle('rgb')}", *arguments]) == 0
    assert [given[f"{kind}_rate_hz"] for kind in ("frame", "skeleton", "inertial")] == [10, 20, 50]
    assert given["real_time"] is True


def test_what_nohup_ignores_stays_ignored_and_nothing_else_does():
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, signal.SIGINT)}
    try:
        with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.wait(0.1)
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.wait(5) and stop.signal == signal.SIGINT
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_second_signal_ends_the_process_as_if_nobody_waited_for_the_first():
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as stop:
        assert signal.getsignal(signal.SIGTERM) != before
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5) and stop.signal == signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) == before
