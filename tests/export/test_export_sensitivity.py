"""Bundles with layers in float: sensitivity measured and written, verified, and shown in the document."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import shutil
from pathlib import Path

import onnx
import pytest
from rich.console import Console

import export.clips
import export.exporter
import export.sensitivity as command
import hartx.run
from edge.bundle import read_bundle
from export import onnx_graph, quantization
from export.errors import ExportError
from export.exporter import export as write_bundle
from export.formats import Options, parse
from export.quantization_tables import Facts, accuracy, choose, read_facts
from export.sensitivity_measure import PARTIAL_FILE
from export.session import Session
from export.steps import Steps
from export.tensorrt.plan import Wish, make_plan
from export.verification import verify
from tests.export.layered import LAYERS, Patterns, make_inputs, make_run, network

DOCUMENT = """# Quantization

By hand.

<!-- quantization:accuracy -->
old
<!-- /quantization:accuracy -->
<!-- quantization:calibrators a -->
<!-- /quantization:calibrators -->
<!-- quantization:layers -->
<!-- /quantization:layers -->
<!-- quantization:sensitivity a -->
<!-- /quantization:sensitivity -->
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    return make_run(workdir)


def export_to(folder: Path, run, damaged=(), names="onnx-fp32,onnx-int8", **options) -> str:
    """Write a bundle of the network by hand; nothing is traced or run by JAX. Return what was printed."""
    inputs = make_inputs(run)
    model = network(inputs, damaged)

    def build(_, inputs, labels, versions, options, head) -> onnx.ModelProto:
        onnx.helper.set_model_props(model, onnx_graph.properties(inputs, labels, versions, head))
        return model

    console = Console(file=io.StringIO(), width=200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_graph, "build", build)
        patch.setattr(export.exporter, "trained", lambda *_: Session(model).output)
        chosen = Options(**{"calibration_clips": 15, **options})
        write_bundle(run, Patterns(), folder, parse(names), chosen, Steps(console))
    return console.file.getvalue()


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory) -> tuple[Path, str]:
    """A bundle that kept its damaged layer and one more in float, and what was printed."""
    folder = tmp_path_factory.mktemp("bundles") / "a"
    return folder, export_to(folder, run, ["conv_c"], keep_float=("conv_a",), max_drop=0.5)


@pytest.fixture
def bundle(whole, tmp_path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(whole[0], tmp_path / "a"))


@pytest.fixture
def of_the_run(run, monkeypatch):
    monkeypatch.setattr(hartx.run, "load_run", lambda _: run)
    monkeypatch.setattr(export.clips, "RunClips", lambda _: Patterns())


def failures(folder: Path) -> dict[tuple[str, str], str]:
    return {(c.subject, c.name): c.note for c in verify(folder, None, None) if not c.passed}


