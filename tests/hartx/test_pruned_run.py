"""A pruned run from its start to its bundle, on small recordings."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest
from flax import nnx

import export.__main__ as export_command
from configs import prune
from edge.bundle import read_bundle
from hartx import config as configs
from hartx.errors import HartxError
from hartx.evaluate import evaluate
from hartx.pruning import start, table
from hartx.pruning.record import top1_change
from hartx.run import RunLength, load_run, make_recipe
from hartx.summary import model_costs
from hartx.train import train
from tests.hartx.small_runs import arrays, assert_same, stop_at_its_first_checkpoint, two_steps


@pytest.fixture(scope="module", autouse=True)
def few_batches():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start, "BATCHES", 2)
        yield


def source_config(small_data, *streams):
    config = two_steps(small_data, *streams)
    config.model.video.width = 16
    return config


def request(source, **changes):
    config = prune.get_config()
    config.prune.workdir = str(source)
    config.num_epochs = 1
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def source(small_data, tmp_path_factory):
    """A run of two steps on colour alone."""
    workdir = tmp_path_factory.mktemp("source") / "rgb"
    train(source_config(small_data, "rgb"), workdir)
    return workdir


@pytest.fixture(scope="module")
def pruned(source, tmp_path_factory):
    """The run that prunes it, and the hash of the source's files before."""
    before = digest(source)
    workdir = tmp_path_factory.mktemp("pruned") / "run"
    config = start.pruned_config(request(source), workdir)
    train(config, workdir)
    evaluate(config, workdir)
    return workdir, before


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(str(path).encode() + path.read_bytes() for path in files)).hexdigest()


def test_the_pruned_run_is_smaller_as_it_was_told(source, pruned):
    before, after = load_run(source), load_run(pruned[0])
    small, large = (model_costs(run.model, {"rgb": run.specs["rgb"].shape}) for run in (after, before))
    assert small.parameters <= 0.6 * large.parameters and small.flops <= 0.71 * large.flops
    video = after.config.model.video
    network = after.model.streams["rgb"]
    assert tuple(block.conv1.kernel.shape[-1] for block in network.blocks) == video.inner_widths
    assert tuple(block.conv2.kernel.shape[-1] for block in network.blocks) == video.stage_widths
    assert network.stem.kernel.shape[-1] == video.width == video.stage_widths[0]
    assert after.config.name == "small_pruned" and after.config.clip == before.config.clip


def test_the_run_that_is_pruned_stays_as_it_is(source, pruned):
    assert digest(source) == pruned[1]


def test_the_comparison_holds_what_the_reports_hold(source, pruned, tmp_path):
    plan, report = (json.loads((pruned[0] / name).read_text()) for name in ("pruning.json", "report.json"))
    copy = shutil.copytree(source, tmp_path / "copy")
    before = evaluate(configs.load(copy), copy)
    for field in ("parameters", "flops", "macs", "clips", "top1"):
        assert (plan["before"][field], plan["after"][field]) == (before[field], report[field])
    assert plan["after"]["weights_bytes"] == 4 * sum(value.size for value in arrays(pruned[0]).values())
    cells = table.row(pruned[0])
    assert cells[0] == "`small_pruned`, seed 0"
    assert cells[2].startswith(f"{before['parameters']:,} → {report['parameters']:,} ")
    assert table.table([pruned[0], pruned[0]]).splitlines()[2:] == ["| " + " | ".join(cells) + " |"] * 2


def test_the_table_is_written_between_its_markers_and_the_text_stays(pruned, tmp_path, capsys):
    document = tmp_path / "quantization.md"
    text = "Before.\n\n<!-- quantization:accuracy -->\nothers\n<!-- /quantization:accuracy -->\n\n{}\nAfter.\n"
    document.write_text(text.format("<!-- pruning:runs -->\nold\n<!-- /pruning:runs -->"))
    assert table.main([str(pruned[0]), f"--output={document}"]) == 0
    expected = f"<!-- pruning:runs -->\n\n{table.table([pruned[0]])}\n<!-- /pruning:runs -->"
    assert document.read_text() == text.format(expected)
    assert capsys.readouterr().out == f"{document}\n"
    assert table.main([str(pruned[0]), f"--output={document}"]) == 0 and document.read_text() == text.format(expected)
    assert table.main([str(pruned[0])]) == 0 and table.table([pruned[0]]) in capsys.readouterr().out


@pytest.mark.parametrize(
    "text, message",
    [
        ("no markers", "has no place for the table; <!-- pruning:runs -->"),
        ("<!-- pruning:runs -->\n", "do not go in pairs"),
        ("<!-- pruning:runs a -->\n<!-- /pruning:runs -->\n", "the runs are those of the command"),
        (None, "does not exist"),
    ],
)
def test_a_document_without_its_place_is_refused_and_stays(pruned, tmp_path, capsys, text, message):
    document = tmp_path / "quantization.md"
    if text is not None:
        document.write_text(text)
    assert table.main([str(pruned[0]), f"--output={document}"]) == 1
    assert message in capsys.readouterr().err
    assert text is None or document.read_text() == text


