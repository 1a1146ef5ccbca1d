"""Runs of two steps on small recordings, their parameters, and a way to stop one."""

from __future__ import annotations

import numpy as np
import pytest
from flax import nnx

from hartx.checkpoint import Checkpoints
from hartx.run import load_run
from hartx.train import train
from tests.hartx import small_config


def two_steps(small_data, *streams):
    """The config of such a run: subjects 1, 3, 5 and 7 train."""
    config = small_config.get_config()
    config.dataset.data_dir = str(small_data)
    config.streams = streams
    config.num_epochs, config.batch_size = 1, 54
    config.ema_decay = 0.5
    return config


def flat(state):
    return {path: np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(state)}


def arrays(workdir):
    return flat(nnx.state(load_run(workdir).model))


def stop_at_its_first_checkpoint(config, workdir, monkeypatch):
    save = Checkpoints.save

    def stop(self, *args, **kwargs):
        save(self, *args, **kwargs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoints, "save", stop)
        train(config, workdir)


def assert_same(workdir, other):
    undisturbed, resumed = arrays(other), arrays(workdir)
    assert undisturbed.keys() == resumed.keys()
    for path, value in undisturbed.items():
        np.testing.assert_array_equal(resumed[path], value, err_msg=str(path))
