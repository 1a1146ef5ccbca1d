"""The command edge/bench.py: every number of it was measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import edge
from edge import bench, measure
from edge.measure import InputChoice, make_input, measure_times, percentiles
from edge.recognizer import ActionRecognizer

SCRIPT = Path(edge.__file__).with_name("bench.py")


@pytest.fixture(scope="module")
def started():
    """The ways a user starts it; the first does not put the repository on the path."""
    return {"script": ([SCRIPT], False), "module": (["-m", "edge.bench"], True)}


@pytest.mark.parametrize("way", ["script", "module"])
def test_both_ways_to_start_it_write_the_same_report(make_bundle, run_python, tmp_path, started, way):
    start, on_path = started[way]
    folder, report = make_bundle("depth", "skeleton"), tmp_path / "bench.json"
    arguments = [f"--bundle={folder}", "--precision=int8", f"--json={report}", "--iterations=20", "--warmup=2"]
    done = run_python(*start, *arguments, on_path=on_path)
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(report.read_text())
    assert (result["iterations"], result["warmup"], list(result["precisions"])) == (20, 2, ["int8"])
    entry = result["precisions"]["int8"]
    assert entry["size_bytes"] == (folder / "model.int8.onnx").stat().st_size
    assert entry["load_ms"] > 0 and entry["first_prediction_ms"] > 0
    assert entry["peak_memory_bytes"] > 10_000_000
    assert 0 < entry["inference_ms"]["p50"] <= entry["inference_ms"]["p90"] <= entry["total_ms"]["p90"]
    assert entry["fps"] == pytest.approx(4 * entry["clips_per_s"])
    assert result["input"] == {"source": "random", "frames": [4, 240, 320], "skeleton": [68, 20, 3], "inertial": None}
    assert "inference int8" in done.stdout
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []


def test_several_precisions_are_compared_with_the_first(make_bundle, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "measure_alone", lambda *_: measure.Alone(1.0, 2.0, None))
    folder, report = make_bundle("skeleton"), tmp_path / "bench.json"
    for given, expected in (("all", ["fp32", "int8"]), ("int8,fp32,int8", ["int8", "fp32"])):
        assert bench.main([f"--bundle={folder}", f"--precision={given}", f"--json={report}"]) == 0
        result = json.loads(report.read_text())["precisions"]
        assert list(result) == expected
        assert result[expected[0]]["times_as_fast"] == 1.0
        ratio = result[expected[0]]["inference_ms"]["p50"] / result[expected[1]]["inference_ms"]["p50"]
        assert result[expected[1]]["times_as_fast"] == pytest.approx(ratio)
        assert {entry["compared_with"] for entry in result.values()} == {expected[0]}


def test_a_number_that_was_not_measured_is_a_dash_and_null(make_bundle, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "measure_alone", lambda *_: measure.Alone(1.0, 2.0, None))
    report = tmp_path / "bench.json"
    bench.main([f"--bundle={make_bundle('skeleton')}", "--precision=fp32", "--iterations=10", f"--json={report}"])
    entry = json.loads(report.read_text())["precisions"]["fp32"]
    assert entry["peak_memory_bytes"] is None
    assert entry["inference_ms"]["p90"] is not None and entry["inference_ms"]["p99"] is None
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("inference fp32"))
    _, _, p50, p90, p99, _, _, load_ms, peak, _ = row.split()
    assert (p99, peak) == ("-", "-") and load_ms == "1" and float(p50) <= float(p90)


@pytest.mark.parametrize("count, known", [(1, []), (2, ["p50"]), (10, ["p50", "p90"]), (100, ["p50", "p90", "p99"])])
def test_a_percentile_needs_enough_samples(count, known):
    values = percentiles([float(i) for i in range(count)])
    assert [name for name in ("p50", "p90", "p99") if getattr(values, name) is not None] == known


def test_percentiles_are_those_of_the_samples():
    values = percentiles([float(i) for i in range(101)])
    assert (values.p50, values.p90, values.p99, values.mean) == (50, 90, 99, 50)


def test_without_proc_the_peak_of_memory_is_unknown(monkeypatch):
    assert measure.peak_memory_bytes() > 10_000_000
    monkeypatch.setattr(Path, "is_file", lambda self: False)
    assert measure.peak_memory_bytes() is None


def test_memory_is_of_its_own_process(make_bundle):
    """A large array here must not be counted there."""
    ballast = np.ones(300_000_000, np.uint8)
    alone = measure.measure_alone(str(make_bundle("skeleton")), "onnxruntime", "fp32", None, InputChoice())
    assert alone.peak_memory_bytes < ballast.nbytes


class Recorder:
    name = "recorder"

    def __init__(self, name, calls):
        self._name, self._calls = name, calls

    def run(self, inputs):
        self._calls.append(self._name)
        return np.zeros((1, 6), np.float32)


def test_precisions_take_turns_and_warm_up_does_not_count(make_bundle):
    bundle = ActionRecognizer.from_bundle(make_bundle("skeleton")).bundle
    calls = []
    recognizers = {name: ActionRecognizer(bundle, Recorder(name, calls), name) for name in "ab"}
    times = measure_times(recognizers, make_input(bundle, InputChoice()), warmup=2, iterations=4)
    assert "".join(calls) == "abba" * 3
    assert [len(values) for values in times.inference_ms.values()] == [4, 4]
    assert len(times.preprocess_ms) == 4


def test_a_recording_can_stand_for_random_frames(make_bundle, write_video):
    bundle = ActionRecognizer.from_bundle(make_bundle("rgb", "skeleton")).bundle
    clip = make_input(bundle, InputChoice(clip=str(write_video(frames=12, size=(64, 48)))))
    assert len(clip.frames) == 4 and clip.frames[0].shape == (48, 64, 3) and clip.skeleton is None


def test_a_bundle_of_the_inertial_sensor_is_measured(make_bundle, samples, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "measure_alone", lambda *_: measure.Alone(1.0, 2.0, None))
    folder, report = make_bundle("inertial"), tmp_path / "bench.json"
    np.save(tmp_path / "i.npy", samples)
    options = [f"--bundle={folder}", "--iterations=5", "--warmup=1", f"--json={report}"]
    for more, shape in (([], [180, 6]), ([f"--inertial={tmp_path / 'i.npy'}"], [80, 6])):
        assert bench.main([*options, *more]) == 0
        result = json.loads(report.read_text())
        assert result["input"]["inertial"] == shape and result["input"]["skeleton"] is None
        assert result["precisions"]["fp32"]["frames_per_clip"] == 8


def test_a_stated_size_is_the_size_of_the_frames(make_bundle):
    bundle = ActionRecognizer.from_bundle(make_bundle("rgb")).bundle
    assert make_input(bundle, InputChoice(size=(100, 50))).frames.shape == (4, 50, 100, 3)


@pytest.mark.parametrize(
    "options, code, message",
    [
        (["--size=640"], 2, "--size"),
        (["--size=64x48", "--clip=x.avi"], 2, "--size is of random frames"),
        (["--size=64x48", "--inertial=x.npy"], 2, "--size is of random frames"),
        (["--iterations=0"], 2, "at least 1"),
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
