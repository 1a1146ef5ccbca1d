"""Training on a folder of anybody's clips, with classes of its own."""

import dataclasses
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from configs import rgb, skeleton
from hartx.data import open_recordings
from hartx.errors import HartxError
from hartx.evaluate import evaluate
from hartx.files import write_json
from hartx.run import load_run, recordings_of, run_name
from hartx.streaming.report import Settings, measure
from hartx.sweep import Sweep, _claim, _describe, plan
from hartx.train import train
from tests.datasets.video_clips import write_clip


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for action, codec in (("push", "mpeg4"), ("wave", "mpeg4"), ("zoom in", "libx264")):
        for person in ("anna", "ben"):
            for take in range(2):
                write_clip(folder / action / person / f"{take}.mp4", codec=codec, bright=8 * take)
    return folder


@pytest.fixture
def config(clips, tmp_path):
    config = rgb.get_config("small")
    config.dataset.name = "video_folder"
    config.dataset.raw_dir = str(clips)
    config.dataset.data_dir = str(tmp_path / "tfds")
    config.clip.resize, config.clip.crop, config.clip.num_frames = 20, 16, 4
    config.model.video.width = 4
    config.batch_size, config.num_epochs = 6, 1
    return config


def test_a_run_has_the_classes_of_the_folders(config, tmp_path):
    run = tmp_path / "run"
    train(config, run)
    report = evaluate(config, run)
    assert report["dataset"] == "video_folder" and report["clips"] == 6 and report["test_subjects"] == [2]
    assert list(report["per_class"]) == ["push", "wave", "zoom in"]
    loaded = load_run(run)
    assert loaded.labels == ("push", "wave", "zoom in")
    assert loaded.model({"rgb": jnp.zeros((2, 4, 16, 16, 3))}).shape == (2, 3)
    measure(loaded, open_recordings(config), Settings(), tmp_path / "streaming")
    assert (tmp_path / "streaming/strip.png").exists()

    # Other folders number classes and people anew: the test side is no longer who it was.
    config.dataset.raw_dir = str(shutil.copytree(config.dataset.raw_dir, tmp_path / "more"))
    write_clip(tmp_path / "more/wave/aaron/0.mp4")
    before = (run / "config.json").read_text()
    with pytest.raises(HartxError, match="was trained on other clips than those given now"):
        evaluate(config, run)
    with pytest.raises(HartxError, match="was trained on other clips than those given now"):
        recordings_of(dataclasses.replace(loaded, config=config))
    write_clip(tmp_path / "more/clap/ben/0.mp4")
    with pytest.raises(
        HartxError, match=r"was trained to tell push, wave, zoom in; these recordings are of clap, push"
    ):
        evaluate(config, run)
    with pytest.raises(HartxError, match="started on other training recordings"):  # although it is finished
        train(config, run)
    assert (run / "config.json").read_text() == before


def test_frames_reach_the_network_in_their_order(config):
    """They become brighter from frame to frame, and so does what is read of them."""
    recordings = open_recordings(config, progress=False)
    for index in recordings.kept:
        track = recordings.source[index].tracks["rgb"]
        means = [frame.mean() for frame in track.values]
        assert len(means) == 9 and np.all(np.diff(means) > 0)


def test_without_people_only_a_random_split_is_possible(config, tmp_path):
    for action in ("push", "wave"):
        for take in range(4):
            write_clip(tmp_path / "clips" / action / f"{take}.mp4")
    config.dataset.raw_dir = str(tmp_path / "clips")
    with pytest.raises(HartxError, match=r"nothing to train on .*; split them at random: --config.protocol=random80:0"):
        train(config, tmp_path / "run")
    config.protocol = "random80:0"
    sides = open_recordings(config, progress=False).sides
    assert (len(sides.train), len(sides.test)) == (6, 2)
    sweep = Sweep(name="a", config=config, protocol="random80", seeds=2, root=tmp_path, command="")
    assert [planned.fold for planned in plan(sweep)] == ["random80:0", "random80:1"]


def test_classes_of_one_side_alone_are_told(config, clips, tmp_path, caplog):
    config.dataset.raw_dir = str(shutil.copytree(clips, tmp_path / "clips"))
    write_clip(tmp_path / "clips/clap/anna/0.mp4")
    write_clip(tmp_path / "clips/jump/ben/0.mp4")
    with caplog.at_level("WARNING", "hartx"):
        train(config, tmp_path / "run")
    assert "nobody trains jump: these will be named wrongly" in caplog.text
    assert "nobody is tested in clap: the accuracy says nothing of these" in caplog.text


def test_streams_that_clips_have_not_are_refused(clips, tmp_path):
    config = skeleton.get_config()
    config.dataset.name, config.dataset.raw_dir = "video_folder", str(clips)
    config.dataset.data_dir = str(tmp_path)
    with pytest.raises(HartxError, match=r"video_folder has no skeleton, .* configs/rgb.py"):
        open_recordings(config, progress=False)


def test_the_folder_has_to_be_given(config):
    config.dataset.raw_dir = ""
    with pytest.raises(HartxError, match=r"without config\.dataset\.raw_dir, the folder of the clips"):
        open_recordings(config, progress=False)


def test_runs_on_other_clips_have_another_name(config):
    """A sweep finds its runs by their names; UTD-MHAD is the same wherever it lies, clips are not."""
    first = run_name(config)
    config.dataset.raw_dir += "/../other"
    assert run_name(config) != first
    config.dataset.name = "utd_mhad"
    first = run_name(config)
    config.dataset.raw_dir = "elsewhere"
    assert run_name(config) == first


def test_a_sweep_on_other_clips_is_another_one_and_says_so(config, tmp_path):
    first = Sweep("s", config.copy_and_resolve_references(), "cross_subject", 1, tmp_path, "command")
    _claim(first)
    write_json(first.folder / "sweep.json", _describe(first, []))
    _claim(first)
    config.dataset.raw_dir = "elsewhere"
    with pytest.raises(HartxError, match=r"dataset\.raw_dir: .* there, elsewhere now"):
        _claim(Sweep("s", config, "cross_subject", 1, tmp_path, "command"))
