"""A bundle of every format from a network of two convolutions: written, verified, damaged, verified again."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import onnx
import openvino
import pytest
from flax import nnx
from rich.console import Console

import export.clips
import export.verify as command
import hartx.run
from configs.base import get_config
from edge import ActionRecognizer
from edge.bundle import read_bundle
from edge.errors import EdgeError
from export import sensitivity, stablehlo
from export.calibration import int8_scale
from export.cpu_graph import for_cpu
from export.errors import ExportError
from export.exporter import export as write_bundle
from export.formats import BY_NAME, FORMATS, Options, Tolerance, parse
from export.head import Head
from export.inputs import model_inputs, to_feeds
from export.layers import layer_names
from export.session import Session
from export.steps import Steps
from export.trace import reference
from export.verification import verify
from hartx.data import input_specs
from hartx.models.conv3d import Conv3D
from hartx.run import Run
from tests.export.conftest import LABELS, MadeUpClips, write_plan
from tests.export.damage import DAMAGE, append_byte, edit_json, edit_model, nudge_a_weight, sign

EVERY = ",".join(row.name for row in FORMATS)
TEMPERATURE = 1.5


class TwoConvolutions(nnx.Module):
    """Just enough to quantise: a stem, a convolution, a mean, a head."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.stem = Conv3D(1, 4, 3, rngs=rngs)
        self.conv = Conv3D(4, 8, 3, (1, 2, 2), rngs=rngs)
        self.head = nnx.Linear(8, len(LABELS), rngs=rngs)

    def __call__(self, clips):
        return self.head(nnx.relu(self.conv(nnx.relu(self.stem(clips["depth"])))).mean((1, 2, 3)))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    workdir = tmp_path_factory.mktemp("run")
    (workdir / "temperature.json").write_text(json.dumps({"temperature": TEMPERATURE}))
    config = get_config()
    config.name, config.streams = "two", ("depth",)
    config.clip.num_frames, config.clip.crop, config.clip.resize = 4, 16, 16
    return Run(config, TwoConvolutions(nnx.Rngs(0)), input_specs(config), LABELS, None, workdir, step=7)


@pytest.fixture(scope="module")
def clips(run) -> MadeUpClips:
    return MadeUpClips(run.specs)


def export_to(folder: Path, run: Run, clips: MadeUpClips, names: str = EVERY, **options) -> str:
    console = Console(file=io.StringIO(), width=200)
    chosen = Options(**{"calibration_clips": 10, "calibrator": "max", **options})
    write_bundle(run, clips, folder, parse(names), chosen, Steps(console))
    return console.file.getvalue()


@pytest.fixture(scope="module")
def whole(run, clips, tmp_path_factory) -> tuple[Path, str]:
    """A bundle of every format, which nobody changes, and what was printed."""
    folder = tmp_path_factory.mktemp("whole") / "a"
    return folder, export_to(folder, run, clips)


@pytest.fixture
def bundle(whole, tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(whole[0], tmp_path / "b"))


def failures(folder: Path, run=None, clips=None) -> list:
    return [check for check in verify(folder, run, clips) if not check.passed]


# --- what is written --------------------------------------------------------------------------------


def test_each_format_tells_time_path_size_and_check_and_the_report_is_kept(whole):
    folder, printed = whole
    report = json.loads((folder / "export.json").read_text())
    assert list(report["exports"]) == [row.name for row in FORMATS]
    for row in FORMATS:
        entry, path = report["exports"][row.name], folder / row.file
        size_bytes = sum((folder / name).stat().st_size for name in (row.file, *row.beside))
        assert entry["size_bytes"] == size_bytes and entry["seconds"] >= 0
        assert "differ by at most" in entry["check"]
        (line,) = [line for line in printed.splitlines() if f"{row.name}: {path}" in line]
        assert f"{size_bytes:,} bytes" in line and entry["check"] in line
    options = {"opset": 17, "batch": None, "softmax": False, "calibration_clips": 10, "calibrator": "max"}
    options |= {"keep_float": [], "max_drop": None}
    assert report["options"] == options
    assert "export.json" in json.loads((folder / "bundle.json").read_text())["files"]
    assert set(read_bundle(folder).precisions) == {"fp32", "fp16", "int8", "int8-openvino"}


