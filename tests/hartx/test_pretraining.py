"""Streams first, then their fusion."""

import shutil

import jax
import numpy as np
import pytest
from flax import nnx

from configs import base, depth, fusion, inertial, rgb, skeleton
from hartx import config as configs
from hartx.data import input_specs
from hartx.errors import HartxError
from hartx.evaluate import evaluate
from hartx.models import create_model
from hartx.pretraining import stream_config, stream_workdir, with_trained_streams
from hartx.run import RunLength, load_run, make_recipe, new_model
from hartx.train import train
from tests.hartx import small_config

ALONE = {"rgb": rgb, "depth": depth, "inertial": inertial}


@pytest.mark.parametrize(
    "variant, skeletons",
    [("rgb", "no_average"), ("skeleton_inertial", "members"), ("depth", "limb_scale"), ("all", "members")],
)
def test_a_stream_of_a_fusion_is_trained_by_the_very_config_of_that_stream_alone(variant, skeletons):
    config = fusion.get_config(variant)
    assert set(config.pretraining) == set(config.streams)
    for stream in config.streams:
        alone = skeleton.get_config(skeletons) if stream == "skeleton" else ALONE[stream].get_config()
        assert configs.flatten(stream_config(config, stream)) == configs.flatten(alone)


def test_the_default_fusion_joins_512_and_256_features():
    config = fusion.get_config()
    shapes = {stream: spec.shape for stream, spec in input_specs(config).items()}
    model = nnx.eval_shape(lambda: create_model(config.model, config.streams, shapes, 27, rngs=nnx.Rngs(0)))
    assert {stream: model.streams[stream].num_features for stream in config.streams} == {"rgb": 512, "skeleton": 256}


def test_what_a_fusion_is_told_holds_for_its_streams():
    config = fusion.get_config("skeleton_inertial")
    config.seed, config.protocol, config.validation_subject = 3, "loso:5", 7
    config.dataset.raw_dir = "somewhere"
    config.pretraining.skeleton.num_epochs = 2
    alone = stream_config(config, "skeleton")
    assert (alone.seed, alone.protocol, alone.validation_subject, alone.num_epochs) == (3, "loso:5", 7, 2)
    assert alone.dataset.raw_dir == "somewhere"
    assert stream_config(config, "inertial").num_epochs == inertial.get_config().num_epochs


def test_fusions_of_the_same_streams_share_their_runs(tmp_path):
    two, three = fusion.get_config("skeleton_inertial"), fusion.get_config("all")
    two.streams_dir = three.streams_dir = str(tmp_path)
    assert stream_workdir(two, tmp_path / "a", "skeleton") == stream_workdir(three, tmp_path / "b", "skeleton")
    two.seed = 1
    assert stream_workdir(two, tmp_path / "a", "skeleton") != stream_workdir(three, tmp_path / "b", "skeleton")


@pytest.mark.parametrize("streams", [("skeleton",), ("skeleton", "inertial", "depth")])
def test_pretraining_of_some_streams_only_is_refused(streams):
    config = fusion.get_config("skeleton_inertial")
    config.streams = streams
    with pytest.raises(HartxError, match="two or more"):
        configs.check(config)


def test_the_statistics_of_a_stream_come_along_with_its_parameters(tmp_path, monkeypatch):
    """A 3D network's BatchNorm would otherwise be tested with what it began with."""
    config = small_config.get_config()
    config.ema_decay = 0.5
    for stream in config.streams:
        config.pretraining[stream] = {"name": stream}
    trained = {}

    class Run:
        def __init__(self, stream):
            self.model = new_model(stream_config(config, stream), 5)
            nnx.update(self.model, jax.tree.map(lambda x: x + 0.5, nnx.state(self.model)))
            trained.update(nnx.to_flat_state(nnx.state(self.model)))

    monkeypatch.setattr("hartx.pretraining.load_run", lambda folder, which: Run(folder.name.split("-")[0]))
    _, state = make_recipe(config, 5, RunLength(1.0, 1))
    state = with_trained_streams(config, tmp_path, state)
    statistics = dict(nnx.to_flat_state(state.batch_stats))
    assert any(path[1] == "rgb" and path[-1] == "mean" for path in statistics)
    for found in (state.params, state.ema, state.batch_stats):
        for path, leaf in nnx.to_flat_state(found):
            if path[0] == "streams":
                np.testing.assert_array_equal(leaf[...], trained[path][...], err_msg=str(path))


