"""The whole export: what a bundle holds, what is refused, and the command."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import export.__main__ as command
import export.clips
import export.exporter
import hartx.run
from edge import ActionRecognizer
from edge.bundle import read_bundle
from edge.errors import EdgeError
from edge.preprocess import prepare_clip
from edge.sampling import regular_track
from export import int8_checks, onnx_graph, parity, quantize
from export.clips import RunClips
from export.contents import read as read_contents
from export.errors import ExportError
from export.estimators import AUTO, ESTIMATORS
from export.formats import Tolerance
from export.inputs import model_inputs, to_feeds
from export.residual import residuals, video_convs
from export.sensitivity_measure import check_int8
from export.session import Session
from export.tensorrt import cache
from export.trace import reference
from export.verification import verify
from hartx.data import Recordings
from hartx.data.source import RecordingSource
from hartx.errors import HartxError
from hartx.protocol import RecordingId, sides
from tests.export.conftest import MadeUpClips, contents, make_run, run_export, write_plan
from tests.export.random_network import random_network

# --- what a bundle holds ----------------------------------------------------------------------------


def test_bundle_is_complete_and_the_device_accepts_it(fusion, tmp_path, traced_once):
    printed = run_export(fusion, tmp_path / "a")
    assert set(contents(tmp_path / "a")) == {
        "bundle.json",
        "calibration.cache",
        "calibration.json",
        "export.json",
        "model.fp32.onnx",
        "model.int8.onnx",
        "model_card.md",
    }
    bundle = read_bundle(tmp_path / "a")
    assert bundle.labels == fusion.run.labels
    assert bundle.window.duration_s == 2.25
    assert {p.name: (p.clips, p.split) for p in bundle.precisions.values()} == {
        "fp32": (10, "test"),
        "int8": (10, "test"),
    }
    assert bundle.precisions["int8"].size_bytes < 0.6 * bundle.precisions["fp32"].size_bytes
    for shown in ("outputs differ by at most", "placement rules hold", "model.int8.onnx", "10 clips of the test side"):
        assert shown in printed
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert bundle.temperature == 1


def test_the_temperature_of_the_run_goes_into_the_bundle(skeleton_only, tmp_path, traced_once):
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "temperature.json").write_text('{"temperature": 1.75}')
    run_export(
        skeleton_only, tmp_path / "a", run=dataclasses.replace(skeleton_only.run, workdir=workdir), calibrator=AUTO
    )
    assert read_bundle(tmp_path / "a").temperature == 1.75


def test_accuracy_is_that_of_the_test_recordings(fusion, tmp_path, traced_once):
    run_export(fusion, tmp_path / "a")
    clips = list(fusion.clips.load("test"))
    logits = fusion.reference(to_feeds(fusion.inputs, [clip.inputs for clip in clips]))
    expected = np.mean(logits.argmax(axis=1) == [clip.label for clip in clips])
    assert read_bundle(tmp_path / "a").precisions["fp32"].top1 == pytest.approx(expected)


def test_without_a_test_side_accuracy_is_unknown(fusion, tmp_path, traced_once):
    clips = dataclasses.replace(fusion.clips, has_test_side=False)
    printed = run_export(fusion, tmp_path / "a", clips=clips)
    assert "no recordings on the test side" in printed
    found = read_bundle(tmp_path / "a").precisions["fp32"]
    assert (found.top1, found.clips) == (None, 0)


def test_device_predicts_what_jax_predicts(fusion, tmp_path, traced_once):
    run_export(fusion, tmp_path / "a")
    recognizer = ActionRecognizer.from_bundle(tmp_path / "a", engine="onnxruntime", precision="fp32")
    rng = np.random.default_rng(0)
    depth = rng.integers(1500, 3000, (9, 24, 32)).astype(np.uint16)
    depth[:, :, :8] = 0
    skeleton = rng.normal(size=(12, 20, 3)).astype(np.float32)
    tracks = {"depth": regular_track(depth, 9), "skeleton": regular_track(skeleton, 12)}
    clip = prepare_clip(tracks, fusion.run.specs, span=(0.0, 1.0))
    logits = fusion.reference(to_feeds(fusion.inputs, [clip]))
    inputs, _ = recognizer.prepare(depth, skeleton)
    np.testing.assert_allclose(recognizer.engine.run(inputs), logits, atol=1e-4)
    assert recognizer.predict(depth, skeleton).action == fusion.run.labels[logits.argmax()]


def test_calibration_file_names_training_recordings_and_its_model(fusion, tmp_path, traced_once):
    run_export(fusion, tmp_path / "a", calibration_clips=7)
    calibration = json.loads((tmp_path / "a" / "calibration.json").read_text())
    described = json.loads((tmp_path / "a" / "bundle.json").read_text())
    assert calibration["model_sha256"] == described["files"]["model.fp32.onnx"]["sha256"]
    assert len(calibration["clips"]) == 7 == sum(calibration["clips_per_class"].values())
    assert set(calibration["clips"]) <= {entry.name for entry in fusion.clips.entries("train")}
    scales = {
        entry.name: float(onnx.numpy_helper.to_array(entry))
        for entry in onnx.load(tmp_path / "a" / "model.int8.onnx").graph.initializer
        if entry.name.endswith("_scale") and not entry.dims
    }
    assert scales == {f"{name}_scale": entry["scale"] for name, entry in calibration["tensors"].items()}
    cached = cache.parse((tmp_path / "a" / "calibration.cache").read_text()).scales
    both = calibration["tensors"] | calibration["outputs"]
    assert cached == {name: entry["scale"] for name, entry in both.items()}
    # TensorRT computes in int8 without Q/DQ nodes only where it knows the scale of what a layer gives, too.
    graph = ir.from_proto(onnx.load(tmp_path / "a" / "model.fp32.onnx"))
    int8 = [conv for conv in video_convs(graph) if conv.name in calibration["layers"]["int8"]]
    given = {conv.outputs[0].name for conv in int8} | {residual.add.outputs[0].name for residual in residuals(graph)}
    behind = {use.node.outputs[0].name for conv in int8 for use in conv.outputs[0].uses() if use.node.op_type == "Relu"}
    assert int8 and given and behind and given | behind <= set(cached)
    assert not set(calibration["outputs"]) & set(calibration["tensors"])


@pytest.mark.parametrize("which", ["fusion", "skeleton_only"])
def test_an_fp16_model_loads_as_the_device_loads_it(which, request, tmp_path, traced_once):
    """In a process of its own: with all of its optimisations ONNX Runtime 1.32 crashed on some."""
    run_export(request.getfixturevalue(which), tmp_path / "a", formats="onnx-fp32,onnx-fp16", calibrator=AUTO)
    code = "import sys; from edge import ActionRecognizer; "
    code += "print(ActionRecognizer.from_bundle(sys.argv[1], engine='onnxruntime', precision='fp16').engine.name)"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a"], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "onnxruntime\n"), done.stderr


def test_changed_cache_is_refused(fusion, tmp_path, traced_once):
    run_export(fusion, tmp_path / "a")
    cache = tmp_path / "a" / "calibration.cache"
    cache.write_text(cache.read_text().replace("8502", "8601"))
    with pytest.raises(EdgeError, match=r"calibration\.cache does not match its bundle"):
        read_bundle(tmp_path / "a")


def test_best_calibrator_is_chosen_shown_and_written_down(fusion, tmp_path, traced_once):
    printed = run_export(fusion, tmp_path / "a", calibrator="auto")
    values = json.loads((tmp_path / "a" / "calibration.json").read_text())
    assert set(values["candidates"]["scores"]) == {"float", *ESTIMATORS}
    assert f"scales by {values['estimator']} from 10 training clips" in printed
    assert all(name in printed for name in ("NLL", "chosen", *ESTIMATORS))
    assert values["estimator"] in (tmp_path / "a" / "model_card.md").read_text()
    run_export(fusion, tmp_path / "b", calibrator="entropy")
    named = json.loads((tmp_path / "b" / "calibration.json").read_text())
    assert (named["estimator"], named["candidates"]) == ("entropy", None)


def test_model_card_tells_protocol_accuracy_and_limits(fusion, tmp_path, traced_once):
    report = {
        "dataset": "utd_mhad", "train_clips": 323, "clips": 108, "test_subjects": [7], "interval95": [0.9, 0.97],
        "top1": 0.944, "top5": 1.0, "f1_macro": 0.943,
    }  # fmt: skip
    run_export(fusion, tmp_path / "a", run=dataclasses.replace(fusion.run, report=report))
    card = (tmp_path / "a" / "model_card.md").read_text()
    for part in ("94.4%, 95 % interval 90.0% to 97.0%", "108 recordings (subjects 7)", "cross_subject", "## Limits",
                 "N x 1 x 4 x 16 x 16", "onnxruntime", *fusion.run.labels):  # fmt: skip
        assert part in card


# --- what is refused --------------------------------------------------------------------------------


def test_graph_that_disagrees_with_the_model_is_refused(fusion):
    damaged = onnx.ModelProto()
    damaged.CopyFrom(fusion.graph)
    kernel = next(i for i in damaged.graph.initializer if len(i.dims) == 5)
    array = onnx.numpy_helper.to_array(kernel).copy()
    array.flat[0] += 0.05
    kernel.CopyFrom(onnx.numpy_helper.from_array(array, kernel.name))
    clips = [clip.inputs for clip in fusion.clips.load("train", ["a1_s1_t1", "a2_s1_t1"])]
    sound, broken = Session(fusion.graph).output, Session(damaged).output
    tolerance = Tolerance(absolute=1e-4, relative=0)
    assert parity.check(sound, fusion.reference, fusion.inputs, clips, tolerance).max_difference <= 1e-4
    with pytest.raises(ExportError, match="does not agree"):
        parity.check(broken, fusion.reference, fusion.inputs, clips, tolerance)


def test_no_bundle_without_parity(fusion, tmp_path, traced_once, monkeypatch):
    monkeypatch.setattr(export.exporter, "reference", lambda *_: lambda feeds: np.zeros((len(feeds["video"]), 5)))
    with pytest.raises(ExportError, match="does not agree"):
        run_export(fusion, tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_skeleton_network_gets_fp32_only_and_says_so(skeleton_only, tmp_path, traced_once):
    printed = run_export(skeleton_only, tmp_path / "a", calibrator=AUTO)
    assert "int8: left out" in printed
    assert list(read_bundle(tmp_path / "a").precisions) == ["fp32"]


@pytest.mark.parametrize("option", [{"calibrator": "max"}, {"keep_float": ("*",)}, {"max_drop": 0.5}])
def test_what_is_about_layers_in_int8_is_refused_where_there_are_none(skeleton_only, tmp_path, traced_once, option):
    with pytest.raises(ExportError, match=rf"--{next(iter(option))} was given, but the model has no 3D convolution"):
        run_export(skeleton_only, tmp_path / "b", formats="onnx-fp32,onnx-int8", **{"calibrator": AUTO, **option})
    with pytest.raises(ExportError, match=rf"--{next(iter(option))} was given"):  # nor by the default formats
        run_export(skeleton_only, tmp_path / "b", **{"calibrator": AUTO, **option})
    assert not (tmp_path / "b").exists()


def test_weights_too_small_to_store_are_no_int8_model(skeleton_only, tmp_path, traced_once, monkeypatch):
    monkeypatch.setattr(quantize, "_SMALLEST_WEIGHT", 10**9)
    with pytest.raises(ExportError, match=r"its weights are few(.|\n)*Export without it"):
        run_export(skeleton_only, tmp_path / "b", formats="onnx-fp32,onnx-int8", calibrator=AUTO)
    assert not (tmp_path / "b").exists()


def test_without_layers_for_int8_its_weights_are_stored_in_it(skeleton_only, tmp_path, traced_once, monkeypatch):
    monkeypatch.setattr(quantize, "_SMALLEST_WEIGHT", 1)
    run_export(skeleton_only, tmp_path / "a", formats="onnx-fp32,onnx-int8,openvino-int8", calibrator=AUTO)
    bundle = read_bundle(tmp_path / "a")
    assert set(bundle.precisions) == {"fp32", "int8", "int8-openvino"}
    assert not (tmp_path / "a" / "calibration.json").exists()
    assert "int8: weights are stored in it" in (tmp_path / "a" / "model_card.md").read_text()
    checks = list(verify(tmp_path / "a", None, None))
    assert all(check.passed for check in checks), checks
    assert "weights in int8" in [check.name for check in checks]
    model = onnx.load(tmp_path / "a" / "model.int8.onnx")
    stored = [onnx.numpy_helper.to_array(i) for i in model.graph.initializer]
    assert {array.dtype for array in stored if array.ndim > 1 and array.dtype != np.int64} == {
        np.dtype(np.int8),
        np.dtype(np.float32),
    }
    with pytest.raises(ExportError, match="there is no layer to measure"):
        check_int8(read_contents(tmp_path / "a"))
    float_again = onnx.load(tmp_path / "a" / "model.fp32.onnx")
    with pytest.raises(ExportError, match="only weights may be int8"):
        int8_checks.weights(float_again)


def test_same_run_may_be_exported_again_and_another_may_not(fusion, tmp_path, traced_once):
    run_export(fusion, tmp_path / "a", formats="onnx-fp32")
    run_export(fusion, tmp_path / "a")
    assert "int8" in read_bundle(tmp_path / "a").precisions
    before = contents(tmp_path / "a")
    config = fusion.run.config.copy_and_resolve_references()
    config.seed = 99
    with pytest.raises(ExportError, match="another run"):
        run_export(fusion, tmp_path / "a", run=dataclasses.replace(fusion.run, config=config))
    assert contents(tmp_path / "a") == before


def test_folder_of_somebody_else_is_left_alone(fusion, tmp_path, traced_once):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.txt").write_text("two years")
    with pytest.raises(ExportError, match="exists and is not a bundle"):
        run_export(fusion, tmp_path / "a")
    assert contents(tmp_path / "a") == {"thesis.txt": b"two years"}


def test_bundle_needs_a_folder_of_its_own(fusion, traced_once):
    with pytest.raises(ExportError, match="a folder of its own"):
        run_export(fusion, Path("."))


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_traced(fusion, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(onnx_graph, "trace", lambda *_: pytest.fail("traced"))
    with pytest.raises(ExportError, match=r"file is not a writable folder"):
        run_export(fusion, tmp_path / "file" / "deep" / "bundle")


def test_two_videos_are_refused(fusion):
    specs = {"rgb": fusion.run.specs["depth"], "depth": fusion.run.specs["depth"]}
    with pytest.raises(ExportError, match="at most one video"):
        model_inputs(specs)


# --- the command ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bundle=b"], "--workdir"),
        (["--workdir=r", "--bundle=b", "--formats=onnx-fp32,onnx-fp61"], "did you mean 'onnx-fp16'"),
        (["--workdir=r", "--bundle=b", "--formats=onnx-int8"], "onnx-fp32 must be among"),
        (["--workdir=r", "--bundle=b", "--opset=12"], "'12' was given; a whole number from 13 to 21"),
        (["--workdir=r", "--bundle=b", "--batch=some"], "'some' was given; dynamic or a whole number from 1"),
        (["--workdir=r", "--bundle=b", "--calibration_clips=0"], "'0' was given"),
        (["--workdir=r", "--bundle=b", "--calibrator=entrpy"], "did you mean 'entropy'?"),
        (["--workdir=r", "--bundle=b", "--max_drop=-1"], "'-1' was given; points from 0 to 100"),
        (["--workdir=r", "--bundle=b", "--max_drop=nan"], "'nan' was given; points from 0 to 100"),
        (["--workdir=r", "--bundle=b", "--keep_float=a,,b"], "'a,,b' was given; patterns with commas"),
    ],
)
def test_mistyped_arguments_exit_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_missing_run_exits_1(tmp_path, capsys):
    assert command.main([f"--workdir={tmp_path / 'nothing'}", f"--bundle={tmp_path / 'b'}"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "holds no run" in error


def test_unfinished_run_exits_1(tmp_path, capsys, monkeypatch):
    def refuse(workdir: Path) -> None:
        raise HartxError(f"the run in {workdir} is not finished")

    monkeypatch.setattr(hartx.run, "load_run", refuse)
    assert command.main([f"--workdir={tmp_path}", f"--bundle={tmp_path / 'b'}"]) == 1
    assert capsys.readouterr().err == f"error: the run in {tmp_path} is not finished\n"


def test_command_exports(fusion, tmp_path, traced_once, monkeypatch, capsys):
    monkeypatch.setattr(hartx.run, "load_run", lambda _: fusion.run)
    monkeypatch.setattr(export.clips, "RunClips", lambda _: fusion.clips)
    arguments = [f"--workdir={tmp_path}", f"--bundle={tmp_path / 'b'}", "--formats=onnx-fp32,onnx-int8"]
    assert command.main([*arguments, "--calibration_clips=5"]) == 0
    assert "int8" in read_bundle(tmp_path / "b").precisions
    assert "parity with JAX" in capsys.readouterr().out


def test_recordings_that_were_moved_are_read_where_they_are_now(fusion, tmp_path, monkeypatch):
    run = dataclasses.replace(fusion.run, config=fusion.run.config.copy_and_resolve_references())
    opened = []
    monkeypatch.setattr(hartx.run, "load_run", lambda _: run)
    monkeypatch.setattr(export.clips, "RunClips", lambda run: opened.append(run.config.dataset.raw_dir))
    monkeypatch.setattr(export.exporter, "export", lambda *_: None)
    assert command.main([f"--workdir={tmp_path}", f"--bundle={tmp_path / 'b'}", "--raw_dir=elsewhere"]) == 0
    assert opened == ["elsewhere"]


def test_run_whose_recordings_changed_exits_1(fusion, tmp_path, monkeypatch, capsys):
    run = dataclasses.replace(fusion.run, workdir=tmp_path)
    monkeypatch.setattr(hartx.run, "load_run", lambda _: run)
    monkeypatch.setattr(export.clips, "open_recordings", lambda _: SimpleNamespace(names=lambda _: ["a1_s3_t1"]))
    write_plan(tmp_path, ["a1_s1_t1"])
    assert command.main([f"--workdir={tmp_path}", f"--bundle={tmp_path / 'b'}"]) == 1
    assert "not those that the run" in capsys.readouterr().err


def test_clips_of_a_run_come_from_the_side_asked_for(skeleton_only, tmp_path, monkeypatch):
    ids = tuple(RecordingId(f"a{a}_s{s}_t1", s) for s in (1, 2, 3) for a in (1, 2))
    records = [
        {
            "name": r.name.encode(), "subject": r.subject, "action": int(r.name[1]) - 1,
            "skeleton": {"joints": np.random.default_rng(i).normal(size=(8, 20, 3)), "time_s": np.arange(8) / 30},
        }
        for i, r in enumerate(ids)
    ]  # fmt: skip
    recordings = Recordings(
        source=RecordingSource(records, ("skeleton",), 1.0),
        labels=skeleton_only.run.labels,
        ids=ids,
        kept=tuple(range(len(ids))),
        actions=tuple(record["action"] for record in records),
        everyone=ids,
        sides=sides("cross_subject", ids),
    )
    monkeypatch.setattr(export.clips, "open_recordings", lambda _: recordings)
    write_plan(tmp_path, recordings.names("train"))
    clips = RunClips(dataclasses.replace(skeleton_only.run, workdir=tmp_path))
    assert {(e.subject, e.label) for e in clips.entries("train")} == {(1, 0), (1, 1), (3, 0), (3, 1)}
    loaded = list(clips.load("train", ["a2_s3_t1", "a1_s2_t1"]))  # the second one is of the test side
    assert [(c.name, c.label) for c in loaded] == [("a2_s3_t1", 1)]
    assert [c.name for c in clips.load("test")] == ["a1_s2_t1", "a2_s2_t1"]
    assert clips.entries("validation") == []
    assert clips.window_s() == pytest.approx(8 / 30)
    swapped = dataclasses.replace(recordings, labels=recordings.labels[::-1])
    monkeypatch.setattr(export.clips, "open_recordings", lambda _: swapped)
    with pytest.raises(HartxError, match="was trained to tell"):
        RunClips(dataclasses.replace(skeleton_only.run, workdir=tmp_path))


def test_parity_sees_what_is_no_number_and_clips_that_are_right_alone_or_together_only(fusion):
    clips = [clip.inputs for clip in fusion.clips.load("train", ["a1_s1_t1", "a2_s1_t1"])]
    exact, tolerance = fusion.reference, Tolerance(absolute=1e-4, relative=0)
    broken = {
        "no number": lambda feeds: exact(feeds) * np.float32("nan"),
        "mixed up in a batch": lambda feeds: exact(feeds)[::-1],
        "wrong alone": lambda feeds: exact(feeds) + (len(feeds["video"]) == 1),
    }
    assert parity.compare(exact, exact, fusion.inputs, clips, tolerance).holds
    for how, compute in broken.items():
        assert not parity.compare(compute, exact, fusion.inputs, clips, tolerance).holds, how


def test_window_of_the_device_moves_on_by_half(fusion, tmp_path, traced_once):
    run_export(fusion, tmp_path / "a", formats="onnx-fp32")
    window = read_bundle(tmp_path / "a").window
    assert (window.frames, window.stride) == (4, 2)


def test_patterns_may_have_spaces_between_them_and_points_end_at_100(capsys):
    arguments = ["--workdir=r", "--bundle=b"]
    assert command._parser().parse_args([*arguments, "--keep_float=a, b*"]).keep_float == ("a", "b*")
    with pytest.raises(SystemExit):
        command.main([*arguments, "--max_drop=101"])
    assert "'101' was given; points from 0 to 100" in capsys.readouterr().err


def test_ctrl_c_is_one_message(tmp_path, monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(hartx.run, "load_run", interrupt)
    assert command.main([f"--workdir={tmp_path}", f"--bundle={tmp_path / 'b'}"]) == 1
    assert capsys.readouterr().err.startswith("stopped; a bundle is written at the end")


def test_a_target_that_is_taken_is_refused_before_recordings_are_opened(fusion, tmp_path, monkeypatch, capsys):
    (tmp_path / "thesis.txt").write_text("two years")
    monkeypatch.setattr(hartx.run, "load_run", lambda _: fusion.run)
    monkeypatch.setattr(export.clips, "RunClips", lambda _: pytest.fail("opened"))
    assert command.main(["--workdir=r", f"--bundle={tmp_path}"]) == 1
    assert "not a bundle" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "by one person indoors"),
        ({"dataset": "video_folder"}, "It was trained on recordings of one action each. Other cameras"),
        ({"clips": 0}, "There were no recordings on the test side"),
    ],
)
def test_model_card_says_what_is_known_of_the_recordings(fusion, changes, said, tmp_path, traced_once):
    report = {
        "dataset": "utd_mhad", "train_clips": 323, "clips": 108, "test_subjects": [7], "interval95": [0.9, 0.97],
        "top1": 0.944, "top5": 1.0, "f1_macro": 0.943, **changes,
    }  # fmt: skip
    run_export(fusion, tmp_path / "a", run=dataclasses.replace(fusion.run, report=report), formats="onnx-fp32")
    assert said in (tmp_path / "a" / "model_card.md").read_text()


def test_a_run_that_is_tested_on_several_views_gives_one_clip_a_recording(skeleton_only, tmp_path, monkeypatch):
    ids = (RecordingId("a1_s1_t1", 1),)
    track = {"joints": np.random.default_rng(0).normal(size=(8, 20, 3)), "time_s": np.arange(8) / 30}
    records = [{"name": b"a1_s1_t1", "subject": 1, "action": 0, "skeleton": track}]
    recordings = Recordings(
        source=RecordingSource(records, ("skeleton",), 1.0),
        labels=skeleton_only.run.labels,
        ids=ids,
        kept=(0,),
        actions=(0,),
        everyone=ids,
        sides=sides("cross_subject", ids),
    )
    monkeypatch.setattr(export.clips, "open_recordings", lambda _: recordings)
    config = skeleton_only.run.config.copy_and_resolve_references()
    config.clip.views = 3
    write_plan(tmp_path, ["a1_s1_t1"])
    clips = RunClips(dataclasses.replace(skeleton_only.run, config=config, workdir=tmp_path))
    assert [clip.name for clip in clips.load("train")] == ["a1_s1_t1"]
    assert config.clip.views == 3


def test_a_network_of_bfloat16_in_training_mode_is_run_in_float32_in_evaluation_mode(tmp_path):
    exact = make_run(("depth", "skeleton"), tmp_path)
    inputs = model_inputs(exact.specs)
    feeds = to_feeds(inputs, [clip.inputs for clip in MadeUpClips(exact.specs).load("test")])
    config = exact.config.copy_and_resolve_references()
    config.model.dtype = "bfloat16"
    model = random_network(config, len(exact.labels))
    model.train()
    np.testing.assert_array_equal(reference(model, inputs)(feeds), reference(exact.model, inputs)(feeds))


def test_a_model_is_held_against_its_formats_on_training_clips_or_not_at_all(fusion):
    class NoClips(MadeUpClips):
        def entries(self, side):
            return []

    with pytest.raises(ExportError, match="no training recording"):
        export.exporter.parity_clips(NoClips(fusion.run.specs))