def test_a_sound_bundle_passes_every_check(whole, run, clips):
    found = list(verify(whole[0], run, clips))
    assert [check for check in found if not check.passed] == []
    assert {c.subject for c in found if c.name == "parity with the trained model"} == {row.file for row in FORMATS}


def test_float16_is_about_half_and_says_what_it_found(whole):
    fp32, fp16 = (onnx.load(whole[0] / row.file).graph.initializer for row in FORMATS[:2])
    sizes = [sum(onnx.numpy_helper.to_array(entry).nbytes for entry in entries) for entries in (fp32, fp16)]
    assert 0.5 * sizes[0] <= sizes[1] < 0.52 * sizes[0]  # axes of the mean stay as they are
    entry = json.loads((whole[0] / "export.json").read_text())["exports"]["onnx-fp16"]
    assert entry["largest_value"]["magnitude"] > 0 and entry["range_clips"] == 10
    assert "no value near overflow" in entry["check"]


def test_stablehlo_runs_with_jax_alone(whole, run, clips, tmp_path):
    inputs = model_inputs(run.specs)
    feeds = to_feeds(inputs, [clip.inputs for clip in clips.load("test")][:3])
    expected = reference(run.model, inputs)(feeds)
    np.save(tmp_path / "video.npy", feeds["video"])
    script = (
        "import sys, jax, numpy as np\n"
        "from jax import export\n"
        f"exported = export.deserialize(bytearray(open({str(whole[0] / 'model.stablehlo')!r}, 'rb').read()))\n"
        f"video = np.load({str(tmp_path / 'video.npy')!r})\n"
        "assert not {'hartx', 'export.trace', 'edge', 'flax'} & set(sys.modules)\n"
        f"np.save({str(tmp_path / 'found.npy')!r}, np.concatenate([exported.call(video), exported.call(video[:1])]))\n"
        "print(*exported.platforms)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["cpu", "cuda", "tpu"], done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), [*expected, expected[0]], atol=1e-4)


def test_stablehlo_tells_nothing_of_the_machine_that_made_it(whole, run):
    content = (whole[0] / "model.stablehlo").read_bytes()
    assert b".py" not in content
    before = jax.config.jax_traceback_in_locations_limit
    head = Head(False, TEMPERATURE)
    assert stablehlo.serialize(run.model, model_inputs(run.specs), head, None) == content
    assert jax.config.jax_traceback_in_locations_limit == before


def test_the_model_card_says_where_the_stem_is_in_int8(whole):
    assert "The stem (in openvino-int8 it is in int8 as well), the" in (whole[0] / "model_card.md").read_text()


def test_parity_is_between_float32_and_float32_on_every_device(whole, run, clips, monkeypatch):
    """With JAX's own choice on an H200, TF32, a sound export was 0.006 off where 0.0001 is allowed."""
    module = stablehlo.read((whole[0] / "model.stablehlo").read_bytes()).mlir_module()
    products = [line for line in module.splitlines() if re.search(r"stablehlo\.(convolution|dot_general)", line)]
    assert products and all("HIGHEST" in line for line in products)

    def asked(function):
        return lambda *args: seen.append(jax.config.jax_default_matmul_precision) or function(*args)

    seen = []
    monkeypatch.setattr("export.trace.jit", asked)
    inputs = model_inputs(run.specs)
    reference(run.model, inputs)(to_feeds(inputs, [next(iter(clips.load("test"))).inputs]))
    assert seen == ["highest"]


def test_the_ir_is_in_int8_from_the_stem_on_and_says_what_it_is(whole, run, clips):
    """OpenVINO alone, from the two files; the weights are int8, not float again."""
    inputs = model_inputs(run.specs)
    feeds = to_feeds(inputs, [clip.inputs for clip in clips.load("test")][:3])
    core = openvino.Core()
    model = core.read_model(whole[0] / "model.int8.xml")
    assert model.get_rt_info(["model_info", "labels"]).value == json.dumps(list(LABELS))
    found = core.compile_model(model, "CPU", {"LP_TRANSFORMS_MODE": "NO"})(feeds)[0]
    tensors = json.loads((whole[0] / "calibration.json").read_text())["tensors"]
    ranges = json.loads((whole[0] / "export.json").read_text())["exports"]["openvino-int8"]["stem_ranges"]
    assert list(ranges) == ["video"] and "video" not in tensors
    ranges |= {name: entry["range"] for name, entry in tensors.items()}
    base = onnx.load(whole[0] / "model.fp32.onnx")
    source = for_cpu(base, layer_names(base), lambda name: int8_scale(ranges[name]))
    expected = Session(source).output(feeds)
    step = np.abs(expected).max() / 127  # of what is rounded the other way
    np.testing.assert_allclose(found, expected, atol=4 * step)
    assert np.abs(expected - reference(run.model, inputs)(feeds)).max() > 0
    stored = {node.get_element_type().get_type_name() for node in model.get_ops() if node.get_type_name() == "Constant"}
    assert "i8" in stored


def test_the_recogniser_runs_the_ir_as_a_precision_of_its_own(whole):
    depth = np.random.default_rng(0).integers(1500, 3000, (9, 24, 32)).astype(np.uint16)
    scores = []
    for engine, precision in (("openvino-f32", "int8-openvino"), ("onnxruntime", "fp32")):
        found = ActionRecognizer.from_bundle(whole[0], engine=engine, precision=precision).predict(depth).top5
        scores.append({score.action: score.confidence for score in found})
    assert scores[0] == pytest.approx(scores[1], abs=0.05)
    assert scores[0] != scores[1]
    with pytest.raises(EdgeError, match="cannot run precision 'int8-openvino'"):
        ActionRecognizer.from_bundle(whole[0], engine="onnxruntime", precision="int8-openvino")


@pytest.mark.parametrize("opset", [13, 18, 21])
def test_every_opset_loads_and_agrees(run, clips, tmp_path, opset):
    export_to(tmp_path / "a", run, clips, "onnx-fp32,onnx-fp16,onnx-int8", opset=opset)
    assert failures(tmp_path / "a", run, clips) == []
    for row in FORMATS[:3]:
        assert [entry.version for entry in onnx.load(tmp_path / "a" / row.file).opset_import] == [opset]


def test_a_fixed_batch_is_fixed_everywhere_and_the_recogniser_says_no(run, clips, tmp_path):
    export_to(tmp_path / "a", run, clips, batch=3)
    assert failures(tmp_path / "a", run, clips) == []
    for row in FORMATS[:3]:
        model = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "a" / row.file), strict_mode=True)
        for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
            assert all(dim.dim_value > 0 for dim in value.type.tensor_type.shape.dim), value.name
    assert read_bundle(tmp_path / "a").batch == 3
    with pytest.raises(EdgeError, match="takes 3 clips at a time"):
        ActionRecognizer.from_bundle(tmp_path / "a")


