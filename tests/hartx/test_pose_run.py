"""From synthetic depth with skeletons beside it to a run that needs depth alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from datasets.utd_mhad import DEPTH_DELAY_S
from hartx.data import open_recordings, training_batches
from hartx.errors import HartxError
from hartx.evaluate import evaluate
from hartx.models.pose_lstm import BLEND_INPUT, JOINTS_INPUT
from hartx.progress import read_metrics
from hartx.train import train
from hartx.train_step import make_batch
from tests.datasets import utd_mhad_raw as raw
from tests.hartx import small_config


@pytest.fixture
def config(small_data):
    config = small_config.get_config()
    config.dataset.data_dir = str(small_data)
    config.streams = ("depth",)
    config.model.depth_members = ("pose",)
    config.model.pose.width = 4
    config.model.skeleton.layers, config.model.skeleton.bidirectional = 1, False
    config.model.skeleton.descriptions = (("joints", "joint_motion"),)
    config.auxiliary_loss, config.modality_dropout, config.mixing.cutmix = 1.0, 0.0, 0.0
    config.num_epochs, config.ema_decay = 2, 0.5
    return config


def test_a_run_learns_joints_and_is_tested_without_skeletons(config, tmp_path):
    train(config, tmp_path)
    losses = [row["loss"] for row in read_metrics(tmp_path) if "loss" in row]
    assert losses[-1] < losses[0]
    assert (tmp_path / "checkpoints").exists()
    report = evaluate(config, tmp_path)
    assert report["streams"] == ["depth"] and report["clips"] > 0 and report["missing"] == []


def test_skeletons_are_read_for_training_alone(config):
    recordings = open_recordings(config)
    assert JOINTS_INPUT in next(training_batches(recordings, config))["inputs"]
    assert all(set(recordings.source[index].tracks) == {"depth"} for index in recordings.indices("test")[:3])
    config.model.depth_members = ("video",)
    recordings = open_recordings(config)
    assert set(next(training_batches(recordings, config))["inputs"]) == {"depth"}
    assert recordings.source[0].skeleton is None


def test_only_the_real_recordings_show_late_what_their_skeletons_say(config, tmp_path):
    assert open_recordings(config).source[0].skeleton.time_s[0] == 0
    config.dataset.name = "auto"
    config.dataset.raw_dir = str(raw.write_raw(tmp_path / "raw", modalities=("depth", "skeleton")))
    config.dataset.data_dir, config.dataset.allow_partial = str(tmp_path / "data"), True
    recording = open_recordings(config).source[0]
    assert recording.skeleton.time_s[0] == pytest.approx(DEPTH_DELAY_S) and recording.tracks["depth"].time_s[0] == 0


def test_frames_stay_whole_and_targets_are_blended_as_the_joints_are_to_be(config):
    config.mixing.mixup, config.label_smoothing = 1.0, 0.0
    inputs = {"depth": jnp.ones((4, 2, 8, 8, 1)), JOINTS_INPUT: jnp.arange(4 * 2 * 60.0).reshape(4, 2, 60)}
    batch = make_batch(config, jax.random.key(0), inputs, jnp.arange(4), 4)
    for name, values in inputs.items():
        np.testing.assert_array_equal(batch.inputs[name], values)
    blend = np.asarray(batch.inputs[BLEND_INPUT])
    np.testing.assert_allclose(blend, batch.targets, atol=1e-6)  # one class a clip
    np.testing.assert_allclose(blend.sum(1), 1, atol=1e-6)
    assert 0.05 < np.diag(blend).mean() < 0.95
    config.mixing.mixup = 0.0
    assert set(make_batch(config, jax.random.key(0), inputs, jnp.arange(4), 4).inputs) == set(inputs)


def test_an_unknown_member_is_refused(config, tmp_path):
    config.model.depth_members = ("poes",)
    with pytest.raises(HartxError, match="depth_members"):
        train(config, tmp_path)
