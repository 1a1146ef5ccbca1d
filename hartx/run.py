"""A run's folder: from a config to a model, and from a finished run back to its trained model."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flax import nnx
from ml_collections import ConfigDict

from datasets.locking import locked
from hartx import config as configs
from hartx.checkpoint import Checkpoints
from hartx.commit import git_commit
from hartx.config import dataset_name
from hartx.data import Recordings, input_specs, num_classes, open_recordings
from hartx.errors import HartxError
from hartx.files import write_json
from hartx.models import create_model
from hartx.optim import learning_rate, make_optimizer
from hartx.protocol import check_trains
from hartx.train_step import Recipe, TrainState, make_state, split_model


@dataclass(frozen=True)
class RunLength:
    """How long a run is."""

    steps_per_epoch: float
    num_steps: int


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
      config: what it was started with.
      model: trained, in evaluation mode.
      specs: stream to what the network reads (`edge.preprocess`).
      labels: names of the actions.
      report: what the evaluation wrote, None if it was not evaluated.
      workdir: its folder.
      step: how many steps the model was trained.
    """

    config: ConfigDict
    model: nnx.Module
    specs: dict[str, Any]
    labels: tuple[str, ...]
    report: dict[str, Any] | None
    workdir: Path
    step: int


def config_digest(config: ConfigDict) -> str:
    """Return the SHA-256 (hex) of what a config computes: equal where only `hartx.config.free_fields` differ."""
    fields = _without(config, configs.free_fields(config))
    if "dataset.raw_dir" in fields:
        fields["dataset.raw_dir"] = str(Path(config.dataset.raw_dir).expanduser().resolve())
    return _digest(fields)


def _kept_digest(config: ConfigDict) -> str:
    """Return the same for `run.json`: clips may be moved, and be given by another path from another folder."""
    return _digest(_without(config, configs.FREE_FIELDS))


def _without(config: ConfigDict, free: Collection[str]) -> dict[str, Any]:
    return {field: value for field, value in configs.fields_as_meant(config).items() if field not in free}


