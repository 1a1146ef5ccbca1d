"""From synthetic depth with skeletons beside it to a run that needs depth alone."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from datasets.utd_mhad import DEPTH_DELAY_S
from hartx import joint_error
from hartx.data import Recordings, clips, input_specs, open_recordings, training_batches
from hartx.data.clips import depth_and_joints
from hartx.data.source import RecordingSource
from hartx.errors import HartxError
from hartx.evaluate import evaluate
from hartx.models import pose_lstm
from hartx.models.encoder import JointTargets
from hartx.models.pose_lstm import BLEND_INPUT, JOINTS, JOINTS_INPUT, PoseNet
from hartx.progress import read_metrics
from hartx.run import new_model
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
    assert list(report["joint_error_cm"]) == list(JOINTS)
    assert all(1 < error < 100 for error in report["joint_error_cm"].values())


def test_skeletons_are_read_for_training_alone(config):
    recordings = open_recordings(config)
    assert JOINTS_INPUT in next(training_batches(recordings, config))["inputs"]
    assert all(set(recordings.source[index].tracks) == {"depth"} for index in recordings.indices("test")[:3])
    config.model.depth_members = ("video",)
    recordings = open_recordings(config)
    assert set(next(training_batches(recordings, config))["inputs"]) == {"depth"}
    assert recordings.source[0].skeleton is None


def without_skeletons(recordings, monkeypatch, fewer):
    real = RecordingSource.__getitem__
    absent = set(recordings.indices("train")[:fewer])
    monkeypatch.setattr(
        RecordingSource,
        "__getitem__",
        lambda self, index: replace(real(self, index), skeleton=None) if index in absent else real(self, index),
    )


def test_joints_without_a_skeleton_to_learn_them_from_are_refused(config, tmp_path, monkeypatch):
    without_skeletons(open_recordings(config), monkeypatch, None)
    with pytest.raises(HartxError, match=r"none of the 108 training recordings has a skeleton(.|\n)*depth.py:video"):
        train(config, tmp_path)


def test_a_few_recordings_without_a_skeleton_are_told(config, monkeypatch, caplog):
    recordings = open_recordings(config)
    without_skeletons(recordings, monkeypatch, 3)
    with caplog.at_level("WARNING", "hartx"):
        training_batches(recordings, config)
    assert "3 of 108 training recordings have no skeleton to learn joints from" in caplog.text


def test_a_clip_without_a_skeleton_is_read_as_it_was_found(config):
    """Else the reader would learn that a person of noise does what the clip shows."""
    batch = next(training_batches(open_recordings(config), config))["inputs"]
    model = new_model(config, 27)
    model.train()
    read = []
    reader = model.streams["depth"].reader
    real = type(reader).training_output

    def training_output(self, x, targets, rngs):
        read.append(x)
        return real(self, x, targets, rngs)

    joints = batch[JOINTS_INPUT].copy()
    joints[0] = 0
    targets = JointTargets(joints=jnp.asarray(joints), blend=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(reader), "training_output", training_output)
        patch.setattr(pose_lstm, "_OFFSET", 0.0)
        patch.setattr(pose_lstm, "_JITTER", 0.0)
        model.streams["depth"].training_output(jnp.asarray(batch["depth"]), targets, nnx.Rngs(dropout=0))
    found, recorded = read
    apart = np.abs(np.asarray(found - recorded)).mean(axis=(1, 2))
    assert apart[0] == 0 and apart[1:].min() > 0.1


def test_an_error_is_the_distance_at_the_scale_of_the_square(config, monkeypatch):
    recordings = open_recordings(config)
    indices = recordings.indices("test")[:3]
    spec = input_specs(config)["depth"]
    answers = [depth_and_joints(recordings.source[index], spec) for index in indices]
    monkeypatch.setattr(Recordings, "indices", lambda self, side: indices)
    off = np.zeros((20, 3), np.float32)
    off[JOINTS.index("right_hand")] = (0.03, 0.0, 0.04)
    told = iter([joints + off.reshape(-1) for _, joints in answers])
    monkeypatch.setattr(joint_error, "_pose", lambda model: model)
    monkeypatch.setattr(joint_error, "jit", lambda _: lambda state, clip: next(told)[None])
    errors = joint_error.joint_errors_cm(config, PoseNet(2, rngs=nnx.Rngs(0)), recordings, "test")
    assert errors["right_hand"] == pytest.approx(0.05 * 100 * spec.extent_m, rel=1e-4)
    assert max(error for joint, error in errors.items() if joint != "right_hand") < 1e-3


def test_what_errors_are_measured_on_is_what_the_device_sees(config):
    recordings = open_recordings(config)
    recording = recordings.source[recordings.indices("test")[0]]
    clip, joints = depth_and_joints(recording, input_specs(config)["depth"])
    config.clip.views = 1
    (seen,) = clips.test_clips(recording, config, input_specs(config))
    np.testing.assert_array_equal(clip, seen["depth"])
    # The joints lie on the body: where one of the trunk is, the picture is not background.
    x, y = joints.reshape(-1, 20, 3)[:, JOINTS.index("spine"), :2].T
    side = clip.shape[1]
    rows, columns = (np.clip(((0.5 + v) * side).astype(int), 0, side - 1) for v in (-y, x))
    assert (clip[np.arange(len(clip)), rows, columns, 0] > 0).mean() > 0.9


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