def test_the_device_gives_the_same_confidence_with_the_softmax_inside_or_not(whole, run, clips, tmp_path):
    export_to(tmp_path / "a", run, clips, softmax=True, batch=1)
    assert failures(tmp_path / "a", run, clips) == []
    assert read_bundle(tmp_path / "a").output == "probabilities"
    depth = np.random.default_rng(0).integers(1500, 3000, (9, 24, 32)).astype(np.uint16)
    depth[:, :, :8] = 0
    for precision in ("fp32", "fp16"):
        inside, outside = (ActionRecognizer.from_bundle(f, precision=precision) for f in (tmp_path / "a", whole[0]))
        confidences = [[s.confidence for s in r.predict(depth).top5] for r in (inside, outside)]
        np.testing.assert_allclose(confidences[0], confidences[1], atol=1e-5 if precision == "fp32" else 1e-3)


# --- damage -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found_and_named(bundle, kind):
    damage, subject, name, words = DAMAGE[kind]
    assert failures(bundle) == []
    damage(bundle)
    found = {(check.subject, check.name): check.note for check in failures(bundle)}
    assert words in found.get((subject, name), ""), found


@pytest.mark.parametrize("row", [FORMATS[0], FORMATS[2]], ids=lambda row: row.name)
def test_a_changed_weight_is_found_by_parity(bundle, run, clips, row):
    edit_model(row.file, nudge_a_weight)(bundle)
    found = {(check.subject, check.name) for check in failures(bundle, run, clips)}
    assert (row.file, "parity with the trained model") in found