def _digest(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def run_name(config: ConfigDict) -> str:
    """Return the name of the folder of a run that is found by what it computes: "skeleton-loso_1-s0-89abcdef"."""
    protocol = config.protocol.replace(":", "_")
    return f"{config.name}-{protocol}-s{config.seed}-{config_digest(config)[:8]}"


def run_length(config: ConfigDict, recordings: Recordings) -> RunLength:
    """Return the length of a run over the training recordings.

    Raises:
      HartxError: if there is none, or there are fewer of them than one batch takes.
    """
    check_trains(config.protocol, recordings.sides, recordings.ids)
    clips = len(recordings.sides.train)
    if clips < config.batch_size:
        raise HartxError(
            f"config.batch_size={config.batch_size} is more than the {clips} training recordings; give a smaller one: "
            f"--config.batch_size={2 ** (clips.bit_length() - 1)}"
        )
    steps_per_epoch = clips / config.batch_size
    return RunLength(steps_per_epoch, max(1, round(config.num_epochs * steps_per_epoch)))


def new_model(config: ConfigDict, num_classes: int) -> nnx.Module:
    """Return the config's model with its initial parameters, which the seed decides."""
    shapes = {stream: spec.shape for stream, spec in input_specs(config).items()}
    return create_model(config.model, config.streams, shapes, num_classes, rngs=nnx.Rngs(params=config.seed))


def check_model(config: ConfigDict) -> None:
    """Check that the config's model can be made; only its shapes are computed for it.

    Raises:
      HartxError: for a `model` section that the model refuses, or a folder of clips that is not given.
      datasets.errors.DatasetError: if a folder of clips cannot be read.
    """
    nnx.eval_shape(lambda: new_model(config, num_classes(config)))


def tested_params(state: TrainState) -> Any:
    """Return the parameters that are used at test: the average where there is one."""
    return state.params if state.ema is None else state.ema


def make_recipe(config: ConfigDict, num_classes: int, length: RunLength) -> tuple[Recipe, TrainState]:
    """Return what a run keeps and the state it starts with."""
    rate = learning_rate(config, length.num_steps, length.steps_per_epoch)
    optimizer = make_optimizer(config, rate)
    model = new_model(config, num_classes)
    graphdef, _, _ = split_model(model)
    state = make_state(model, optimizer, ema=config.ema_decay > 0)
    return Recipe(config, graphdef, optimizer, rate, num_classes), state


def fingerprint(names: Iterable[str]) -> str:
    """Return a hash of the names of the training recordings, in their order."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def check_record(workdir: Path, length: RunLength, recordings: Recordings) -> dict[str, Any]:
    """Return what of `run.json` follows from the recordings, checked against what stands there, if anything does.

    Raises:
      HartxError: if the run there was started on other training recordings.
    """
    values = {
        "num_steps": length.num_steps,
        "steps_per_epoch": length.steps_per_epoch,
        "labels": list(recordings.labels),
        "train_recordings": fingerprint(recordings.names("train")),
    }
    if (workdir / "run.json").exists() and {**read_record(workdir), **values} != read_record(workdir):
        raise HartxError(
            f"{workdir} was started on other training recordings than those given now. "
            "Give the same --config.dataset.raw_dir, or another --workdir"
        )
    return values


def keep_record(config: ConfigDict, workdir: Path, length: RunLength, recordings: Recordings) -> None:
    """Write WORKDIR/run.json, with which the checkpoints can be read without the recordings.

    It says, too, by which commits the run is trained: more than one where it goes on after a change; and has a hash
    of the config, by which it is known that the checkpoints belong to it.

    Raises:
      HartxError: if the run there was started on other training recordings, or with another config.
    """
    check_config(workdir, config)
    values = check_record(workdir, length, recordings)
    commits = list(dict.fromkeys([*trained_by(workdir), git_commit()]))
    write_json(workdir / "run.json", {**values, "trained_by": commits, "config_sha256": _kept_digest(config)})


def check_config(workdir: Path, config: ConfigDict) -> None:
    """Check that a config is the one that the run in `workdir`, if there is one that says so, is trained with.

    Raises:
      HartxError: if it is another: `config.json` was changed by hand.
    """
    if not (workdir / "run.json").exists():
        return
    kept = read_record(workdir).get("config_sha256")  # runs of before lack it
    if kept is not None and kept != _kept_digest(config):
        raise HartxError(
            f"the config in {workdir / 'config.json'} is not the one its checkpoints were trained with\n"
            "  Put it back as it was, or train with the new one in another --workdir"
        )


def trained_by(workdir: Path) -> list[str | None]:
    """Return the commits that a run was trained by, None for one that is not known; none where nothing is known."""
    return read_record(workdir).get("trained_by", []) if (workdir / "run.json").exists() else []


def check_testable(workdir: Path, config: ConfigDict, recordings: Recordings) -> None:
    """Check that a run can be tested on these recordings: that their classes and people are those it was trained with.

    UTD-MHAD numbers both itself, so that other recordings of it may be given. In a folder of clips they go by its
    folders: with one more, those who were trained on may be on the test side. So it is where sides are drawn at random.

    Raises:
      HartxError: if they are others.
    """
    record = read_record(workdir)
    if record["labels"] != list(recordings.labels):
        raise HartxError(
            f"{workdir} was trained to tell {', '.join(record['labels'])}; these recordings are of "
            f"{', '.join(recordings.labels)}. Give the same --config.dataset.raw_dir"
        )
    by_recordings = dataset_name(config) == "video_folder" or config.protocol.startswith("random80")
    if by_recordings and record["train_recordings"] != fingerprint(recordings.names("train")):
        raise HartxError(
            f"{workdir} was trained on other clips than those given now. Put the folder back as it was, or train again"
        )


def recordings_of(run: Run) -> Recordings:
    """Return a finished run's recordings, on the sides that they were on when it was trained.

    Raises:
      HartxError: if they cannot be read, or are others now; see `check_testable`.
      datasets.errors.DatasetError: if they cannot be prepared.
    """
    recordings = open_recordings(run.config)
    check_testable(run.workdir, run.config, recordings)
    return recordings


@contextlib.contextmanager
def held(workdir: Path) -> Iterator[None]:
    """Keep the folder of a run from other processes that train in it; they wait until it is free.

    Raises:
      HartxError: if it is no folder and cannot be made one.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HartxError(
            f"{workdir} cannot be the folder of a run: {error.strerror}\n  Give another --workdir"
        ) from None
    with locked(workdir):
        yield


def is_finished(workdir: Path) -> bool:
    """Return whether the run in `workdir` has its last checkpoint."""
    return (workdir / "run.json").exists() and _last_step(workdir) == read_record(workdir)["num_steps"]


def read_record(workdir: Path) -> dict[str, Any]:
    """Return what `keep_record` wrote.

    Raises:
      HartxError: if it is damaged.
    """
    path = workdir / "run.json"
    try:
        values: dict[str, Any] = json.loads(path.read_text())
        if not {"num_steps", "steps_per_epoch", "labels", "train_recordings"} <= set(values):
            raise ValueError("what it should hold is not there")
    except (ValueError, TypeError) as error:
        raise HartxError(
            f"{path} is damaged ({error})\n  Put it back from a copy, or train again in another --workdir"
        ) from None
    return values


def _last_step(workdir: Path) -> int:
    # Orbax renames a checkpoint to its step's number when it is whole.
    return max((int(p.name) for p in (workdir / "checkpoints/last").glob("*") if p.name.isdigit()), default=0)


def load_run(workdir: str | Path, which: str | None = None) -> Run:
    """Return the finished run in `workdir`.

    Args:
      workdir: its folder.
      which: the last checkpoint or the best; None for what its config tests.

    Raises:
      HartxError: if there is no run, it is not finished, its config was changed, or its checkpoint cannot be read.
    """
    workdir = Path(workdir)
    config = configs.load(workdir)
    if not is_finished(workdir):
        raise HartxError(
            f"the run in {workdir} is not finished (last checkpoint: step {_last_step(workdir)}). "
            f"Finish it: python main.py --workdir={workdir}"
        )
    check_config(workdir, config)
    values = read_record(workdir)
    length = RunLength(values["steps_per_epoch"], values["num_steps"])
    labels = tuple(values["labels"])
    recipe, blank = make_recipe(config, len(labels), length)
    checkpoints = Checkpoints(workdir)
    state = checkpoints.restore(blank, which=which or config.eval_checkpoint)
    checkpoints.close()
    model = nnx.merge(recipe.graphdef, tested_params(state), state.batch_stats)
    model.eval()
    report_path = workdir / "report.json"
    return Run(
        config=config,
        model=model,
        specs=input_specs(config),
        labels=labels,
        report=json.loads(report_path.read_text()) if report_path.exists() else None,
        workdir=workdir,
        step=int(state.step),
    )