def edit(folder: Path, name: str, change) -> None:
    """Change a JSON file, and its hash in bundle.json where that lists it."""
    values = json.loads((folder / name).read_text())
    change(values)
    data = (json.dumps(values) + "\n").encode()
    (folder / name).write_bytes(data)
    listed = json.loads((folder / "bundle.json").read_text())
    if name in listed["files"]:
        listed["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
        (folder / "bundle.json").write_text(json.dumps(listed))


# --- the bundle -------------------------------------------------------------------------------------


def test_bundle_with_layers_in_float_is_sound_and_tells_them(whole):
    folder, printed = whole
    assert failures(folder) == {}
    stated = json.loads((folder / "calibration.json").read_text())["layers"]
    exported = json.loads((folder / "export.json").read_text())
    assert stated == exported["exports"]["onnx-int8"]["layers"]
    assert stated["int8"] == ["conv_b", "conv_d"] and list(stated["float"]) == ["conv_a", "conv_c"]
    assert exported["options"]["keep_float"] == ["conv_a"] and exported["options"]["max_drop"] == 0.5
    assert "conv_c stays in float" in printed and "2 of 4 layers in float" in printed
    assert "so are conv_a, conv_c" in (folder / "model_card.md").read_text()


def test_tensorrt_reads_the_budget_that_was_asked_for(whole, run, tmp_path):
    assert json.loads((whole[0] / "bundle.json").read_text())["max_drop_points"] == 0.5
    assert make_plan(read_bundle(whole[0]), "10.3.0", Wish()).max_drop == 0.5
    export_to(tmp_path / "b", run, max_drop=1.25, calibrator="max")
    assert make_plan(read_bundle(tmp_path / "b"), "10.3.0", Wish()).max_drop == 1.25
    export_to(tmp_path / "c", run, calibrator="max")
    assert "max_drop_points" not in json.loads((tmp_path / "c" / "bundle.json").read_text())


def test_mcnemar_is_kept_for_every_format_but_the_first_and_shown(run, tmp_path):
    printed = export_to(
        tmp_path / "a", run, names="onnx-fp32,onnx-fp16,onnx-int8", calibrator="max", calibration_clips=7
    )
    exports = json.loads((tmp_path / "a" / "export.json").read_text())["exports"]
    assert exports["onnx-fp32"]["mcnemar"] is None
    for name in ("onnx-fp16", "onnx-int8"):
        found, entry = exports[name]["mcnemar"], exports[name]
        gained = round((entry["top1"] - exports["onnx-fp32"]["top1"]) * entry["clips"])
        assert entry["clips"] == 15 and found["against"] == "onnx-fp32"
        assert found["only_this_right"] - found["only_other_right"] == gained
        assert 0 < found["p_value"] <= 1
    assert "+0 -0, p = 1" in printed


def test_verify_finds_a_layer_that_is_not_what_the_file_says(bundle):
    edit(bundle, "calibration.json", lambda v: v["layers"]["float"].pop("conv_a"))
    note = failures(bundle)["model.int8.onnx", "layers in int8"]
    assert "int8 in the model: conv_b, conv_d; by calibration.json: conv_a, conv_b, conv_d" in note


# --- sensitivity ------------------------------------------------------------------------------------


def test_command_measures_the_layers_in_int8_and_the_bundle_stays_as_it_was(bundle, run, of_the_run, capsys):
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    assert command.main([f"--bundle={bundle}", f"--workdir={run.workdir}", "--clips=10"]) == 0
    out = capsys.readouterr().out
    assert "10 training clips (subjects 1, 3)" in out and "all of these" in out
    found = json.loads((bundle / "sensitivity.json").read_text())
    assert set(found["layers"]) == {"conv_b", "conv_d"} and set(found["kept_in_float"]) == {"conv_a", "conv_c"}
    ratios = [entry["sqnr_db"] for entry in found["layers"].values()]
    assert ratios == sorted(ratios) and found["int8"]["sqnr_db"] < ratios[0]
    assert len(found["clips"]) == 10 and set(found["clips"]) <= {e.name for e in Patterns().entries("train")}
    assert (bundle / "sensitivity.png").read_bytes().startswith(b"\x89PNG")
    assert {name: (bundle / name).read_bytes() for name in before} == before
    read_bundle(bundle)
    assert failures(bundle) == {}
    assert any(check.subject == "sensitivity.json" for check in verify(bundle, None, None))


def test_what_was_stopped_goes_on_and_ends_the_same(bundle, run, of_the_run, capsys, monkeypatch):
    arguments = [f"--bundle={bundle}", f"--workdir={run.workdir}", "--clips=6"]
    runs, stop_at = [], [None]
    output = Session.output

    def counted(self, feeds):
        if len(runs) == stop_at[0]:
            raise KeyboardInterrupt
        runs.append(1)
        return output(self, feeds)

    monkeypatch.setattr(Session, "output", counted)
    assert command.main(arguments) == 0
    undisturbed = (bundle / "sensitivity.json").read_bytes()
    (bundle / "sensitivity.json").unlink()
    assert len(runs) == 4 * 6  # float, conv_b, conv_d, both
    runs.clear()
    stop_at[0] = 2 * 6 + 3
    assert command.main(arguments) == 1
    assert "stopped; the same command goes on" in capsys.readouterr().err
    assert failures(bundle) == {} and not (bundle / "sensitivity.json").exists()
    kept = (bundle / PARTIAL_FILE).read_bytes()
    stop_at[0] = None
    for partial, clips, expected in ((kept, 6, 2 * 6), (kept, 5, 4 * 5), (kept[:-100], 6, 4 * 6), (b"", 6, 4 * 6)):
        runs.clear()
        (bundle / PARTIAL_FILE).write_bytes(partial)
        assert command.main([*arguments[:2], f"--clips={clips}"]) == 0
        assert len(runs) == expected and not (bundle / PARTIAL_FILE).exists()
        assert ((bundle / "sensitivity.json").read_bytes() == undisturbed) == (clips == 6)


def test_sensitivity_of_other_models_is_found(bundle, run, of_the_run, capsys):
    assert command.main([f"--bundle={bundle}", f"--workdir={run.workdir}", "--clips=2"]) == 0
    edit(bundle, "sensitivity.json", lambda v: v["models"].update(int8="0" * 64))
    assert "measured on other models" in failures(bundle)["sensitivity.json", "of these models"]
    with pytest.raises(ExportError, match=r"other models(.|\n)*export.sensitivity"):
        read_facts(bundle)


def test_bundle_without_int8_is_refused(run, of_the_run, tmp_path, capsys):
    export_to(tmp_path / "b", run, names="onnx-fp32,onnx-fp16", calibration_clips=5)
    assert command.main([f"--bundle={tmp_path / 'b'}", f"--workdir={run.workdir}"]) == 1
    error = capsys.readouterr().err
    assert "has no int8 model (it has onnx-fp32, onnx-fp16)" in error and "--formats=onnx-fp32,onnx-int8" in error


@pytest.mark.parametrize("full", ["export.sensitivity_report.draw", "export.sensitivity_report.write_json"])
def test_a_full_disk_leaves_neither_numbers_nor_a_picture(bundle, run, of_the_run, capsys, monkeypatch, full):
    def no_room(_, path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    before = set(bundle.iterdir())
    monkeypatch.setattr(full, no_room if full.endswith("draw") else lambda path, _: no_room(_, path))
    assert command.main([f"--bundle={bundle}", f"--workdir={run.workdir}", "--clips=10"]) == 1
    assert "cannot be written: No space left" in capsys.readouterr().err
    assert set(bundle.iterdir()) == before | {bundle / PARTIAL_FILE}  # what was measured is not lost


def test_another_run_is_refused(bundle, run, of_the_run, capsys):
    edit(bundle, "bundle.json", lambda v: v["run"].update(step=8))
    assert command.main([f"--bundle={bundle}", f"--workdir={run.workdir}"]) == 1
    assert "the bundle was made from" in capsys.readouterr().err
    assert not (bundle / "sensitivity.json").exists()


def test_no_bundle_no_run_and_no_number_are_one_message(bundle, tmp_path, capsys):
    assert command.main([f"--bundle={tmp_path}", "--workdir=r"]) == 1
    assert "is not a bundle" in capsys.readouterr().err
    assert command.main([f"--bundle={bundle}", f"--workdir={tmp_path / 'r'}"]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    with pytest.raises(SystemExit):
        command.main([f"--bundle={bundle}", "--workdir=r", "--clips=none"])
    assert "a whole number from 1" in capsys.readouterr().err


# --- the document -----------------------------------------------------------------------------------


def rows(text: str, table: str) -> list[list[str]]:
    block = text.split(f"<!-- quantization:{table}")[1].split("<!-- /")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines() if line.startswith("|")][2:]


def test_the_document_has_the_numbers_of_the_bundles(bundle, run, of_the_run, tmp_path, capsys):
    assert command.main([f"--bundle={bundle}", f"--workdir={run.workdir}", "--clips=5"]) == 0
    export_to(tmp_path / "b", run, calibrator="mse")
    document = tmp_path / "quantization.md"
    document.write_text(DOCUMENT)
    arguments = [f"--bundles={bundle},{tmp_path / 'b'}", f"--output={document}"]
    assert quantization.main(arguments) == 0
    once = document.read_text()
    assert quantization.main(arguments) == 0 and document.read_text() == once
    assert "By hand." in once and "old" not in once
    accuracy = rows(once, "accuracy")
    assert [row[:2] for row in accuracy] == [[f"`{n}`", f"`onnx-{p}`"] for n in "ab" for p in ("fp32", "int8")]
    exports = json.loads((bundle / "export.json").read_text())["exports"]
    int8, size = exports["onnx-int8"], exports["onnx-fp32"]["size_bytes"]
    assert accuracy[1][3] == f"{int8['size_bytes'] / size:.1%}" and accuracy[1][4] == f"{int8['top1']:.2%}"
    assert accuracy[1][5:] == ["15", "test", "+0.00", "0", "0", "1"] and accuracy[0][7:] == ["", "", "", ""]
    compared = rows(once, "calibrators")
    assert len(compared) == 7 and sum(row[-1] == "chosen" for row in compared) == 1
    assert [row[2] for row in rows(once, "layers")] == ["`conv_a`", "`conv_c`", "none"]
    measured = json.loads((bundle / "sensitivity.json").read_text())["layers"]
    found = rows(once, "sensitivity")
    assert [row[1] for row in found] == [*(f"`{name}`" for name in measured), "all of these", "none"]
    assert found[0][2] == f"{next(iter(measured.values()))['sqnr_db']:.1f}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- quantization:sensitivity -->\n<!-- /quantization:sensitivity -->", "has no sensitivity.json"),
        ("<!-- quantization:accuracy b -->\n<!-- /quantization:accuracy -->", "shows a bundle 'b', which is not among"),
        ("<!-- quantization:acuracy -->\n<!-- /quantization:acuracy -->", "did you mean 'accuracy'"),
        ("<!-- quantization:accuracy -->\n", "do not go in pairs"),
    ],
)
def test_what_cannot_be_written_is_refused_and_the_document_stays(bundle, tmp_path, capsys, text, message):
    document = tmp_path / "quantization.md"
    document.write_text(text)
    assert quantization.main([f"--bundles={bundle}", f"--output={document}"]) == 1
    assert message in capsys.readouterr().err and document.read_text() == text


