"""Compares the first batches of worker processes with those of threads; run by test_train.py."""

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
    for _ in range(3):
        one, other = next(threads), next(workers)
        assert list(one["name"]) == list(other["name"])
        for stream in one["inputs"]:
            np.testing.assert_array_equal(one["inputs"][stream], other["inputs"][stream])
    print("equal")


if __name__ == "__main__":
    app.run(main)
