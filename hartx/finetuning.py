"""A run that goes on from the network of a finished one, on other recordings, with other actions or at another size.

All parameters and statistics are taken. Only where the actions are others, the layers that name them begin anew.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from ml_collections import ConfigDict

from hartx import config as configs
from hartx import run as runs
from hartx.data import Recordings, open_recordings
from hartx.errors import HartxError
from hartx.source_run import changed_config, source_folder, source_of
from hartx.train_step import TrainState, split_model

_log = logging.getLogger(__name__)

# From a parameter's path to its shape.
_Shapes = dict[tuple[Any, ...], tuple[int, ...]]


def finetuned_config(config: ConfigDict, workdir: Path) -> ConfigDict:
    """Return the config of the run that goes on from another, in full: that run's, with what is given changed.

    Args:
      config: what configs/finetune.py gives.
      workdir: folder of the run that goes on.

    Raises:
      HartxError: if there is no finished run to go on from, it is the one in `workdir`, or the changed config is none.
    """
    folder = source_folder(config, "finetune", workdir)
    changed = changed_config(configs.load(folder), config, "finetune", folder)
    configs.check(changed)
    return changed


def check_source(config: ConfigDict, recordings: Recordings) -> None:
    """Check that a run can go on from the one that its config names; before anything of it is written.

    Raises:
      HartxError: if that run is not finished, has another network, or was trained, itself or by way of a run that it
        goes on from, on recordings that this one tests or validates on.
      datasets.errors.DatasetError: if what that run was trained on cannot be read, where the names mean the same.
    """
    run = runs.load_run(config.finetune.workdir)
    _check_network(config, run, recordings.labels)
    tested = {*recordings.names("test"), *recordings.names("validation")}
    folder: Path | None = run.workdir
    while folder is not None:
        if not (folder / "config.json").exists():
            _log.warning("%s is gone, with whose network an earlier run began: it may know what is tested", folder)
            return
        source = configs.load(folder)
        if known := tested & _trained_on(folder, source, config):
            raise HartxError(
                f"{folder} was trained on {len(known)} of the recordings that {config.protocol} tests or validates on "
                f"({min(known)} is one of them): the network would know them\n"
                f"  Its protocol was {source.protocol}; give the same, or another run"
            )
        folder = source_of(source)


def first_state(config: ConfigDict, labels: tuple[str, ...], state: TrainState) -> TrainState:
    """Return a run's first state with the parameters and statistics of the run that it goes on from.

    Args:
      config: of the run, checked by `check_source`.
      labels: its actions.
      state: what it would begin with by itself.
    """
    run = runs.load_run(config.finetune.workdir)
    _, params, batch_stats = split_model(run.model)
    anew = set() if labels == run.labels else _naming_layers(config, len(labels))
    names = ", ".join(sorted({"/".join(map(str, path[:-1])) for path in anew}))
    _log.info("begins with the network of %s%s", run.workdir, f"; anew, for other actions: {names}" if anew else "")
    params = _taken(params, state.params, anew)
    return dataclasses.replace(
        state,
        params=params,
        batch_stats=_taken(batch_stats, state.batch_stats, anew),
        # Copies, since a step gives away the memory of both the parameters and their average.
        ema=None if state.ema is None else jax.tree.map(jnp.copy, params),
    )


def _check_network(config: ConfigDict, run: runs.Run, labels: tuple[str, ...]) -> None:
    there, here = _shapes(run.model), _shapes_of(config, len(labels))
    anew = _naming_layers(config, len(labels))
    different = sorted(
        "/".join(map(str, path))
        for path in there.keys() | here.keys()
        if there.get(path) != here.get(path) and not (path in anew and labels != run.labels)
    )
    if different:
        raise HartxError(
            f"{run.workdir} has another network than this config's: {len(different)} of its parameters differ, "
            f"{different[0]} is one\n"
            "  Leave config.streams and config.model as they are there"
        )


def _shapes(model: nnx.Module) -> _Shapes:
    return {path: leaf.shape for path, leaf in nnx.to_flat_state(nnx.state(model, (nnx.Param, nnx.BatchStat)))}


def _shapes_of(config: ConfigDict, num_classes: int) -> _Shapes:
    return _shapes(nnx.eval_shape(lambda: runs.new_model(config, num_classes)))


def _naming_layers(config: ConfigDict, num_classes: int) -> set[tuple[Any, ...]]:
    """Return the paths of the parameters whose shape goes by the number of actions."""
    here, one_more = _shapes_of(config, num_classes), _shapes_of(config, num_classes + 1)
    return {path for path, shape in here.items() if one_more[path] != shape}


def _taken(theirs: Any, own: Any, anew: set[tuple[Any, ...]]) -> Any:
    """Return a state of their values, and of its own ones at the paths that begin anew."""
    own_values = dict(nnx.to_flat_state(own))
    return nnx.from_flat_state(
        [(path, own_values[path] if path in anew else leaf) for path, leaf in nnx.to_flat_state(theirs)]
    )


def _trained_on(folder: Path, source: ConfigDict, config: ConfigDict) -> set[str]:
    """Return the names of what a run was trained on; none where names mean other recordings than in `config`.

    UTD-MHAD is the same wherever it lies, and is there where `config` has it; folders of clips name theirs each for
    itself.
    """
    dataset = configs.dataset_name(config)
    folders = {Path(each.dataset.raw_dir).expanduser().resolve() for each in (source, config)}
    if configs.dataset_name(source) != dataset or (dataset == "video_folder" and len(folders) > 1):
        return set()
    there = source.copy_and_resolve_references()
    there.dataset = config.dataset
    recordings = open_recordings(there)
    runs.check_testable(folder, there, recordings)
    return set(recordings.names("train"))
