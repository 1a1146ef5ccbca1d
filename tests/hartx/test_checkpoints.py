"""The last and the best checkpoint: which is tested, and what becomes of them when a run is stopped."""

import shutil

import numpy as np
import orbax.checkpoint as ocp
import pytest

from hartx.checkpoint import Checkpoints
from hartx.errors import HartxError
from hartx.evaluate import evaluate
from hartx.interrupt import Stopped, StopRequest
from hartx.progress import read_metrics
from hartx.run import load_run
from hartx.train import train
from tests.hartx import small_config


@pytest.fixture
def config(small_data):
    config = small_config.get_config()
    config.dataset.data_dir = str(small_data)
    return config


def test_the_checkpoint_that_is_asked_for_is_the_one_that_is_tested(config, tmp_path):
    """One network after the first epoch, which is the best by a score put in by hand, another at the end."""
    config.num_epochs, config.checkpoint_epochs = 2, 1.0
    train(config, tmp_path)
    shutil.rmtree(tmp_path / "checkpoints/best")
    steps = sorted((tmp_path / "checkpoints/last").iterdir(), key=lambda path: int(path.name))
    shutil.copytree(steps[0], tmp_path / "checkpoints/best" / steps[0].name)
    last = evaluate(config, tmp_path)
    config.eval_checkpoint = "best"
    best = evaluate(config, tmp_path)
    assert (last["steps"], best["steps"]) == tuple(int(step.name) for step in steps[::-1])


def test_a_temperature_does_not_outlive_the_network_that_it_was_fitted_for(config, tmp_path):
    config.num_epochs, config.checkpoint_epochs = 2, 1.0
    train(config, tmp_path)
    first = min((tmp_path / "checkpoints/last").iterdir(), key=lambda path: int(path.name))
    shutil.rmtree(tmp_path / "checkpoints/best")
    shutil.copytree(first, tmp_path / "checkpoints/best" / first.name)
    evaluate(config, tmp_path)
    temperature = tmp_path / "temperature.json"
    temperature.write_text('{"temperature": 2.0}')
    evaluate(config, tmp_path)
    assert temperature.exists()
    config.eval_checkpoint = "best"
    evaluate(config, tmp_path)
    assert not temperature.exists()
    temperature.write_text('{"temperature": 2.0}')
    shutil.rmtree(tmp_path / "checkpoints")
    train(config, tmp_path)
    assert not temperature.exists()


def test_a_best_checkpoint_of_later_than_the_last_one_is_made_again(config, tmp_path):
    config.num_epochs, config.checkpoint_epochs = 2, 1.0
    train(config, tmp_path)
    last = max((tmp_path / "checkpoints/last").iterdir(), key=lambda path: int(path.name))
    best = tmp_path / "checkpoints/best"
    shutil.rmtree(best)
    shutil.copytree(last, best / last.name)
    shutil.rmtree(last)  # killed between the two
    marker = best / last.name / "marker"
    marker.touch()
    train(config, tmp_path)
    assert not marker.exists() and Checkpoints(tmp_path).latest_step("best") is not None


def test_the_best_checkpoint_of_a_run_that_was_stopped_is_that_of_an_undisturbed_one(config, tmp_path, monkeypatch):
    """Without a validation subject it is the one of the lowest training loss, of steps before and after the stop."""
    config.num_epochs = 1
    train(config, tmp_path / "undisturbed")
    asked = []

    class AfterThreeSteps(StopRequest):
        made = property(lambda _: bool(asked.append(1)) or len(asked) > 4, lambda *_: None)

    with monkeypatch.context() as patch:
        patch.setattr("hartx.train.StopRequest", AfterThreeSteps)
        with pytest.raises(Stopped):
            train(config, tmp_path / "stopped")
    train(config, tmp_path / "stopped")
    one, other = (Checkpoints(tmp_path / name) for name in ("undisturbed", "stopped"))
    assert (one.best_score(), one.latest_step("best")) == (other.best_score(), other.latest_step("best"))


def test_without_a_validation_subject_the_lowest_training_loss_is_the_best(config, tmp_path):
    config.streams, config.num_epochs = ("skeleton",), 1  # 7 steps, a checkpoint after 3, 6 and 7
    train(config, tmp_path)
    losses = [row["loss"] for row in read_metrics(tmp_path) if "loss" in row]
    means = {3: np.mean(losses[:3]), 6: np.mean(losses[3:6]), 7: losses[6]}
    kept = Checkpoints(tmp_path)
    assert kept.best_score() == pytest.approx(-min(means.values()))
    assert kept.latest_step("best") == min(means, key=means.get)


def test_a_best_checkpoint_that_cannot_be_written_leaves_the_run_unfinished(config, tmp_path, monkeypatch):
    config.num_epochs, config.checkpoint_epochs = 1, 1.0
    real = ocp.CheckpointManager.save

    def save(manager, *args, **kwargs):
        if manager.directory.name == "best":
            raise OSError(28, "No space left on device")
        return real(manager, *args, **kwargs)

    monkeypatch.setattr(ocp.CheckpointManager, "save", save)
    with pytest.raises(HartxError, match="could not be written"):
        train(config, tmp_path)
    monkeypatch.setattr(ocp.CheckpointManager, "save", real)
    train(config, tmp_path)
    assert Checkpoints(tmp_path).latest_step("best") == load_run(tmp_path).step


def test_a_validation_subject_selects_the_best_checkpoint(config, tmp_path):
    config.validation_subject = 5
    config.eval_checkpoint = "best"
    train(config, tmp_path)
    scores = {row["step"]: row["validation_top1"] for row in read_metrics(tmp_path) if "validation_top1" in row}
    best = max(scores.values())
    assert load_run(tmp_path).step == min(step for step, score in scores.items() if score == best)