def test_a_folder_in_place_of_the_document_is_one_clear_error(bundle, tmp_path, capsys):
    assert quantization.main([f"--bundles={bundle}", f"--output={tmp_path}"]) == 1
    assert f"--output={tmp_path} was given, which is a folder" in capsys.readouterr().err


def test_a_bundle_with_weights_alone_in_int8_is_in_the_table_of_accuracy_only():
    exports = {"exports": {"onnx-fp32": {}, "onnx-int8": {}}}
    with_layers = Facts("a", {}, exports, {"estimator": "max"}, None)
    every = {"a": with_layers, "b": Facts("b", {}, exports, None, None)}
    assert [facts.name for facts in choose("accuracy", [], every)] == ["a", "b"]
    assert choose("calibrators", [], every) == choose("sensitivity", [], every) == [with_layers]
    assert choose("layers", ["b"], every) == [every["b"]]  # whoever names it gets the error


def test_bundles_of_one_name_and_no_document_are_refused(bundle, whole, tmp_path, capsys):
    document = tmp_path / "quantization.md"
    assert quantization.main([f"--bundles={bundle}", f"--output={document}"]) == 1
    assert "does not exist" in capsys.readouterr().err
    document.write_text(DOCUMENT)
    assert quantization.main([f"--bundles={bundle},{whole[0]}", f"--output={document}"]) == 1
    assert "two of the bundles are named 'a'" in capsys.readouterr().err


