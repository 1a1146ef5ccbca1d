"""What training reads: the same batches at every start, of the training side alone."""

import gc
import subprocess
import sys

import numpy as np
import pytest

from hartx.data import input_specs, open_recordings, training_batches
from hartx.data.source import Recording
from tests.hartx import small_config


@pytest.fixture
def config(small_data):
    config = small_config.get_config()
    config.dataset.data_dir = str(small_data)
    return config


def test_batches_are_the_same_at_every_start_and_differ_between_epochs(config):
    recordings = open_recordings(config)
    once, again = training_batches(recordings, config), training_batches(recordings, config)
    first = [next(once) for _ in range(8)]
    for batch in first:
        twin = next(again)
        assert list(batch["name"]) == list(twin["name"])
        for stream, values in batch["inputs"].items():
            np.testing.assert_array_equal(values, twin["inputs"][stream])
    assert set(first[0]["name"]) != set(first[7]["name"])


def test_another_seed_gives_other_batches(config):
    config.streams = ("skeleton",)
    recordings = open_recordings(config)
    first = next(training_batches(recordings, config))
    config.seed = 1
    assert list(first["name"]) != list(next(training_batches(recordings, config))["name"])


def test_a_batch_has_the_shapes_that_the_specifications_state(config):
    batch = next(training_batches(open_recordings(config), config))
    for stream, spec in input_specs(config).items():
        assert batch["inputs"][stream].shape == (config.batch_size, *spec.shape)
        assert batch["inputs"][stream].dtype == np.float32


def test_no_training_batch_holds_a_test_subject(config):
    recordings = open_recordings(config)
    batches = training_batches(recordings, config)
    names = {str(name) for _ in range(20) for name in next(batches)["name"]}
    assert {int(name.split("_s")[1][0]) for name in names} == {1, 3, 5, 7}


def test_worker_processes_give_the_batches_that_threads_give(repository, small_data):
    """In a process of its own: Grain starts its workers from a main module that can be imported."""
    script = repository / "tests/hartx/batches_of_workers.py"
    done = subprocess.run(
        [sys.executable, str(script), str(small_data)], cwd=repository, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "equal" in done.stdout


def test_what_was_recorded_stays_on_the_disk_where_no_memory_is_given(config):
    config.dataset.cache_gib = 0.0
    recordings = open_recordings(config)
    gc.collect()
    assert len(recordings.ids) == 216
    assert not [thing for thing in gc.get_objects() if isinstance(thing, Recording) and thing.name.startswith("a")]