@pytest.fixture(scope="module")
def config(small_data):
    config = small_config.get_config()
    config.dataset.data_dir = str(small_data)
    config.streams = ("skeleton", "inertial")
    config.mixing.cutmix = 0.0
    config.num_epochs = 1
    config.ema_decay = 0.5
    for stream in config.streams:
        alone = base.get_config()
        alone.update({"name": stream, "streams": (stream,), "auxiliary_loss": 0.0, "modality_dropout": 0.0})
        config.pretraining[stream] = {key: alone[key] for key in ("name", "auxiliary_loss", "modality_dropout")}
    return config


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("fusion")
    train(config, workdir)
    return workdir


def states(config, workdir):
    """The fusion's parameters, and those of the runs of its streams, by path."""
    whole = dict(nnx.to_flat_state(nnx.state(load_run(workdir).model)))
    parts = [load_run(stream_workdir(config, workdir, stream)).model for stream in config.streams]
    return whole, {k: v for part in parts for k, v in nnx.to_flat_state(nnx.state(part))}


def test_the_streams_stay_as_their_own_runs_left_them_and_the_fusion_learns(config, finished):
    whole, parts = states(config, finished)
    assert {path for path in whole if path[0] == "streams"} == set(parts)
    for path, leaf in parts.items():
        np.testing.assert_array_equal(whole[path][...], leaf[...], err_msg=str(path))
    bias = whole["classifier", "bias"][...]
    assert np.abs(bias).max() > 0  # it starts at 0


def test_every_network_of_a_stream_learns(config, finished):
    for stream in config.streams:
        ensemble = load_run(stream_workdir(config, finished, stream)).model.streams[stream]
        assert len(ensemble.members) == 2
        for member in ensemble.members:
            assert np.abs(member.classifier.bias[...]).max() > 0  # it starts at 0


def test_the_curves_of_each_stream_are_drawn_where_it_is_trained_and_not_again(config, finished, tmp_path):
    pictures = [stream_workdir(config, finished, stream) / "training_curves.png" for stream in config.streams]
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
    before = [picture.stat().st_mtime_ns for picture in pictures]
    other = config.copy_and_resolve_references()
    other.streams_dir = str(finished / "streams")
    train(other, tmp_path / "run")
    assert [picture.stat().st_mtime_ns for picture in pictures] == before


def test_a_finished_fusion_is_not_trained_again(config, finished):
    before = states(config, finished)[0]
    train(config, finished)
    after = states(config, finished)[0]
    jax.tree.map(np.testing.assert_array_equal, [v[...] for v in before.values()], [v[...] for v in after.values()])


def test_a_finished_fusion_does_not_need_the_runs_of_its_streams(config, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "copy")
    for stream in config.streams:
        shutil.rmtree(stream_workdir(config, tmp_path / "copy", stream))
    before = evaluate(config, finished)
    shutil.copy(finished / "report.json", tmp_path / "copy")
    train(config, tmp_path / "copy")
    assert not any(stream_workdir(config, tmp_path / "copy", stream).exists() for stream in config.streams)
    after = evaluate(config, tmp_path / "copy")
    assert [after[name] for name in ("training_s", "trained_by")] == [
        before[name] for name in ("training_s", "trained_by")
    ]


def test_a_mistake_of_the_last_stream_is_refused_before_the_first_is_trained(config, tmp_path):
    other = config.copy_and_resolve_references()
    *_, last = other.pretraining
    other.pretraining[last].num_epochs = 0
    with pytest.raises(HartxError, match="num_epochs=0 was given; at least 1"):
        train(other, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_stream_of_another_network_is_refused(config, finished, tmp_path):
    other = config.copy_and_resolve_references()
    other.streams_dir = str(finished / "streams")
    other.pretraining.skeleton.model = {"skeleton": {"layers": 1}}
    with pytest.raises(HartxError, match=r"config.pretraining.skeleton"):
        train(other, tmp_path)