def test_the_document_in_the_repository_has_markers_for_every_table(repository):
    text = (repository / "docs/quantization.md").read_text()
    for kind in quantization.KINDS:
        assert f"<!-- quantization:{kind}" in text and f"<!-- /quantization:{kind} -->" in text


def test_layers_are_named_as_the_option_takes_them(whole):
    assert set(LAYERS) >= set(json.loads((whole[0] / "calibration.json").read_text())["layers"]["int8"])


def test_a_budget_of_nothing_is_a_budget(run, tmp_path):
    export_to(tmp_path / "a", run, max_drop=0.0, calibrator="max")
    assert json.loads((tmp_path / "a" / "bundle.json").read_text())["max_drop_points"] == 0
    assert make_plan(read_bundle(tmp_path / "a"), "10.3.0", Wish()).max_drop == 0


def test_scales_that_are_not_the_model_s_are_refused(bundle, run, of_the_run, capsys):
    edit(bundle, "calibration.json", lambda v: next(iter(v["tensors"].values())).update(scale=1.0))
    assert command.main([f"--bundle={bundle}", f"--workdir={run.workdir}", "--clips=2"]) == 1
    assert "1.0 in calibration.json" in capsys.readouterr().err


def test_table_sums_up_what_was_measured_and_names_what_was_not(bundle, run, of_the_run, capsys):
    assert command.main([f"--bundle={bundle}", f"--workdir={run.workdir}", "--clips=2"]) == 0
    out = capsys.readouterr().out
    found = json.loads((bundle / "sensitivity.json").read_text())
    (line,) = [line for line in out.splitlines() if "all of these" in line]
    shares = [sum(entry[name] for entry in found["layers"].values()) for name in ("parameter_share", "mac_share")]
    assert all(f"{share:.1%}" in line for share in shares)
    assert "in float throughout: conv_a" in " ".join(out.split())