def test_another_run_s_bundle_and_a_test_recording_in_calibration_are_found(bundle, run, clips):
    (found,) = failures(bundle, dataclasses.replace(run, step=8), clips)
    assert found.name == "made from the run" and "'step': 7" in found.note
    edit_json("calibration.json", lambda v: v["clips"].append("a1_s2_t1"))(bundle)
    assert [c.note for c in failures(bundle, run, clips)] == ["not among the run's training recordings: a1_s2_t1"]


def test_a_bundle_of_before_has_no_hash_of_what_it_says(bundle):
    edit_json("export.json", lambda values: values.pop("bundle_sha256"))(bundle)
    assert failures(bundle) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v.update(temperature=9.0), "temperature is 9; that of the run is 1.5"),
        (lambda v: v["window"].update(duration_s=9.0), "window.duration_s is 9.0; the run's clips span 2.25 s"),
    ],
    ids=["temperature", "window"],
)
def test_a_signed_change_of_what_the_run_knows_is_found(bundle, run, clips, change, words):
    edit_json("bundle.json", change)(bundle)
    sign(bundle, "model.fp32.onnx")
    found = {(check.subject, check.name): check.note for check in failures(bundle, run, clips)}
    assert words in found[("bundle.json", "temperature and window")]


def test_what_an_engine_raises_while_it_computes_is_a_failed_check(bundle, run, clips, monkeypatch):
    """Damaged StableHLO is read without a word, and fails where it is compiled: at its first call."""

    def compute(*_):
        raise jax.errors.JaxRuntimeError("INTERNAL: bytecode")

    monkeypatch.setattr(stablehlo, "as_function", lambda *_: compute)
    (found,) = failures(bundle, run, clips)
    assert found.name == "parity with the trained model" and "it cannot be run: JaxRuntimeError" in found.note


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("bundle.json", lambda values: values["output"].pop("name")),
        ("calibration.json", lambda values: next(iter(values["tensors"].values())).pop("scale")),
        ("calibration.json", lambda values: values.update(clips=None)),
        ("export.json", lambda values: values.update(exports=None)),
    ],
)
def test_what_is_of_another_form_is_a_failed_check_and_no_traceback(bundle, run, clips, name, change):
    edit_json(name, change)(bundle)
    assert failures(bundle, run, clips)


# --- the command ------------------------------------------------------------------------------------


def test_command_ends_with_0_or_1_and_a_table(bundle, run, clips, monkeypatch, capsys):
    monkeypatch.setattr(hartx.run, "load_run", lambda _: run)
    monkeypatch.setattr(export.clips, "RunClips", lambda _: clips)
    assert command.main([f"--bundle={bundle}", "--workdir=r"]) == 0
    assert "checks passed" in capsys.readouterr().out
    append_byte(bundle)
    assert command.main([f"--bundle={bundle}"]) == 1
    out = capsys.readouterr().out
    assert "FAIL" in out and "1 of 1 checks failed" in out


