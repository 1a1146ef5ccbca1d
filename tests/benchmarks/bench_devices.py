"""How far a training step on several devices is from the same step on one: by rounding, or by more.

    python tests/benchmarks/bench_devices.py --config=configs/skeleton.py --config.dataset.raw_dir=UTD-MHAD

A run is trained on one device. Before some of its steps its state and batch are kept, and the step is taken from there
by a second process, too, whose CPU was told to be several. What is compared is one step each time, so that rounding
has no time to grow, as it does over a whole run: to a network as different as that of another seed. What can
be is in float64 (convolutions and BatchNorm are float32), so that what is not rounding stands out; --float32 shows what
rounding does in training as it is.
"""

from __future__ import annotations

import functools
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags
from rich.console import Console
from rich.progress import track
from rich.table import Table

from hartx import run as runs
from hartx.data import open_recordings, training_batches
from hartx.jit import jit
from hartx.mesh import make_devices
from hartx.train_step import train_step

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment, as main.py takes it.")
_DEVICES = flags.DEFINE_integer("devices", 8, "How many the second process has.", lower_bound=2)
_STEPS = flags.DEFINE_list("steps", [1, 30, 100, 300, 700, 1200], "After how many steps one is compared.")
_FLOAT32 = flags.DEFINE_bool("float32", False, "In the precision of training.")
_STATES = flags.DEFINE_string("states", None, "Of the second process: where the first one keeps states.")


def main(argv: list[str]) -> None:
    """Train, compare, and print a table; in the second process, take the steps that were kept."""
    del argv
    absl_logging.set_verbosity(absl_logging.WARNING)
    config = _CONFIG.value
    jax.config.update("jax_enable_x64", not _FLOAT32.value)
    recordings = open_recordings(config)
    recipe, state = runs.make_recipe(config, len(recordings.labels), runs.run_length(config, recordings))
    state = _precise(state)
    devices = make_devices()
    key = devices.put_replicated(jax.random.key(config.seed))
    step_fn = jit(functools.partial(train_step, recipe))

    def step(state: Any, batch: Any) -> Any:
        return step_fn(devices.put_replicated(state), *devices.put_batch((batch["inputs"], batch["label"])), key)

    if _STATES.value is not None:
        for path in sorted(Path(_STATES.value).glob("*.before")):
            kept, batch = pickle.loads(path.read_bytes())
            before = jax.tree.unflatten(jax.tree.structure(state), kept)
            _keep(path.with_suffix(".several"), before, step(before, batch))
        return

    after = [int(number) for number in _STEPS.value]
    with tempfile.TemporaryDirectory() as folder:
        batches = training_batches(recordings, config)
        for number in track(range(max(after) + 1), "training on one device", console=Console(stderr=True)):
            batch = next(batches)
            batch = {"inputs": _precise(batch["inputs"]), "label": batch["label"]}
            before, (state, metrics) = state, step(state, batch)
            if number in after:
                path = Path(folder, f"{number:06}.before")
                path.write_bytes(pickle.dumps((jax.tree.leaves(jax.device_get(before)), batch)))
                _keep(path.with_suffix(".one"), before, (state, metrics))
        batches.close()
        forced = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={_DEVICES.value}"
        command = [sys.executable, *sys.argv, f"--states={folder}"]
        subprocess.run(command, env=os.environ | {"XLA_FLAGS": forced}, check=True)
        _print(config.name, [Path(folder, f"{number:06}.before") for number in after])


def _precise(tree: Any) -> Any:
    """Return a tree with its float32 arrays in float64, unless training's own precision is wanted."""
    if _FLOAT32.value:
        return tree
    return jax.tree.map(lambda x: x.astype(np.float64) if x.dtype == np.float32 else x, tree)


def _keep(path: Path, before: Any, after: Any) -> None:
    """Write by how much each parameter and each average changed, and the loss."""
    state, metrics = jax.device_get(after)
    learnt = (state.params, state.batch_stats, state.ema)
    changes = jax.tree.map(np.subtract, learnt, jax.device_get((before.params, before.batch_stats, before.ema)))
    path.write_bytes(pickle.dumps((np.concatenate([x.ravel() for x in jax.tree.leaves(changes)]), metrics["loss"])))


def _print(name: str, paths: list[Path]) -> None:
    table = Table("after step", "loss", "difference", "difference of what changed", title=name)
    for path in paths:
        (one, loss), (several, other) = (
            pickle.loads(path.with_suffix(suffix).read_bytes()) for suffix in (".one", ".several")
        )
        change, apart = np.linalg.norm(one), np.linalg.norm(one - several)
        table.add_row(str(int(path.stem)), f"{loss:.4f}", f"{abs(other - loss) / loss:.1e}", f"{apart / change:.1e}")
    Console().print(table)


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main)
