"""Streams first, then their fusion.

Each stream of a fusion is trained as a run of its own and then stays as it is; what is left to learn is the
fusion. On a few hundred recordings that is better than learning all at once, where the quickest stream keeps the
others from learning (Wang et al., "What makes training multi-modal classification networks hard?", CVPR 2020).
A stream's run is found by what it computes, so that fusions of the same streams share it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from ml_collections import ConfigDict

from hartx.costs import read_costs
from hartx.errors import HartxError
from hartx.run import load_run, run_name, trained_by
from hartx.train_step import TrainState, split_model


def stream_config(config: ConfigDict, stream: str) -> ConfigDict:
    """Return the config of the run of one stream: the fusion's own, with the stream's fields of `pretraining`."""
    alone = config.copy_and_resolve_references()
    alone.pretraining = ConfigDict()
    alone.update(config.pretraining[stream])
    alone.streams = (stream,)
    alone.streams_dir = ""
    return alone


def stream_workdir(config: ConfigDict, workdir: Path, stream: str) -> Path:
    """Return the folder of the run of one stream."""
    root = Path(config.streams_dir).expanduser() if config.streams_dir else workdir / "streams"
    return root / run_name(stream_config(config, stream))


def with_trained_streams(config: ConfigDict, workdir: Path, state: TrainState) -> TrainState:
    """Return a fusion's first state with the parameters and statistics of its streams' finished runs.

    Raises:
      HartxError: if a stream's run is not finished, or its network is not the one that the fusion has.
    """
    for stream in config.streams:
        run = load_run(stream_workdir(config, workdir, stream), "last")  # eval_checkpoint is of the test alone
        _, params, batch_stats = split_model(run.model)
        state = dataclasses.replace(
            state,
            params=_put(state.params, params, stream),
            batch_stats=_put(state.batch_stats, batch_stats, stream),
            # Copies, since a step gives away the memory of both the parameters and their average.
            ema=None if state.ema is None else _put(state.ema, jax.tree.map(jnp.copy, params), stream),
        )
    return state


def whole_history(config: ConfigDict, workdir: Path, before: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a run and the runs of its streams took together, and the commits that trained them, each once.

    Args:
      config: of the run.
      workdir: its folder.
      before: its last report, which is taken where the run of a stream is gone.

    Returns:
      training_s, the sum; peak_memory_bytes, the largest; trained_by.
    """
    folders = [workdir, *(stream_workdir(config, workdir, stream) for stream in config.pretraining)]
    if before is not None and not all(folder.exists() for folder in folders):
        there = {"trained_by": trained_by(workdir), **before}  # reports of before lack it
        return {name: there[name] for name in ("training_s", "peak_memory_bytes", "trained_by")}
    costs = [read_costs(folder) for folder in folders]
    return {
        "training_s": round(sum(cost["training_s"] for cost in costs), 1),
        "peak_memory_bytes": max(cost["peak_memory_bytes"] for cost in costs),
        "trained_by": list(dict.fromkeys(commit for folder in folders for commit in trained_by(folder))),
    }


def _put(into: Any, trained: Any, stream: str) -> Any:
    """Return the state of a fusion with one stream's part replaced."""
    old, new = dict(nnx.to_flat_state(into)), dict(nnx.to_flat_state(trained))
    place = {path for path in old if path[:2] == ("streams", stream)}
    if place != set(new) or any(old[path].shape != new[path].shape for path in place):
        raise HartxError(
            f"the run of stream {stream} has another network than the fusion's; give config.pretraining.{stream} "
            "the same model section"
        )
    return nnx.from_flat_state(list((old | new).items()))
