"""How long one training step of the 33.2 M network takes: taps against native, left to JAX, and PyTorch.

python tests/benchmarks/bench_conv3d.py [--torch] [--json=FILE]

Forward, backward and a plain gradient step in float32, on all cores; "left to JAX" is without the options of
`hartx.jit`. The contestants take turns, so that whatever else the machine does meets them alike; medians are
compared. `--torch` installs PyTorch into an environment of its own (`--torch_env`, kept; else a temporary one)
and lets it take its turns in a second process, which sleeps while the others work.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
from flax import nnx
from rich.console import Console
from rich.table import Table

from hartx.jit import jit
from hartx.models import ResNet3D
from tests.benchmarks.torch_worker import TORCH, torch_environment, torch_worker
from tests.benchmarks.turns import Step, take_turns

LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Setting:
    """What is computed: the network's width and the batch of clips."""

    width: int
    batch: int
    frames: int
    size: int


def jax_step(setting: Setting, lowering: str, compile_fn: Callable[..., Any] = jit) -> Step:
    """Return a training step of our network in one of its lowerings, compiled."""
    model = ResNet3D(width=setting.width, rngs=nnx.Rngs(0))
    model.set_attributes(lowering=lowering)
    graphdef, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    clips = jax.random.normal(jax.random.key(1), (setting.batch, setting.frames, setting.size, setting.size, 3))

    def loss_fn(params: Any, stats: Any, clips: jax.Array, key: jax.Array) -> tuple[jax.Array, Any]:
        copy = nnx.merge(graphdef, params, stats, copy=True)
        logits = copy(clips, rngs=nnx.Rngs(dropout=key))
        return -jax.nn.log_softmax(logits)[:, 0].mean(), nnx.state(copy, nnx.BatchStat)

    def update(params: Any, stats: Any, clips: jax.Array, key: jax.Array) -> tuple[Any, Any]:
        gradients, stats = jax.grad(loss_fn, has_aux=True)(params, stats, clips, key)
        return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, gradients), stats

    compiled = compile_fn(update, donate_argnums=(0, 1)).lower(params, stats, clips, jax.random.key(0)).compile()
    state = (params, stats)

    def step() -> float:
        nonlocal state
        started = time.perf_counter()
        state = jax.block_until_ready(compiled(*state, clips, jax.random.key(0)))
        return time.perf_counter() - started

    return step


def report(setting: Setting, times: dict[str, list[float]]) -> dict[str, Any]:
    """Return the results as plain values; ratios are to our taps, which are the first."""
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    taps_s = next(iter(medians.values()))
    return {
        "setting": asdict(setting),
        "cores": len(os.sched_getaffinity(0)),
        "versions": {"python": sys.version.split()[0], "jax": jax.__version__, "torch": TORCH},
        "results": [
            {
                "name": name,
                "median_s": median_s,
                "median_s_per_clip": median_s / setting.batch,
                "ratio_to_taps": median_s / taps_s,
                "steps_s": times[name],
            }
            for name, median_s in medians.items()
        ],
    }


def print_report(values: dict[str, Any]) -> None:
    """Print the results as a table."""
    table = Table("lowering", "step, s", "a clip, s", "of taps", "fastest, s", "slowest, s")
    for row in values["results"]:
        table.add_row(
            row["name"],
            f"{row['median_s']:.3f}",
            f"{row['median_s_per_clip']:.3f}",
            f"{row['ratio_to_taps']:.2f}x",
            f"{min(row['steps_s']):.3f}",
            f"{max(row['steps_s']):.3f}",
        )
    Console().print(table)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--torch", action="store_true", help="compare with PyTorch, too")
    parser.add_argument("--torch_env", type=Path, help="folder of the environment for PyTorch")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each that count (5)")
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage (64: 33.2 M)")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=112, help="height and width in pixels (112)")
    parser.add_argument("--json", type=Path, help="file for the results")
    args = parser.parse_args()
    setting = Setting(args.width, args.batch, args.frames, args.size)
    with ExitStack() as stack:
        steps = {f"JAX, {lowering}": jax_step(setting, lowering) for lowering in ("taps", "native")}
        steps["JAX, taps, left to JAX"] = jax_step(setting, "taps", jax.jit)
        if args.torch:
            folder = args.torch_env or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            python = torch_environment(folder)
            steps["PyTorch"] = stack.enter_context(torch_worker(python, {"task": "train", **asdict(setting)}))
        values = report(setting, take_turns(steps, 1, args.rounds))
    print_report(values)
    if args.json:
        args.json.write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    main()
