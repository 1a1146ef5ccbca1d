"""How a pruned run starts: from configs/prune.py and a finished run to a config of its own and its first state.

WORKDIR/pruning.json is written once, before config.json: a run that is started again goes by what stands there.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from ml_collections import ConfigDict

from hartx import config as configs
from hartx.data import Recordings, training_batches
from hartx.errors import HartxError
from hartx.evaluate import predict
from hartx.files import write_json
from hartx.pruning.importance import CRITERION, importance
from hartx.pruning.plan import Budget, choose
from hartx.pruning.record import PLAN_FILE, measured, read_plan
from hartx.pruning.structure import STEM, Structure, read_structure
from hartx.pruning.surgery import keep_channels
from hartx.run import Run, load_run, recordings_of
from hartx.source_run import changed_config, source_folder
from hartx.summary import model_costs
from hartx.train_step import TrainState, split_model

_log = logging.getLogger(__name__)

# Streams whose encoder is a 3D network.
VIDEO = ("rgb", "depth")

# Batches of training clips, augmented as in training, over which importance is averaged.
BATCHES = 32


def pruned_config(config: ConfigDict, workdir: Path) -> ConfigDict:
    """Return the config of the run that prunes another, in full: that run's, changed, with the widths that are left.

    The first time, WORKDIR/pruning.json is written; it says which channels are kept and what the run was before.

    Args:
      config: what configs/prune.py gives.
      workdir: folder of the run that prunes.

    Raises:
      HartxError: if there is no finished run of one 3D network to prune, it is the one in `workdir`, `workdir` holds
        a run that prunes nothing, or the shares to be kept cannot be met.
    """
    budget = _budget(config)
    folder = source_folder(config, "prune", workdir)
    run = load_run(folder)
    stream = video_stream(run)
    changed = changed_config(run.config, config, "prune", folder)
    configs.check(changed)
    if not (workdir / "config.json").exists():
        plan = _plan(run, stream, budget)
        workdir.mkdir(parents=True, exist_ok=True)
        write_json(workdir / PLAN_FILE, plan)
    widths = read_plan(workdir)["widths"]
    changed.model.video.update({name: tuple(v) if isinstance(v, list) else v for name, v in widths.items()})
    return changed


def first_state(config: ConfigDict, workdir: Path, state: TrainState) -> TrainState:
    """Return a run's first state with what is kept of the parameters and statistics of the run that it prunes."""
    run = load_run(config.prune.workdir)
    stream = video_stream(run)
    kept = {group: tuple(channels) for group, channels in read_plan(workdir)["kept"].items()}
    model: Any = run.model
    left = keep_channels(model, stream, structure_of(run, stream), kept)
    params, batch_stats = nnx.split_state(left, nnx.Param, nnx.BatchStat)
    _check_shapes(state.params, params)
    # Copies, since a step gives away the memory of both the parameters and their average.
    ema = None if state.ema is None else jax.tree.map(jnp.copy, params)
    return dataclasses.replace(state, params=params, batch_stats=batch_stats, ema=ema)


def video_stream(run: Run) -> str:
    """Return the stream of a run whose encoder is a 3D network.

    Raises:
      HartxError: if there is none, or there are two, which have their widths in common.
    """
    found = [stream for stream in run.config.streams if stream in VIDEO]
    if len(found) != 1:
        raise HartxError(
            f"the run in {run.workdir} reads {' + '.join(run.config.streams)}; a run with one of {' and '.join(VIDEO)} "
            "is expected, since only 3D networks are pruned, and two would share config.model.video. "
            "Give another --config.prune.workdir"
        )
    if found == ["depth"] and tuple(run.config.model.depth_members) != ("video",):
        raise HartxError(
            f"the run in {run.workdir} reads depth by {' and '.join(run.config.model.depth_members)}; a run of "
            "config.model.depth_members=('video',) is expected, since only 3D networks alone are pruned"
        )
    return found[0]


def structure_of(run: Run, stream: str) -> Structure:
    """Return the groups of a run's 3D network."""
    model: Any = run.model
    return read_structure(model.streams[stream], run.config.model.video.depth, run.specs[stream].shape)


def _budget(config: ConfigDict) -> Budget:
    for field in ("keep_parameters", "keep_flops"):
        if not 0 < config.prune[field] <= 1:
            raise HartxError(f"config.prune.{field}={config.prune[field]} was given; 0 < value <= 1 is expected")
    return Budget(config.prune.keep_parameters, config.prune.keep_flops)


def _plan(run: Run, stream: str, budget: Budget) -> dict[str, Any]:
    """Return what stands in pruning.json."""
    recordings = recordings_of(run)
    structure = structure_of(run, stream)
    _log.info("importance of the channels of %s, over %d batches of training clips", run.workdir, BATCHES)
    batches = itertools.islice(training_batches(recordings, run.config), BATCHES)
    model: Any = run.model
    found = importance(model, stream, structure, batches, run.config.label_smoothing)
    kept = choose(structure, found, budget)
    sizes = {group: len(channels) for group, channels in kept.items()}
    for group, size in structure.sizes.items():
        _log.info("  %-16s %4d of %d channels are kept", group, sizes[group], size)
    widths = structure.widths(sizes)
    return {
        "run": str(run.workdir),
        "step": run.step,
        "criterion": CRITERION,
        "widths": {"width": sizes[STEM], "inner_widths": list(widths.inner), "stage_widths": list(widths.stages)},
        "kept": {group: list(channels) for group, channels in kept.items()},
        "before": _measure(run, recordings),
    }


def _measure(run: Run, recordings: Recordings) -> dict[str, Any]:
    """Return what a run is, with its accuracy on the test side as it is tested now."""
    found = predict(run.config, *split_model(run.model), recordings, "test", progress=True)
    costs = model_costs(run.model, {stream: spec.shape for stream, spec in run.specs.items()})
    return measured(costs, run.model, clips=len(found), views=run.config.clip.views, top1=found.top1)


def _check_shapes(expected: Any, given: Any) -> None:
    old, new = dict(nnx.to_flat_state(expected)), dict(nnx.to_flat_state(given))
    if {path: leaf.shape for path, leaf in old.items()} != {path: leaf.shape for path, leaf in new.items()}:
        raise HartxError(
            "the run that is pruned has another network than when its channels were chosen; remove the folder of the "
            "pruned run and start it again"
        )