def test_fine_tuning_starts_from_what_is_kept(source, pruned):
    config = configs.load(pruned[0])
    _, blank = make_recipe(config, 27, RunLength(2.0, 2))
    state = start.first_state(config, pruned[0], blank)
    kept = json.loads((pruned[0] / "pruning.json").read_text())["kept"]
    kernel = arrays(source)["streams", "rgb", "blocks", 1, "conv2", "kernel"]
    expected = kernel[:, :, :, kept["blocks.1.conv1"]][..., kept["blocks.1"]]
    path = ("streams", "rgb", "blocks", 1, "conv2", "kernel")
    for values in (state.params, state.ema):
        np.testing.assert_array_equal(dict(nnx.to_flat_state(values))[path][...], expected)
    assert np.abs(arrays(pruned[0])[path] - expected).max() > 0  # it was fine-tuned since


def test_a_pruned_run_that_is_stopped_goes_on_without_the_run_it_prunes(source, pruned, tmp_path, monkeypatch):
    workdir, gone = tmp_path / "run", tmp_path / "gone"
    shutil.copytree(source, gone)
    config = start.pruned_config(request(gone), workdir)
    assert config.model == configs.load(pruned[0]).model
    stop_at_its_first_checkpoint(config, workdir, monkeypatch)
    with pytest.raises(HartxError, match="not finished"):
        load_run(workdir)
    assert configs.flatten(start.pruned_config(request(gone), workdir)) == configs.flatten(config)  # the same command
    with pytest.raises(HartxError, match=r"num_epochs: 1 there, 2 now"):
        train(start.pruned_config(request(gone, num_epochs=2), workdir), workdir)
    shutil.rmtree(gone)
    train(configs.load(workdir), workdir)
    assert_same(workdir, pruned[0])


def test_a_pruned_run_is_exported_like_any_other(pruned, tmp_path):
    workdir, folder = pruned[0], tmp_path / "bundle"
    assert export_command.main([f"--workdir={workdir}", f"--bundle={folder}", "--formats=onnx-fp32"]) == 0
    top1 = read_bundle(folder).precisions["fp32"].top1
    assert top1 == pytest.approx(json.loads((workdir / "report.json").read_text())["top1"], abs=1.5 / 108)


def test_the_video_of_a_fusion_is_pruned_and_the_rest_carried_over(small_data, tmp_path):
    source, workdir = tmp_path / "fusion", tmp_path / "pruned"
    train(source_config(small_data, "skeleton", "rgb"), source)
    config = start.pruned_config(request(source, **{"optim.learning_rate": 0.0}), workdir)
    train(config, workdir)
    before, after = arrays(source), arrays(workdir)
    kept = json.loads((workdir / "pruning.json").read_text())["kept"]["blocks.3"]
    skeleton = len(before["hidden", "kernel"]) - 8 * 16  # features of the skeletons, which come first
    rows = [*range(skeleton), *(skeleton + np.array(kept))]
    np.testing.assert_array_equal(after["hidden", "kernel"], before["hidden", "kernel"][rows])
    for path in before:
        if path[:2] == ("streams", "skeleton") and path[-1] not in ("mean", "var"):
            np.testing.assert_array_equal(after[path], before[path], err_msg=str(path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prune.workdir": ""}, "config.prune.workdir is empty"),
        ({"prune.workdir": "nowhere"}, "nowhere holds no run"),
        ({"prune.keep_flops": 0.0}, r"config.prune.keep_flops=0.0 was given; 0 < value <= 1"),
        ({"prune.keep_parameters": 1.5}, r"config.prune.keep_parameters=1.5 was given; 0 < value <= 1"),
        ({"prune.keep_parameters": 0.05}, r"leaves 0\.\d+ of the parameters"),
        ({"num_epochs": 0}, "config.num_epochs=0 was given; at least 1"),
    ],
)
def test_what_cannot_be_pruned_is_refused_and_leaves_no_folder(source, tmp_path, changes, message):
    with pytest.raises(HartxError, match=message):
        start.pruned_config(request(source, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_does_not_prune_itself_and_no_run_is_overwritten(source, pruned, tmp_path):
    with pytest.raises(HartxError, match="is the run itself"):
        start.pruned_config(request(source), source)
    other = shutil.copytree(source, tmp_path / "other")
    with pytest.raises(HartxError, match="holds a run that prunes no other"):
        start.pruned_config(request(source), other)


def test_an_unfinished_run_is_refused(source, tmp_path):
    unfinished = shutil.copytree(source, tmp_path / "unfinished")
    shutil.rmtree(unfinished / "checkpoints" / "last")
    with pytest.raises(HartxError, match="is not finished"):
        start.pruned_config(request(unfinished), tmp_path / "run")


@pytest.mark.parametrize("streams", [("skeleton",), ("rgb", "depth")])
def test_a_run_without_one_3d_network_is_refused(source, streams):
    run = load_run(source)
    run.config.streams = streams
    with pytest.raises(HartxError, match="one of rgb and depth is expected"):
        start.video_stream(run)


def test_a_run_that_was_not_evaluated_has_no_row(pruned, tmp_path):
    copy = shutil.copytree(pruned[0], tmp_path / "copy")
    plan = json.loads((copy / "pruning.json").read_text())
    del plan["after"]
    (copy / "pruning.json").write_text(json.dumps(plan))
    with pytest.raises(HartxError, match="was not evaluated yet"):
        table.row(copy)


@pytest.mark.parametrize("after, expected", [({}, -0.1), ({"views": 3}, None), ({"clips": 7}, None)])
def test_accuracies_are_compared_if_they_are_of_the_same_clips_and_views(after, expected):
    before = {"top1": 0.9, "clips": 8, "views": 1}
    change = top1_change({"before": before, "after": before | {"top1": 0.8} | after})
    assert change == (None if expected is None else pytest.approx(expected))
