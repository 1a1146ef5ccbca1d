"""Folders of recordings: matched by name, reported row by row, gone on with, drawn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import edge
from edge import ActionRecognizer, media, predict
from edge.events import Ended, Latency, Predicted
from edge.items import Item
from edge.media import read_video
from edge.recognizer import Score
from edge.report import Report
from edge.timeline import draw_timeline


@pytest.fixture
def videos(write_video, tmp_path):
    """A folder with three good videos, one of them in a folder of its own, two bad ones and a text."""
    folder = tmp_path / "videos"
    (folder / "more").mkdir(parents=True)
    for name in ("a.avi", "b.mp4", "more/c.avi"):
        path = write_video(os.path.basename(name), frames=60, colour=lambda i: ((11 * i) % 256, (29 * i) % 256, 40))
        path.rename(folder / name)
    (folder / "broken.avi").write_bytes((folder / "a.avi").read_bytes()[:300])
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "notes.txt").write_text("no video")
    return folder


def rows_of(out):
    head, *rows = [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]
    return head, rows


def test_a_folder_is_one_report_and_a_bad_file_one_row_of_it(make_bundle, videos, tmp_path, capsys):
    folder, out = make_bundle("rgb"), tmp_path / "out"
    assert predict.main([f"--bundle={folder}", str(videos), f"--output={out}"]) == 1
    captured = capsys.readouterr()
    head, rows = rows_of(out)
    assert head["model"] == "tiny" and head["precision"] == "fp32"
    assert [Path(row["clip"]).name for row in rows] == ["a.avi", "b.mp4", "broken.avi", "empty.mp4", "c.avi"]
    assert ["error" in row for row in rows] == [False, False, True, True, False]
    expected = ActionRecognizer.from_bundle(folder).predict(read_video(videos / "b.mp4").values)
    assert (rows[1]["action"], rows[1]["confidence"]) == (expected.action, expected.confidence)
    assert captured.err.count("error: ") == 2
    assert "5 of 5: 3 predicted, 2 could not be" in captured.out and "report.jsonl" in captured.out


def test_the_next_run_makes_what_is_missing_failed_or_changed(make_bundle, videos, tmp_path, monkeypatch, capsys):
    folder, out = make_bundle("rgb"), tmp_path / "out"
    arguments = [f"--bundle={folder}", str(videos), f"--output={out}"]
    predict.main(arguments)
    report = out / "report.jsonl"
    report.write_text(report.read_text()[:-40])  # killed while it wrote the last row
    (videos / "b.mp4").write_bytes((videos / "a.avi").read_bytes())
    (videos / "empty.mp4").write_bytes((videos / "a.avi").read_bytes())
    made = []
    real = predict.predict_files
    monkeypatch.setattr(predict, "predict_files", lambda r, item, a: made.append(item.key) or real(r, item, a))
    capsys.readouterr()
    assert predict.main(arguments) == 1
    assert made == ["b", "broken", "empty", "c"]
    _, rows = rows_of(out)
    good = sorted(Path(row["clip"]).name for row in rows if "error" not in row)
    assert good == ["a.avi", "b.mp4", "c.avi", "empty.mp4"]
    assert "(1 of them before)" in capsys.readouterr().out
    made.clear()
    predict.main(arguments)
    assert made == ["broken"]


def test_a_report_of_something_else_is_not_gone_on_with(make_bundle, videos, tmp_path, capsys):
    folder, out = make_bundle("rgb"), tmp_path / "out"
    arguments = [f"--bundle={folder}", str(videos), f"--output={out}"]
    predict.main(arguments)
    before = (out / "report.jsonl").read_bytes()
    assert predict.main([*arguments, "--precision=int8"]) == 1
    assert "another precision: fp32, now int8" in capsys.readouterr().err
    assert predict.main([*arguments, "--frame_rate=10"]) == 1
    assert "other settings: frame_rate None, now 10.0" in capsys.readouterr().err
    assert (out / "report.jsonl").read_bytes() == before
    (out / "report.jsonl").write_text("my diary\n")
    assert predict.main(arguments) == 1
    assert "no report of this command" in capsys.readouterr().err
    assert (out / "report.jsonl").read_text() == "my diary\n"


def test_visualize_writes_a_video_a_timeline_and_the_events(make_bundle, videos, tmp_path, capsys):
    folder, out = make_bundle("rgb"), tmp_path / "out"
    arguments = [f"--bundle={folder}", str(videos), f"--output={out}", "--visualize", "--threshold=0", "--stride=1"]
    assert predict.main([*arguments, "--json"]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    good = [row for row in rows if "error" not in row]
    assert len(good) == 3
    for row in good:
        assert len(read_video(row["video"]).values) == 60
        assert cv2.imread(row["timeline"]).shape[1] == 1400
        assert row["events"] and row["events"][0]["stop_s"] >= row["events"][0]["start_s"] > 1
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [*(f"{name}.{kind}" for name in "abc" for kind in ("mp4", "png")), "report.jsonl", ".drawn.jsonl"]
    )


@pytest.mark.parametrize("kind", ["video", "timeline"])
def test_what_was_drawn_and_is_gone_is_drawn_again(make_bundle, write_video, tmp_path, kind):
    arguments = [
        f"--bundle={make_bundle('rgb')}",
        str(write_video(frames=60)),
        f"--output={tmp_path / 'out'}",
        "--visualize",
    ]
    assert predict.main(arguments) == 0
    _, (before,) = rows_of(tmp_path / "out")
    Path(before[kind]).unlink()
    assert predict.main(arguments) == 0
    _, (after,) = rows_of(tmp_path / "out")
    assert Path(after[kind]).is_file() and after["action"] == before["action"]


def test_a_recording_shorter_than_a_window_has_a_video_and_no_timeline(make_bundle, write_video, tmp_path, capsys):
    arguments = [f"--bundle={make_bundle('rgb')}", str(write_video(frames=5)), f"--output={tmp_path / 'out'}"]
    assert predict.main([*arguments, "--visualize"]) == 0
    _, (row,) = rows_of(tmp_path / "out")
    assert row["timeline"] is None and row["events"] == [] and Path(row["video"]).is_file()
    assert "clip.mp4, no timeline: shorter than a window" in capsys.readouterr().out


def test_a_recording_is_not_drawn_over_itself(make_bundle, videos, capsys):
    before = (videos / "b.mp4").read_bytes()
    clips = [str(videos / name) for name in ("a.avi", "b.mp4")]
    assert predict.main([f"--bundle={make_bundle('rgb')}", *clips, f"--output={videos}", "--visualize"]) == 1
    assert (videos / "b.mp4").read_bytes() == before
    assert "b.mp4 is there already and was not drawn here" in capsys.readouterr().err
    drawn = {Path(row["clip"]).name: row.get("video") for row in rows_of(videos)[1]}
    assert Path(drawn["a.avi"]).is_file() and drawn["b.mp4"] is None


def test_what_was_drawn_is_no_recording_of_the_next_run(make_bundle, videos, capsys):
    folder = make_bundle("rgb")
    for _ in range(2):
        predict.main([f"--bundle={folder}", str(videos), f"--output={videos / 'out'}", "--visualize"])
        assert "5 of 5: 3 predicted" in capsys.readouterr().out
    for _ in range(2):  # beside the clips, of which b.mp4 is one
        assert predict.main([f"--bundle={folder}", str(videos), f"--output={videos}", "--visualize"]) == 1
        assert "5 of 5: 2 predicted" in capsys.readouterr().out and (videos / "a.mp4").is_file()


def test_rows_of_recordings_that_are_not_given_stay_and_so_does_what_was_drawn_of_them(
    make_bundle, write_video, tmp_path, capsys
):
    arguments = [f"--bundle={make_bundle('rgb')}", f"--output={tmp_path / 'out'}", "--visualize"]
    days = []
    for day in ("one", "two"):
        (tmp_path / day).mkdir()
        days.append(write_video(frames=60).rename(tmp_path / day / "clip.avi"))
    assert predict.main([*arguments, str(days[0])]) == 0
    drawn = (tmp_path / "out/clip.mp4").read_bytes()
    (tmp_path / "one").rename(tmp_path / "away")
    assert predict.main([*arguments, str(days[1])]) == 1
    assert "clip.mp4 shows another recording" in capsys.readouterr().err
    assert (tmp_path / "out/clip.mp4").read_bytes() == drawn
    assert [row["clip"] for row in rows_of(tmp_path / "out")[1]] == [str(day) for day in days]
    (tmp_path / "away").rename(tmp_path / "one")
    assert predict.main([*arguments, str(days[0])]) == 0
    assert len(rows_of(tmp_path / "out")[1]) == 2


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no terminals to be had")
def test_rows_go_to_the_file_that_stdout_is_though_the_bar_is_seen(make_bundle, videos, tmp_path):
    terminal, end = os.openpty()
    command = [sys.executable, "-m", "edge.predict", f"--bundle={make_bundle('rgb')}", videos, "--json"]
    environment = {**os.environ, "PYTHONPATH": str(Path(edge.__file__).parents[1]), "TERM": "xterm"}
    with open(tmp_path / "rows.jsonl", "wb") as rows:
        subprocess.run(command, env=environment, stdout=rows, stderr=end, timeout=120)
    os.close(end)
    seen = os.read(terminal, 1 << 20).decode(errors="replace")
    os.close(terminal)
    assert len([json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]) == 5
    assert "5/5" in seen or "/5" in seen


def test_what_nobody_drew_here_is_not_drawn_over(make_bundle, write_video, tmp_path, capsys):
    write_video("walk.mp4", frames=60).rename(tmp_path / "mine.mp4")
    clip = write_video("walk.avi", frames=60)
    (tmp_path / "mine.mp4").rename(tmp_path / "walk.mp4")
    before = (tmp_path / "walk.mp4").read_bytes()
    assert predict.main([f"--bundle={make_bundle('rgb')}", str(clip), f"--output={tmp_path}", "--visualize"]) == 1
    assert "walk.mp4 is there already and was not drawn here" in capsys.readouterr().err
    assert (tmp_path / "walk.mp4").read_bytes() == before


@pytest.mark.parametrize("event", ["killed before the row", "report removed", "folder moved", "clip touched"])
def test_what_was_drawn_is_drawn_again_whatever_came_between(make_bundle, write_video, tmp_path, event):
    out, clip = tmp_path / "o", write_video(frames=60)
    arguments = [f"--bundle={make_bundle('rgb')}", str(clip), "--visualize"]
    assert predict.main([*arguments, f"--output={out}"]) == 0
    if event == "killed before the row":
        (out / "report.jsonl").write_text((out / "report.jsonl").read_text().splitlines()[0] + "\n")
    elif event == "report removed":
        (out / "report.jsonl").unlink()
    elif event == "folder moved":
        out = out.rename(tmp_path / "moved")
    else:
        os.utime(clip, (1, 1))
    assert predict.main([*arguments, f"--output={out}"]) == 0
    _, (row,) = rows_of(out)
    assert Path(row["video"]) == out / "clip.mp4"


def test_what_was_drawn_before_there_was_a_list_of_it_is_known_by_its_row(make_bundle, write_video, tmp_path):
    out, clip = tmp_path / "o", write_video(frames=60)
    arguments = [f"--bundle={make_bundle('rgb')}", str(clip), "--visualize", f"--output={out}"]
    assert predict.main(arguments) == 0
    (out / ".drawn.jsonl").unlink()
    os.utime(clip, (1, 1))
    assert predict.main(arguments) == 0


def test_a_recording_is_the_same_however_its_path_is_written(make_bundle, write_video, tmp_path, monkeypatch):
    write_video(frames=60)
    arguments = [f"--bundle={make_bundle('rgb')}", "--visualize"]
    monkeypatch.chdir(tmp_path)
    assert predict.main([*arguments, "clip.avi", "--output=out"]) == 0
    assert predict.main([*arguments, str(tmp_path / "clip.avi"), f"--output={tmp_path}/out"]) == 0
    assert len(rows_of(tmp_path / "out")[1]) == 1


def test_a_recording_is_the_same_from_another_folder(make_bundle, write_video, tmp_path, monkeypatch):
    """Another one has the same name there."""
    arguments = [f"--bundle={make_bundle('rgb')}", "--visualize"]
    for name in ("one", "two"):
        (tmp_path / name / "deep").mkdir(parents=True)
        write_video(frames=60 if name == "one" else 70).rename(tmp_path / name / "clip.avi")
    monkeypatch.chdir(tmp_path)
    assert predict.main([*arguments, "one/clip.avi", "--output=out"]) == 0
    made = []
    real = predict.predict_files
    monkeypatch.setattr(predict, "predict_files", lambda r, item, a: made.append(item.clip) or real(r, item, a))
    monkeypatch.chdir(tmp_path / "one" / "deep")
    assert predict.main([*arguments, "../clip.avi", "../../two/clip.avi", "--output=../../out"]) == 0
    assert made == ["../../two/clip.avi"]
    first, second = rows_of(tmp_path / "out")[1]
    assert (first["clip"], second["clip"]) == ("one/clip.avi", "../../two/clip.avi")
    assert first["video"].startswith("../../out/") and Path(first["video"]).is_file()


def test_rows_that_do_not_say_where_their_files_are_stay_and_are_gone_on_with(make_bundle, videos, tmp_path):
    out = tmp_path / "out"
    arguments = [f"--bundle={make_bundle('rgb')}", f"--output={out}"]
    clips = [str(videos / name) for name in ("a.avi", "b.mp4")]
    assert predict.main([*arguments, *clips]) == 0
    head, rows = rows_of(out)
    for row in rows:
        del row["places"]
    (out / "report.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (head, *rows)))
    assert predict.main([*arguments, clips[0]]) == 0
    assert rows_of(out)[1] == rows


def test_a_recording_is_the_same_by_a_link_to_its_folder(make_bundle, write_video, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_video(frames=60).rename(tmp_path / "real" / "clip.avi")
    arguments = [f"--bundle={make_bundle('rgb')}", "--visualize", f"--output={tmp_path / 'out'}"]
    real, link = (str(tmp_path / folder / "clip.avi") for folder in ("real", "link"))
    assert predict.main([*arguments, link]) == 0 == predict.main([*arguments, real])
    assert [row["clip"] for row in rows_of(tmp_path / "out")[1]] == [link]


def test_a_name_that_is_not_utf_8_is_one_bad_row(make_bundle, write_video, tmp_path, run_python):
    folder = write_video("good.avi").parent / "videos"
    folder.mkdir()
    os.link(tmp_path / "good.avi", folder / "good.avi")
    os.link(tmp_path / "good.avi", os.path.join(os.fsencode(folder), b"caf\xe9.avi"))
    done = run_python("-m", "edge.predict", f"--bundle={make_bundle('rgb')}", folder, f"--output={tmp_path}/o")
    assert done.returncode == 1, done.stderr
    assert "has a name that is not UTF-8" in done.stderr and "2 of 2: 1 predicted" in done.stdout


def test_a_name_with_a_colon_is_no_address(make_bundle, write_video, tmp_path, monkeypatch):
    write_video("good.avi").rename(tmp_path / "2024-05-01T12:30:05.avi")
    monkeypatch.chdir(tmp_path)
    assert predict.main([f"--bundle={make_bundle('rgb')}", "2024-05-01T12:30:05.avi"]) == 0


@pytest.mark.parametrize("given", ["--skeleton=", ""])
def test_an_empty_name_is_refused(make_bundle, given, capsys):
    with pytest.raises(SystemExit):
        predict.main([f"--bundle={make_bundle('rgb')}", given])
    assert "an empty name was given" in capsys.readouterr().err


def test_of_a_folder_each_line_says_where_no_timeline_is(make_bundle, write_video, tmp_path, capsys):
    folder = write_video(frames=5).parent
    assert predict.main([f"--bundle={make_bundle('rgb')}", str(folder), f"--output={tmp_path}/o", "--visualize"]) == 0
    assert "clip.avi (no timeline: shorter than a window)" in capsys.readouterr().out


def test_how_a_stream_is_watched_is_refused_where_none_is(make_bundle, write_video, capsys):
    assert predict.main([f"--bundle={make_bundle('rgb')}", str(write_video()), "--threshold=0.9"]) == 1
    assert "give --visualize" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_after_whole_rows_and_the_next_run_goes_on(make_bundle, write_video, tmp_path, number):
    folder, videos, out = make_bundle("rgb"), tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    clip = write_video("a.avi", frames=200, size=(640, 480))
    for i in range(30):
        os.link(clip, videos / f"{i:02}.avi")
    command = [sys.executable, "-m", "edge.predict", f"--bundle={folder}", videos, f"--output={out}", "--visualize"]
    environment = {**os.environ, "PYTHONPATH": str(Path(edge.__file__).parents[1])}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while not (out / "00.mp4").is_file() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        said, complaints = process.communicate(timeout=30)
    assert process.returncode == 128 + number and complaints == ""
    _, rows = rows_of(out)
    assert 1 <= len(rows) < 30 and f"{len(rows)} of 30: {len(rows)} predicted" in said
    assert sorted(path.name for path in out.glob("*.mp4")) == [f"{i:02}.mp4" for i in range(len(rows))]
    assert [path.name for path in out.glob(".*")] == [".drawn.jsonl"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_breaks_off_a_long_recording_and_keeps_the_rows_before_it(
    make_bundle, write_video, tmp_path, monkeypatch, capsys, number
):
    """The second file takes a minute to read."""
    clips = [write_video("a.avi"), write_video("long.avi"), write_video("z.avi")]
    real = media.open_capture

    class Long:
        def grab(self):
            if not reading:
                threading.Timer(0.3, os.kill, (os.getpid(), number)).start()
                reading.append(time.monotonic())
            time.sleep(0.02)
            return time.monotonic() < reading[0] + 60

        def get(self, key):
            return 0.0

    reading = []
    monkeypatch.setattr(media, "open_capture", lambda path: Long() if "long" in path else real(path))
    arguments = [f"--bundle={make_bundle('rgb')}", *map(str, clips), f"--output={tmp_path / 'out'}", "--json"]
    assert predict.main(arguments) == 128 + number
    assert time.monotonic() - reading[0] < 20
    printed = [json.loads(line)["clip"] for line in capsys.readouterr().out.splitlines()]
    assert printed == [row["clip"] for row in rows_of(tmp_path / "out")[1]] == [str(clips[0])]


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a process cannot be asked for by its number")
def test_what_a_killed_run_left_half_is_removed_by_the_next_and_nothing_else_is(make_bundle, write_video, tmp_path):
    clip, out = write_video("a[1].avi", frames=400, size=(640, 480)), tmp_path / "out"
    command = [f"--bundle={make_bundle('rgb')}", str(clip), f"--output={out}", "--visualize"]
    environment = {**os.environ, "PYTHONPATH": str(Path(edge.__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-m", "edge.predict", *command], env=environment, stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 60
        while not list(out.glob(".a*.mp4")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
    left = out / f".a[1].{process.pid}.mp4"
    living, others = (
        out / f".a[1].{os.getppid()}.mp4",
        [out / name for name in (".a[1].x.mp4", f".b.{process.pid}.mp4")],
    )
    for path in (living, *others):
        path.write_bytes(b"mine")
    (out / f".report.jsonl.{process.pid}.tmp").write_text("half")
    assert left.is_file()
    assert predict.main(command) == 0
    kept = sorted([".drawn.jsonl", *(path.name for path in (living, *others))])
    assert sorted(path.name for path in out.glob(".*")) == kept and (out / "a[1].mp4").is_file()


def test_a_signal_between_the_video_and_its_row_leaves_both(make_bundle, videos, tmp_path, monkeypatch):
    def replace(source, target):
        os.rename(source, target)
        if target.endswith(".mp4"):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(os, "replace", replace)
    arguments = [f"--bundle={make_bundle('rgb')}", str(videos), f"--output={tmp_path / 'out'}", "--visualize"]
    assert predict.main(arguments) == 128 + signal.SIGTERM
    _, rows = rows_of(tmp_path / "out")
    assert [Path(row["video"]).name for row in rows] == [path.name for path in (tmp_path / "out").glob("*.mp4")]
    assert len(rows) == 1


@pytest.mark.parametrize(
    "arguments, message",
    [(["x.avi", "--visualize"], "--output=FOLDER"), ([".", "."], "of folders, one")],
)
def test_wrong_arguments_end_with_code_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        predict.main(["--bundle=b", *arguments])
    assert caught.value.code == 2 and message in capsys.readouterr().err


# --- the timeline ---------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of a POSIX shell")
def test_a_reader_that_goes_away_ends_it_quietly(make_bundle, videos):
    command = f"{sys.executable} -m edge.predict --bundle={make_bundle('rgb')} {videos} --json | head -0"
    environment = {**os.environ, "PYTHONPATH": str(Path(edge.__file__).parents[1])}
    done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr and "Broken" not in done.stderr


def predicted(time_s, **shares):
    scores = tuple(Score(action, share) for action, share in sorted(shares.items(), key=lambda pair: -pair[1]))
    latency = Latency(1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
    return Predicted(
        time_s, time_s - 2, time_s, scores[0].action, scores[0].confidence, scores, scores, latency, 0, 8, ()
    )


def test_a_curve_is_high_where_its_action_is_probable():
    predictions = [predicted(t, wave=0.9 if t < 50 else 0.1, clap=0.1 if t < 50 else 0.9) for t in range(2, 100)]
    picture = draw_timeline(predictions, [Ended(49.0, "wave", 2.0, 49.0, 0.9)], 0.5)
    wave = (picture == (178, 114, 0)).all(axis=2)
    early, late = wave[20:340, 100:500], wave[20:340, 700:1100]
    assert np.nonzero(early)[0].mean() < 60 < 250 < np.nonzero(late)[0].mean()
    said = wave[346:386, 60:1170].any(axis=0)
    assert said[100:500].all() and not said[650:].any()


@pytest.mark.parametrize("count", [1, 2, 5000])
def test_a_stream_of_any_length_has_a_timeline(count):
    picture = draw_timeline([predicted(0.1 * i, wave=0.6, clap=0.4) for i in range(count)], [], 0.5)
    assert picture.shape[1] == 1400 and (picture != 255).any()


def test_a_recording_is_made_again_if_any_file_of_it_was_changed(
    make_bundle, write_video, skeletons, tmp_path, monkeypatch
):
    clip, joints = write_video(), tmp_path / "s.npy"
    np.save(joints, skeletons)
    arguments = [f"--bundle={make_bundle('rgb', 'skeleton')}", str(clip), f"--skeleton={joints}"]
    made = []
    real = predict.predict_files
    monkeypatch.setattr(predict, "predict_files", lambda r, item, a: made.append(item.key) or real(r, item, a))
    for change in (lambda: None, lambda: os.utime(clip, (1, 1)), lambda: np.save(joints, skeletons[:20])):
        change()
        for _ in range(2):
            assert predict.main([*arguments, f"--output={tmp_path / 'out'}"]) == 0
    assert len(made) == 3


@pytest.mark.parametrize("what", ["bundle_sha256", "engine", "settings: visualize"])
def test_a_report_by_another_bundle_engine_or_rule_is_not_gone_on_with(
    make_bundle, edit_bundle, write_video, tmp_path, capsys, what
):
    folder, out = make_bundle("rgb"), tmp_path / "out"
    arguments = [f"--bundle={folder}", str(write_video()), f"--output={out}", "--visualize"]
    assert predict.main(arguments) == 0
    if what == "bundle_sha256":
        edit_bundle(folder, lambda values: values.update(temperature=2.0))
    elif what == "engine":
        text = (out / "report.jsonl").read_text()
        (out / "report.jsonl").write_text(text.replace('"engine": "', '"engine": "another-', 1))
    else:
        arguments.append("--threshold=0.9")
    assert predict.main(arguments) == 1
    assert f"other {what}" in capsys.readouterr().err.replace("another", "other")


def test_a_picture_that_nobody_drew_here_is_not_drawn_over(make_bundle, write_video, tmp_path, capsys):
    clip = write_video("walk.avi", frames=60)
    (tmp_path / "walk.png").write_bytes(b"mine")
    assert predict.main([f"--bundle={make_bundle('rgb')}", str(clip), f"--output={tmp_path}", "--visualize"]) == 1
    assert "walk.png is there already and was not drawn here" in capsys.readouterr().err
    assert (tmp_path / "walk.png").read_bytes() == b"mine"


def test_a_row_is_in_the_file_as_soon_as_it_is_known(make_bundle, tmp_path):
    """Who is killed then has lost at most the recording that is under way."""
    item = Item("a.avi", None, None)
    report = Report(tmp_path, ActionRecognizer.from_bundle(make_bundle("rgb")), {}, [item])
    report.add({"clip": "a.avi"})
    assert rows_of(tmp_path)[1] == [{"clip": "a.avi"}]
    report.close()
