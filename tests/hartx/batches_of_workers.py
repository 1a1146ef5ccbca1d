"""Compares batches of worker processes with those of threads, from the first on and later; run by test_batches.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from absl import app

from hartx.data import open_recordings, training_batches
from tests.hartx import small_config


def main(argv):
    config = small_config.get_config()
    config.dataset.data_dir = argv[1]
    recordings = open_recordings(config)
    threads = training_batches(recordings, config)
    config.dataset.num_workers = 2
    workers = training_batches(recordings, config)
    later = training_batches(recordings, config, after=2)
    for step in range(5):
        one, other = next(threads), next(workers)
        if step >= 2:  # as a run begins that goes on with other workers
            assert list(next(later)["name"]) == list(one["name"])
        assert list(one["name"]) == list(other["name"])
        for stream in one["inputs"]:
            np.testing.assert_array_equal(one["inputs"][stream], other["inputs"][stream])
    print("equal")


if __name__ == "__main__":
    app.run(main)