def test_recordings_that_a_run_was_not_trained_on_are_refused(run, bundle, tmp_path, monkeypatch, capsys):
    write_plan(tmp_path, ["a1_s1_t1"])
    there = dataclasses.replace(run, workdir=tmp_path)
    monkeypatch.setattr(hartx.run, "load_run", lambda _: there)
    monkeypatch.setattr(export.clips, "open_recordings", lambda _: SimpleNamespace(names=lambda _: ["a1_s3_t1"]))
    for main in (command.main, sensitivity.main):
        assert main([f"--bundle={bundle}", f"--workdir={tmp_path}"]) == 1
        assert "not those that the run" in capsys.readouterr().err


def test_no_bundle_and_no_run_are_one_message(tmp_path, capsys):
    assert command.main([f"--bundle={tmp_path}"]) == 1
    assert "FAIL" in capsys.readouterr().out
    (check,) = verify(tmp_path, None, None)
    assert "is not a bundle" in check.note
    assert command.main([f"--bundle={tmp_path}", f"--workdir={tmp_path / 'r'}"]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    with pytest.raises(SystemExit):
        command.main([f"--bundle={tmp_path}", "--raw_dir=x"])


def test_a_precision_whose_model_is_there_and_that_is_not_named_is_one_failed_check(bundle):
    path = bundle / "bundle.json"
    values = json.loads(path.read_text())
    del values["precisions"]["fp16"]
    path.write_text(json.dumps(values))
    sign(bundle, "model.fp32.onnx")
    (failed,) = failures(bundle)
    assert "precisions has no fp16, though its model is there: model.fp16.onnx" in failed.note


@pytest.mark.parametrize("row", FORMATS[1:], ids=lambda row: row.name)
def test_a_format_that_is_too_far_from_the_trained_model_ends_the_export(run, clips, tmp_path, monkeypatch, row):
    monkeypatch.setitem(BY_NAME, row.name, dataclasses.replace(row, tolerance=Tolerance(-1, 0)))
    defaults = {field.name: field.default for field in dataclasses.fields(Options) if field.name not in row.options}
    names = {"onnx-fp32", row.made_from, row.name}
    with pytest.raises(ExportError, match="differ by at most"):
        export_to(tmp_path / "a", run, clips, ",".join(names), **defaults)
    assert not (tmp_path / "a").exists()


def test_labels_of_another_run_are_found(bundle, run, clips):
    other = dataclasses.replace(run, labels=(*run.labels[:-1], "sneeze"))
    (found,) = failures(bundle, other, clips)
    assert "labels or preprocessing of the bundle are not those of the run" in found.note
    specs = {"depth": dataclasses.replace(run.specs["depth"], num_frames=8)}
    (found,) = failures(bundle, dataclasses.replace(run, specs=specs), clips)
    assert "labels or preprocessing" in found.note


def test_calibration_that_names_no_clips_is_found(bundle, run, clips):
    edit_json("calibration.json", lambda v: v.update(clips=[]))(bundle)
    assert [c.note for c in failures(bundle, run, clips)] == [
        "not among the run's training recordings: no clips are named"
    ]


def test_moved_recordings_are_looked_for_where_raw_dir_says(bundle, run, clips, monkeypatch, capsys):
    asked = []
    config = run.config.copy_and_resolve_references()
    monkeypatch.setattr(hartx.run, "load_run", lambda _: dataclasses.replace(run, config=config))
    monkeypatch.setattr(export.clips, "RunClips", lambda r: asked.append(r.config.dataset.raw_dir) or clips)
    command.main([f"--bundle={bundle}", "--workdir=r", "--raw_dir=elsewhere"])
    assert asked == ["elsewhere"]


def test_model_card_says_what_comes_out_and_of_how_many_clips(whole, run, clips, tmp_path):
    plain = (whole[0] / "model_card.md").read_text()
    assert "Output: `logits`, N x 5. N is any number of clips." in plain
    export_to(tmp_path / "a", run, clips, "onnx-fp32", softmax=True, batch=1, calibration_clips=108, calibrator="auto")
    card = (tmp_path / "a" / "model_card.md").read_text()
    assert "Output: `probabilities`, with the temperature 1.5 in them, N x 5. N is 1, always." in card
