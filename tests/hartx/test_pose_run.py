"""From synthetic depth with skeletons beside it to a run that needs depth alone."""

import pytest

from hartx.data import open_recordings, training_batches
from hartx.errors import HartxError
from hartx.evaluate import evaluate
from hartx.models.pose_lstm import JOINTS_INPUT
from hartx.progress import read_metrics
from hartx.train import train
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


def test_an_unknown_member_is_refused(config, tmp_path):
    config.model.depth_members = ("poes",)
    with pytest.raises(HartxError, match="depth_members"):
        train(config, tmp_path)
