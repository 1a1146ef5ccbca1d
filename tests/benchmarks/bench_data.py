"""Whether training ever waits for data: clips a second that the pipeline delivers, against what a step consumes.

    python tests/benchmarks/bench_data.py --config=configs/fusion.py:depth --config.dataset.raw_dir=UTD-MHAD

The two take turns, so that whatever else the machine does meets them alike: some batches are only read,
then as many steps are taken on batches that are already there. Medians are compared.
"""

from __future__ import annotations

import functools
import statistics
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

import jax
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags
from rich.console import Console

from hartx import run as runs
from hartx.data import open_recordings, training_batches
from hartx.jit import jit
from hartx.mesh import make_devices
from hartx.train_step import train_step

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment, as main.py takes it.")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Turns of each side; the first one does not count.", lower_bound=2)
_BATCHES = flags.DEFINE_integer(
    "batches", 12, "Batches, and steps, a turn: more than are read ahead (8).", lower_bound=9
)


def main(argv: list[str]) -> None:
    """Print the two rates and their ratio."""
    del argv
    absl_logging.set_verbosity(absl_logging.WARNING)
    config = _CONFIG.value
    devices = make_devices()
    recordings = open_recordings(config)
    recipe, state = runs.make_recipe(config, len(recordings.labels), runs.run_length(config, recordings))
    state = devices.put_replicated(state)
    key = devices.put_replicated(jax.random.key(0))
    step_fn = jit(functools.partial(train_step, recipe), donate_argnums=0)
    data_s, step_s = [], []
    for _ in range(_ROUNDS.value):
        # A new iterator a turn: what was read ahead while the steps ran must not count as delivered now.
        batches = training_batches(recordings, config)
        began = time.perf_counter()
        for _ in range(_BATCHES.value):
            batch = next(batches)
        data_s.append((time.perf_counter() - began) / _BATCHES.value)
        batches.close()
        inputs, labels = devices.put_batch((batch["inputs"], batch["label"]))
        began = time.perf_counter()
        for _ in range(_BATCHES.value):
            state, metrics = step_fn(state, inputs, labels, key)
        jax.block_until_ready((state, metrics))
        step_s.append((time.perf_counter() - began) / _BATCHES.value)
    data, step = (config.batch_size / statistics.median(seconds[1:]) for seconds in (data_s, step_s))
    console = Console()
    console.print(f"{config.name}, batch {config.batch_size}, medians of {_ROUNDS.value - 1} turns")
    console.print(f"pipeline delivers  {data:9.1f} clips/s")
    console.print(f"step consumes      {step:9.1f} clips/s")
    console.print(f"ratio              {data / step:9.2f}")


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main)
