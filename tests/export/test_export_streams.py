"""From synthetic recordings of the inertial sensor to the device: train, export, predict."""

from __future__ import annotations

import json

import numpy as np
import pytest

import export.__main__ as command
from edge import predict
from edge.bundle import read_bundle
from export.inputs import model_inputs, to_feeds
from export.trace import reference
from hartx.data import clips, open_recordings
from hartx.run import load_run
from hartx.train import train
from tests.hartx import small_config


@pytest.fixture(scope="module")
def exported(small_data, tmp_path_factory):
    """A run of one step on skeletons and inertial samples, and its bundle."""
    config = small_config.get_config()
    config.dataset.data_dir = str(small_data)
    config.streams = ("skeleton", "inertial")
    config.num_epochs, config.batch_size = 1, 104
    config.clip.skeleton_frames, config.clip.inertial_frames = 4, 6
    for stream in config.streams:
        config.model[stream].layers, config.model[stream].bidirectional = 1, False
    folder = tmp_path_factory.mktemp("streams")
    train(config, folder / "run")
    assert command.main([f"--workdir={folder / 'run'}", f"--bundle={folder / 'bundle'}"]) == 0
    return load_run(folder / "run"), folder / "bundle"


def test_the_bundle_says_what_the_network_reads(exported):
    _, folder = exported
    bundle = read_bundle(folder)
    assert [(entry.name, entry.layout, entry.shape) for entry in bundle.inputs] == [
        ("skeleton", "NTC", (4, 75)),
        ("inertial", "NTC", (6, 6)),
    ]
    assert bundle.precisions["fp32"].clips == 108
    assert "| `inertial` | inertial | N x 6 x 6 | NTC |" in (folder / "model_card.md").read_text()


def test_the_device_predicts_from_files_what_jax_predicts_from_the_dataset(exported, tmp_path, capsys):
    """The files know no rate for the samples; they cover the time of the skeletons, as in the dataset."""
    run, folder = exported
    recordings = open_recordings(run.config)
    recording = recordings.source[recordings.indices("test")[0]]
    np.save(tmp_path / "s.npy", recording.tracks["skeleton"].values)
    np.save(tmp_path / "i.npy", recording.tracks["inertial"].values)
    files = [f"--skeleton={tmp_path / 's.npy'}", f"--inertial={tmp_path / 'i.npy'}"]
    assert predict.main([f"--bundle={folder}", *files, "--skeleton_rate=30", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    inputs = model_inputs(run.specs)
    (clip,) = clips.test_clips(recording, run.config, run.specs)
    logits = reference(run.model, inputs)(to_feeds(inputs, [clip]))[0]
    probabilities = np.exp(logits - logits.max())
    assert found["action"] == run.labels[logits.argmax()] and found["missing"] == []
    assert found["confidence"] == pytest.approx(probabilities.max() / probabilities.sum(), abs=1e-4)
