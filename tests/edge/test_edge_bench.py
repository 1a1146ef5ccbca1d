"""The command edge/bench.py: every number of it was measured."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

import edge
from edge import bench, cold_start
from edge import measure_stream as measure_stream_module
from edge.bundle import read_bundle
from edge.cold_start import ColdStart, measure_cold_start
from edge.command import cpu_list
from edge.engines import EngineOptions
from edge.engines.choice import choose
from edge.errors import EdgeError
from edge.events import Latency, Predicted
from edge.measure import InputChoice, Times, make_input, measure_times, percentiles
from edge.measure_stream import Repeated, measure_stream
from edge.recognizer import ActionRecognizer

SCRIPT = Path(edge.__file__).with_name("bench.py")
ORT = "--engine=onnxruntime"


@pytest.fixture
def quick(monkeypatch):
    """No new processes, and no power meter whatever this machine has."""
    monkeypatch.setattr(bench, "measure_cold_start", lambda *_: ColdStart(1.0, 2.0, 3.0, None))
    monkeypatch.setattr(bench, "find_meter", lambda: None)


@pytest.fixture(scope="module")
def started():
    """The ways a user starts it; the first does not put the repository on the path."""
    return {"script": ([SCRIPT], False), "module": (["-m", "edge.bench"], True)}


@pytest.mark.parametrize("way", ["script", "module"])
def test_both_ways_to_start_it_write_the_same_report(make_bundle, run_python, tmp_path, started, way):
    start, on_path = started[way]
    folder, report = make_bundle("depth", "skeleton"), tmp_path / "bench.json"
    arguments = [f"--bundle={folder}", ORT, "--precision=int8", f"--json={report}", "--iterations=20", "--warmup=2"]
    done = run_python(*start, *arguments, on_path=on_path)
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(report.read_text())
    assert (result["iterations"], result["warmup"]) == (20, 2)
    (row,) = result["rows"]
    assert (row["engine"], row["precision"]) == ("onnxruntime", "int8")
    assert row["size_bytes"] == (folder / "model.int8.onnx").stat().st_size
    assert 0 < row["load_ms"] < row["cold_start_ms"] and row["first_prediction_ms"] > 0
    assert row["peak_memory_bytes"] > 10_000_000
    assert 0 < row["engine_ms"]["p50"] <= row["engine_ms"]["p90"]
    assert row["added_ms"]["p50"] < row["total_ms"]["p50"]
    assert row["overhead_percent"] == pytest.approx((row["added_ms"]["p50"] / row["engine_ms"]["p50"] - 1) * 100)
    assert row["fps"] == pytest.approx(4 * row["clips_per_s"])
    assert result["input"] == {"source": "random", "frames": [4, 240, 320], "skeleton": [68, 20, 3], "inertial": None}
    assert "onnxruntime  int8" in done.stdout
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []


def measured(folder, tmp_path, *options) -> dict:
    report = tmp_path / "bench.json"
    assert bench.main([f"--bundle={folder}", f"--json={report}", "--iterations=10", "--warmup=1", *options]) == 0
    return json.loads(report.read_text())


@pytest.mark.parametrize(("given", "expected"), [("all", ["fp32", "int8"]), ("int8,fp32,int8", ["int8", "fp32"])])
def test_several_precisions_are_compared_with_the_first(make_bundle, tmp_path, quick, given, expected):
    rows = measured(make_bundle("skeleton"), tmp_path, ORT, f"--precision={given}")["rows"]
    assert [row["precision"] for row in rows] == expected
    assert rows[0]["times_as_fast"] == 1.0
    ratio = rows[0]["engine_ms"]["p50"] / rows[1]["engine_ms"]["p50"]
    assert rows[1]["times_as_fast"] == pytest.approx(ratio)
    assert {row["compared_with"] for row in rows} == {f"onnxruntime {expected[0]}"}


def test_compare_has_a_row_for_all_that_works_here_and_a_reason_for_the_rest(make_bundle, tmp_path, quick, capsys):
    from edge.engines import ENGINES

    result = measured(make_bundle("skeleton"), tmp_path, "--compare")
    rows = [(row["engine"], row["precision"]) for row in result["rows"]]
    assert {("onnxruntime", "fp32"), ("onnxruntime", "int8")} <= set(rows) and len(rows) == len(set(rows))
    left = [entry["engine"] for entry in result["not_run"]]
    assert {engine for engine, _ in rows}.isdisjoint(left)
    assert {engine for engine, _ in rows} | set(left) == {entry.name for entry in ENGINES}
    printed = capsys.readouterr().out
    for entry in result["not_run"]:
        assert entry["why"] and f"not run: {entry['engine']}: {entry['why']}" in printed


@pytest.mark.parametrize("broken", ["onnxruntime int8", "onnxruntime"])
def test_compare_goes_on_without_what_does_not_start(make_bundle, tmp_path, quick, capsys, monkeypatch, broken):
    """A wheel of ONNX Runtime lists providers whose libraries are not there."""

    def start(path, choice, *_):
        if f"{choice.entry.name} {choice.precision}".startswith(broken):
            raise EdgeError("its libraries are not there")
        return ColdStart(1.0, 2.0, 3.0, None)

    monkeypatch.setattr(bench, "measure_cold_start", start)
    monkeypatch.setattr(bench, "ENGINES", [entry for entry in bench.ENGINES if entry.name == "onnxruntime"])
    folder = make_bundle("skeleton")
    if broken == "onnxruntime":
        assert bench.main([f"--bundle={folder}", "--compare"]) == 1
        assert capsys.readouterr().err.count("its libraries are not there") == 2
        return
    assert bench.main([f"--bundle={folder}", ORT, "--precision=int8"]) == 1
    result = measured(folder, tmp_path, "--compare")
    assert [(row["engine"], row["precision"]) for row in result["rows"]] == [("onnxruntime", "fp32")]
    assert "not run: onnxruntime int8: its libraries are not there" in capsys.readouterr().out


def test_an_engine_that_is_named_must_be_there(make_bundle, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    folder = make_bundle("skeleton")
    for options in (["--engine=openvino"], ["--engine=openvino", "--precision=all"]):
        assert bench.main([f"--bundle={folder}", *options]) == 1
        assert "pip install -r edge/requirements-openvino.txt" in capsys.readouterr().err


def test_a_number_that_was_not_measured_is_a_dash_and_null(make_bundle, tmp_path, capsys, quick):
    result = measured(make_bundle("skeleton"), tmp_path, ORT, "--precision=fp32")
    (row,) = result["rows"]
    assert row["peak_memory_bytes"] is None and row["power"] is None and result["power"] is None
    assert row["engine_ms"]["p90"] is not None and row["engine_ms"]["p99"] is None
    lines = capsys.readouterr().out.splitlines()
    cells = next(line for line in lines if line.startswith("onnxruntime")).split()
    assert len(cells) == len(bench_table_headings())
    by_name = {heading: cells[i] for i, heading in enumerate(bench_table_headings())}
    assert (by_name["p99 ms"], by_name["clip p99"], by_name["peak MiB"], by_name["load ms"]) == ("-", "-", "-", "1")
    assert "power and GPU load: not measured, there is no tegrastats and no jetson-stats here" in lines


def bench_table_headings():
    from edge import bench_table

    return bench_table._HEADINGS


@pytest.mark.parametrize("count, known", [(1, []), (2, ["p50"]), (10, ["p50", "p90"]), (100, ["p50", "p90", "p99"])])
def test_a_percentile_needs_enough_samples(count, known):
    values = percentiles([float(i) for i in range(count)])
    assert [name for name in ("p50", "p90", "p99") if getattr(values, name) is not None] == known


def test_percentiles_are_those_of_the_samples():
    values = percentiles([float(i) for i in range(101)])
    assert (values.p50, values.p90, values.p99, values.mean) == (50, 90, 99, 50)


def test_without_proc_the_peak_of_memory_is_unknown(monkeypatch, tmp_path):
    assert cold_start.peak_memory_bytes() > 10_000_000
    monkeypatch.setattr(cold_start, "_STATUS", tmp_path / "nothing")
    assert cold_start.peak_memory_bytes() is None


def test_memory_is_of_its_own_process(make_bundle):
    """A large array here must not be counted there."""
    ballast = np.ones(300_000_000, np.uint8)
    folder = make_bundle("skeleton")
    choice = choose(ActionRecognizer.from_bundle(folder, "onnxruntime").bundle, "onnxruntime")
    cold = measure_cold_start(folder, choice, EngineOptions(), InputChoice())
    assert cold.peak_memory_bytes < ballast.nbytes
    assert cold.load_ms + cold.first_prediction_ms < cold.cold_start_ms


def test_a_failure_in_the_new_process_is_told(make_bundle):
    folder = make_bundle("skeleton")
    choice = choose(ActionRecognizer.from_bundle(folder, "onnxruntime").bundle, "onnxruntime")
    (folder / "model.fp32.onnx").write_bytes(b"")
    cannot_load = "engine 'onnxruntime', precision 'fp32' fails in a new process: .*model.fp32.onnx"
    with pytest.raises(EdgeError, match=cannot_load):
        measure_cold_start(folder, choice, EngineOptions(), InputChoice())


class Recorder:
    name = "recorder"

    def __init__(self, name, calls):
        self._name, self._calls = name, calls

    def run(self, inputs):
        self._calls.append(self._name)
        return np.zeros((1, 6), np.float32)


def test_recognisers_take_turns_and_warm_up_does_not_count(make_bundle):
    bundle = ActionRecognizer.from_bundle(make_bundle("skeleton"), "onnxruntime").bundle
    calls = []
    recognizers = {name: ActionRecognizer(bundle, Recorder(name, calls), name) for name in "ab"}
    times = measure_times(recognizers, make_input(bundle, InputChoice()), warmup=2, iterations=4)
    assert "".join(calls) == "aabbbbaa" * 3  # each once alone and once in the recogniser
    for values in (times.engine_ms, times.added_ms, times.total_ms):
        assert [len(values[name]) for name in "ab"] == [4, 4]
    assert len(times.preprocess_ms) == 8
    whole, added = np.array(times.total_ms["a"]), np.array(times.added_ms["a"])
    np.testing.assert_allclose(whole - added, [times.preprocess_ms[i] for i in (0, 3, 4, 7)])


def test_what_the_recogniser_adds_is_in_percent_of_the_engine():
    times = Times([], {"a": [10.0, 20.0, 30.0]}, {"a": [20.9, 1.0, 90.0]}, {"a": []})
    assert times.overhead_percent("a") == pytest.approx(4.5)


def test_a_recording_can_stand_for_random_frames(make_bundle, write_video):
    bundle = ActionRecognizer.from_bundle(make_bundle("rgb", "skeleton")).bundle
    clip = make_input(bundle, InputChoice(clip=str(write_video(frames=12, size=(64, 48)))))
    assert len(clip.frames) == 4 and clip.frames[0].shape == (48, 64, 3) and clip.skeleton is None


def test_a_bundle_of_the_inertial_sensor_is_measured(make_bundle, samples, tmp_path, quick):
    folder = make_bundle("inertial")
    np.save(tmp_path / "i.npy", samples)
    for more, shape in (([], [180, 6]), ([f"--inertial={tmp_path / 'i.npy'}"], [80, 6])):
        result = measured(folder, tmp_path, ORT, *more)
        assert result["input"]["inertial"] == shape and result["input"]["skeleton"] is None
        assert result["rows"][0]["frames_per_clip"] == 8


def test_a_stated_size_is_the_size_of_the_frames(make_bundle):
    bundle = ActionRecognizer.from_bundle(make_bundle("rgb")).bundle
    assert make_input(bundle, InputChoice(size=(100, 50))).frames.shape == (4, 50, 100, 3)


@pytest.mark.parametrize(
    "options, code, message",
    [
        (["--size=640"], 2, "--size"),
        (["--size=64x48", "--clip=x.avi"], 2, "--size applies to random frames only"),
        (["--size=64x48", "--inertial=x.npy"], 2, "--size applies to random frames only"),
        (["--iterations=0"], 2, "a whole number from 1"),
        (["--compare", "--precision=int8"], 2, "--compare is --engine=all --precision=all"),
        (["--cpus=x"], 2, "CPUs like 0-3,6 are expected"),
        (["--engine=openvno"], 1, "did you mean 'openvino'"),
        (["--size=64x48"], 1, "reads skeleton, no video"),
        (["--clip=x.avi"], 1, "reads skeleton, no video"),
        (["--precision=fp16"], 1, "'fp16' was given"),
        (["--json=no/such/folder/bench.json"], 1, "there is no folder"),
    ],
)
def test_wrong_options_end_before_measuring(make_bundle, capsys, options, code, message):
    arguments = [f"--bundle={make_bundle('skeleton')}", *options]
    if code == 2:
        with pytest.raises(SystemExit) as caught:
            bench.main(arguments)
        assert caught.value.code == 2
    else:
        assert bench.main(arguments) == 1
    out, err = capsys.readouterr()
    assert message in err and out == ""


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path):
    report = tmp_path / "bench.json"
    report.write_text("old")
    with pytest.raises(ValueError):
        bench.write_json(report, {"x": float("nan")})
    assert report.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]


# --- as a stream -----------------------------------------------------------------------------------------


def test_a_stream_is_measured_at_the_rate_of_a_camera(make_bundle, edit_bundle, tmp_path, quick, capsys):
    folder = make_bundle("depth", "skeleton")
    edit_bundle(folder, lambda values: values["window"].update(duration_s=0.4))
    result = measured(folder, tmp_path, ORT, "--precision=fp32", "--stream", "--seconds=1.5", "--rate=40", "--stride=1")
    stream = result["rows"][0]["stream"]
    assert (stream["camera_rate_hz"], stream["seconds"], stream["stride"]) == (40, 1.5, 1)
    assert 3 <= stream["predictions"] <= 15  # an instant is 0.1 s
    assert stream["latency_ms"]["p50"] > 0 and stream["latency_ms"]["p99"] is None
    assert stream["latency_ms"]["p50"] >= stream["parts_ms"]["inference_ms"] > 0
    assert stream["widest_stride"] >= 1 and stream["dropped_frames"] >= 0
    assert "stream of 1.5 s at 40 frames/s, stride 1" in capsys.readouterr().out


def test_without_stream_none_is_shown(make_bundle, tmp_path, quick, capsys):
    assert measured(make_bundle("skeleton"), tmp_path, ORT)["rows"][0]["stream"] is None
    assert "stream of" not in capsys.readouterr().out


def test_a_bundle_without_video_is_streamed_at_the_rate_of_its_sensor(make_bundle, edit_bundle, tmp_path, quick):
    folder = make_bundle("inertial")
    edit_bundle(folder, lambda values: values["window"].update(duration_s=0.4))
    options = (ORT, "--precision=fp32", "--stream", "--seconds=1")
    stream = measured(folder, tmp_path, *options)["rows"][0]["stream"]
    assert stream["predictions"] >= 2 and stream["camera_rate_hz"] == 50
    slower = measured(folder, tmp_path, *options, "--rate=10", "--stride=1")["rows"][0]["stream"]
    assert slower["camera_rate_hz"] == 10 and 3 <= slower["predictions"] <= 7


def test_a_stream_shorter_than_a_window_is_refused(make_bundle, capsys, quick):
    options = [f"--bundle={make_bundle('skeleton')}", ORT, "--precision=fp32", "--iterations=2", "--warmup=1"]
    assert bench.main([*options, "--stream", "--seconds=0.5"]) == 1
    assert "more than a window of 2.2 s is expected" in capsys.readouterr().err


def test_a_slow_engine_drops_windows_and_says_so(make_bundle, edit_bundle):
    folder = make_bundle("skeleton")
    edit_bundle(folder, lambda values: values["window"].update(duration_s=0.4))
    recognizer = ActionRecognizer.from_bundle(folder, "onnxruntime", "fp32")
    run_it = recognizer.engine.run

    class Slow:
        name = "slow"

        def run(self, inputs):
            time.sleep(0.25)
            return run_it(inputs)

    recognizer.engine = Slow()
    clip = make_input(recognizer.bundle, InputChoice())
    times = measure_stream(recognizer, clip, rate_hz=30.0, seconds=2.0, stride=1)
    assert times.widest_stride >= 2 and times.stride == 1
    assert times.parts_ms["inference_ms"] >= 250


def test_repeated_entries_start_again(depth_frames):
    frames = Repeated(depth_frames, 23)
    assert len(frames) == 23
    np.testing.assert_array_equal(frames[21], depth_frames[1])
    assert frames[21].base is not None  # no copy


def test_a_recording_is_not_replaced_by_what_was_measured(make_bundle, tmp_path, capsys):
    skeleton = tmp_path / "s.npy"
    np.save(skeleton, np.zeros((20, 20, 3)))
    before = skeleton.read_bytes()
    assert bench.main([f"--bundle={make_bundle('skeleton')}", f"--skeleton={skeleton}", f"--json={skeleton}"]) == 1
    assert skeleton.read_bytes() == before and "which is read" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--rate=5", "--seconds=9", "--stride=2"])
def test_how_a_stream_is_measured_is_refused_where_none_is(make_bundle, option, capsys):
    with pytest.raises(SystemExit, match="2"):
        bench.main([f"--bundle={make_bundle('skeleton')}", option])
    assert "give --stream, too" in capsys.readouterr().err


def test_a_precision_that_some_engines_lack_is_measured_by_the_others(make_bundle, monkeypatch):
    bundle = read_bundle(make_bundle("rgb"))
    real = bench.choose

    def choose(bundle, engine="auto", precision="auto"):
        if engine == "onnxruntime":
            raise EdgeError("engine 'onnxruntime' cannot run precision 'int8'")
        return real(bundle, engine, precision)

    monkeypatch.setattr(bench, "choose", choose)
    choices, not_run = bench.pick(bundle, "all", "fp32")
    assert not any(name.startswith("onnxruntime ") for name in choices)
    assert "onnxruntime" in [entry["engine"] for entry in not_run]


def test_a_result_goes_through_a_link_and_to_a_device(tmp_path):
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    bench.write_json(tmp_path / "link.json", {"a": 1})
    assert (tmp_path / "link.json").is_symlink() and json.loads((tmp_path / "real.json").read_text()) == {"a": 1}
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    bench.write_json(tmp_path / "pipe", {"b": 2})
    assert json.loads(os.read(reader, 100)) == {"b": 2} and (tmp_path / "pipe").is_fifo()
    os.close(reader)


def test_a_result_goes_to_stdout_by_its_device(run_python):
    code = "from edge import bench; from pathlib import Path; bench.write_json(Path('/dev/stdout'), {'a': 1})"
    assert json.loads(run_python("-c", code).stdout) == {"a": 1}


def test_what_a_stream_did_is_what_its_events_say(make_bundle, monkeypatch):
    recognizer = ActionRecognizer.from_bundle(make_bundle("skeleton"), "onnxruntime", "fp32")
    latency = Latency(12.0, 1.0, 2.0, 7.0, 1.0, 1.0)
    said = [Predicted(t, 0.0, t, "wave", 0.9, (), (), latency, int(t), 2, ()) for t in (0.5, 3.0, 9.0)]
    monkeypatch.setattr(ActionRecognizer, "stream", lambda *_, **__: iter(said))
    resident_bytes = iter([100, 175])
    monkeypatch.setattr(measure_stream_module, "status_bytes", lambda _: next(resident_bytes))
    clip = make_input(recognizer.bundle, InputChoice())
    times = measure_stream(recognizer, clip, rate_hz=None, seconds=10.0, stride=None)
    assert (times.predictions, times.dropped_frames, times.stride, times.widest_stride) == (3, 9, 2, 2)
    assert times.memory_growth_bytes == 75 and times.parts_ms["inference_ms"] == 7.0


def test_clips_a_second_are_those_of_the_mean_time(make_bundle, tmp_path, quick, capsys):
    (row,) = measured(make_bundle("skeleton"), tmp_path, ORT, "--precision=fp32")["rows"]
    assert row["clips_per_s"] == pytest.approx(1000 / row["total_ms"]["mean"])
    cells = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("onnxruntime")).split()
    assert cells[bench_table_headings().index("file MiB")] == f"{row['size_bytes'] / 2**20:.1f}"


def test_the_peak_is_the_largest_memory_there_was(monkeypatch, tmp_path):
    (tmp_path / "status").write_text("Name:\tpython\nVmPeak:\t    9 kB\nVmHWM:\t    5 kB\nVmRSS:\t    3 kB\n\n")
    monkeypatch.setattr(cold_start, "_STATUS", tmp_path / "status")
    assert cold_start.peak_memory_bytes() == 5 * 1024


def test_a_list_of_cpus_has_both_ends_of_each_range():
    assert cpu_list("0-3,6") == (0, 1, 2, 3, 6)