def test_a_result_that_cannot_be_written_is_one_message(bundle, run, of_the_run, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device", str(bundle / "sensitivity.json"))

    monkeypatch.setattr("export.sensitivity_report.write_json", full)
    assert command.main([f"--bundle={bundle}", f"--workdir={run.workdir}", "--clips=2"]) == 1
    assert "sensitivity.json cannot be written: No space left on device" in capsys.readouterr().err


def test_sensitivity_looks_for_moved_recordings_where_raw_dir_says(bundle, run, monkeypatch):
    asked = []
    monkeypatch.setattr(hartx.run, "load_run", lambda _: run)
    monkeypatch.setattr(export.clips, "RunClips", lambda r: asked.append(r.config.dataset.raw_dir) or Patterns())
    before = run.config.dataset.raw_dir
    try:
        command.main([f"--bundle={bundle}", f"--workdir={run.workdir}", "--raw_dir=elsewhere", "--clips=1"])
    finally:
        run.config.dataset.raw_dir = before
    assert asked == ["elsewhere"]


def test_table_of_accuracy_has_the_right_sign_and_lost_before_gained():
    test = {"against": "onnx-fp32", "only_other_right": 5, "only_this_right": 2, "p_value": 0.453125}
    base = {"top1": 0.9, "size_bytes": 4_000_000, "clips": 100, "split": "test", "mcnemar": None}
    int8 = {**base, "top1": 0.87, "size_bytes": 1_000_000, "mcnemar": test}
    text = accuracy([Facts("a", {}, {"exports": {"onnx-fp32": base, "onnx-int8": int8}}, None, None)])
    assert text.splitlines()[3] == "| `a` | `onnx-int8` | 1.00 | 25.0% | 87.00% | 100 | test | -3.00 | 5 | 2 | 0.453 |"


@pytest.mark.parametrize(("seen", "shown"), [(True, "3 (trained on)"), (False, "3")])
def test_table_of_calibrators_says_whether_the_network_was_trained_on_who_judges(seen, shown):
    found = {
        "held_out_subject": 3, "network_was_trained_on_it": seen, "held_out_clips": 15,
        "scores": {"max": {"top1": 1.0, "nll": 0.1}},
    }  # fmt: skip
    facts = Facts("a", {}, {}, {"estimator": "max", "candidates": found}, None)
    assert f"| {shown} |" in quantization.KINDS["calibrators"]([facts])
