"""A run that goes on from the network of another: with the same actions, with other ones, and what is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from configs import finetune, prune
from hartx import config as configs
from hartx.data import open_recordings
from hartx.errors import HartxError
from hartx.evaluate import evaluate
from hartx.finetuning import check_source, finetuned_config, first_state
from hartx.pruning.start import pruned_config
from hartx.run import RunLength, load_run, make_recipe
from hartx.source_run import source_of
from hartx.train import train
from tests.datasets.video_clips import write_clip
from tests.hartx.small_runs import arrays, assert_same, flat, stop_at_its_first_checkpoint, two_steps

NAMING = ("streams", "rgb", "classifier")


@pytest.fixture(scope="module")
def source(small_data, tmp_path_factory):
    """A run of two steps on the colour of people 1, 3, 5 and 7."""
    workdir = tmp_path_factory.mktemp("source") / "rgb"
    train(two_steps(small_data, "rgb"), workdir)
    return workdir


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Clips of two people and of actions that the source does not know."""
    folder = tmp_path_factory.mktemp("clips")
    for action in ("fall", "stand up"):
        for person in ("anna", "ben"):
            for take in range(2):
                write_clip(folder / action / person / f"{take}.mp4", bright=8 * take)
    return folder


def request(source, **changes):
    config = finetune.get_config()
    config.finetune.workdir = str(source)
    config.num_epochs = 1
    config.update_from_flattened_dict(changes)
    return config


def on_clips(source, clips, **changes):
    given = {"dataset.name": "video_folder", "dataset.raw_dir": str(clips), "batch_size": 2}
    return request(source, **given, **changes)


@pytest.fixture(scope="module")
def finetuned(source, clips, tmp_path_factory):
    """The run on those clips."""
    workdir = tmp_path_factory.mktemp("finetuned") / "run"
    config = finetuned_config(on_clips(source, clips), workdir)
    train(config, workdir)
    evaluate(config, workdir)
    return workdir


def begun(config, labels):
    _, blank = make_recipe(config, len(labels), RunLength(2.0, 2))
    return blank, first_state(config, labels, blank)


def test_what_is_given_is_changed_and_everything_else_is_as_it_was(source, tmp_path):
    changes = {"clip.crop": 24, "protocol": "loso:2", "optim.learning_rate": 0.5}
    config = finetuned_config(request(source, **changes), tmp_path / "run")
    own = {"name": "small_finetuned", "finetune.workdir": str(source), "optim.warmup_epochs": 1.0}
    before, after = configs.flatten(configs.load(source)), configs.flatten(config)
    assert {field: value for field, value in after.items() if before.get(field) != value} == changes | own
    assert source_of(config) == source and source_of(configs.load(source)) is None


def test_with_the_same_actions_all_of_the_network_is_taken(source):
    run = load_run(source)
    blank, state = begun(finetuned_config(request(source), source / "other"), run.labels)
    for values in (state.params | state.batch_stats, state.ema | state.batch_stats):
        taken = flat(values)
        assert taken.keys() == arrays(source).keys()
        for path, value in arrays(source).items():
            np.testing.assert_array_equal(taken[path], value, err_msg=str(path))
    assert any((flat(blank.params)[path] != value).any() for path, value in flat(state.params).items())


@pytest.mark.parametrize("labels", [("fall", "stand up"), tuple(f"other {i}" for i in range(27))])
def test_with_other_actions_the_layers_that_name_them_begin_anew(source, labels):
    blank, state = begun(finetuned_config(request(source), source / "other"), labels)
    before, own = arrays(source), flat(blank.params)
    for path, value in flat(state.params).items():
        np.testing.assert_array_equal(value, own[path] if path[:3] == NAMING else before[path], err_msg=str(path))
    assert flat(state.params)[(*NAMING, "kernel")].shape[-1] == len(labels)
    assert (flat(state.params)[(*NAMING, "kernel")] != before[(*NAMING, "kernel")][..., : len(labels)]).any()


def test_a_run_on_own_clips_begins_where_the_other_ended_and_is_tested(source, finetuned):
    report = json.loads((finetuned / "report.json").read_text())
    assert report["clips"] == 4 and list(report["per_class"]) == ["fall", "stand up"]
    stem = ("streams", "rgb", "stem", "kernel")
    moved = np.abs(arrays(finetuned)[stem] - arrays(source)[stem]).max()
    assert 0 < moved < 0.1 * np.abs(arrays(source)[stem]).max()


def test_a_run_that_is_stopped_goes_on_without_the_one_it_began_with(source, finetuned, clips, tmp_path, monkeypatch):
    workdir, gone = tmp_path / "run", tmp_path / "gone"
    shutil.copytree(source, gone)
    config = finetuned_config(on_clips(gone, clips), workdir)
    stop_at_its_first_checkpoint(config, workdir, monkeypatch)
    shutil.rmtree(gone)
    train(configs.load(workdir), workdir)
    assert_same(workdir, finetuned)


def refused(config, workdir, message):
    with pytest.raises(HartxError, match=message):
        train(config, workdir)
    assert not workdir.exists(), "a run that cannot start leaves no folder"


def test_recordings_that_the_network_was_trained_on_are_not_tested(source, small_data, tmp_path):
    message = r"was trained on 27 of the recordings that loso:3 tests or validates on \(a10_s3_t1 is one of them\)"
    refused(finetuned_config(request(source, protocol="loso:3"), tmp_path / "run"), tmp_path / "run", message)
    validated = finetuned_config(request(source, validation_subject=3), tmp_path / "run")
    refused(validated, tmp_path / "run", "was trained on 27 of the recordings that cross_subject tests or validates on")
    # They are where the new run has them: the folder of the old one may be gone.
    moved = shutil.copytree(source, tmp_path / "moved")
    values = json.loads((moved / "config.json").read_text())
    values["dataset"]["data_dir"] = str(tmp_path / "gone")
    (moved / "config.json").write_text(json.dumps(values))
    changes = {"protocol": "loso:3", "dataset.data_dir": str(small_data)}
    refused(finetuned_config(request(moved, **changes), tmp_path / "run"), tmp_path / "run", message)
    assert not (tmp_path / "gone").exists()


def test_nor_by_a_detour_over_other_recordings(source, finetuned, small_data, tmp_path, monkeypatch, caplog):
    back = {"dataset.name": "synthetic_mhad", "dataset.raw_dir": "", "dataset.data_dir": str(small_data)}
    smaller = prune.get_config()
    smaller.prune.update({"workdir": str(finetuned), "keep_parameters": 1.0, "keep_flops": 1.0})
    smaller.num_epochs = 1
    monkeypatch.setattr("hartx.pruning.start.BATCHES", 1)
    pruned = tmp_path / "pruned"
    train(pruned_config(smaller, pruned), pruned)
    message = f"{source} was trained on 27 of the recordings that loso:3 tests"
    for folder in (finetuned, pruned):
        config = finetuned_config(request(folder, protocol="loso:3", **back), tmp_path / "run")
        assert "prune" not in config and source_of(config) == folder
        refused(config, tmp_path / "run", message)
    # Nothing is known where a folder on the way is gone; that is said.
    recordings = open_recordings(config)
    lost = shutil.copytree(finetuned, tmp_path / "lost")
    values = json.loads((lost / "config.json").read_text())
    values["finetune"]["workdir"] = str(tmp_path / "gone")
    (lost / "config.json").write_text(json.dumps(values))
    (lost / "run.json").write_text(json.dumps(without_hash(lost)))
    check_source(finetuned_config(request(lost, protocol="loso:3", **back), tmp_path / "run"), recordings)
    assert f"{tmp_path / 'gone'} is gone" in caplog.text


def without_hash(workdir):
    return {
        key: value for key, value in json.loads((workdir / "run.json").read_text()).items() if key != "config_sha256"
    }


def test_another_network_is_refused(source, tmp_path):
    config = finetuned_config(request(source), tmp_path / "run")
    config.model.video.width = 8
    refused(config, tmp_path / "run", r"has another network than this config's: \d+ of its parameters differ, streams/")


def test_an_unfinished_run_is_refused(source, tmp_path):
    unfinished = shutil.copytree(source, tmp_path / "unfinished")
    shutil.rmtree(unfinished / "checkpoints" / "last")
    refused(finetuned_config(request(unfinished), tmp_path / "run"), tmp_path / "run", "is not finished")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"finetune.workdir": ""}, "config.finetune.workdir is empty"),
        ({"finetune.workdir": "nowhere"}, "nowhere holds no run"),
        ({"num_epochs": 0}, "config.num_epochs=0 was given; at least 1"),
        ({"dataset.name": "utd_mahd"}, "did you mean 'utd_mhad'"),
    ],
)
def test_what_cannot_go_on_is_refused(source, tmp_path, changes, message):
    with pytest.raises(HartxError, match=message):
        finetuned_config(request(source, **changes), tmp_path / "run")


def test_a_run_does_not_go_on_from_itself(source):
    with pytest.raises(HartxError, match="is the run itself"):
        finetuned_config(request(source), source)
