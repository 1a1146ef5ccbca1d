"""Fit the temperature of a finished run, which `python -m export` puts into its bundle.

python -m hartx.calibrate --workdir=runs/a --sweep=runs/sweeps/skeleton-loso
python -m hartx.calibrate --workdir=runs/a          where the run has a validation subject

A temperature needs recordings that were not trained on, of subjects of the run's training side: either those
that each fold of a leave-one-subject-out sweep of the same config held out, or the validation subject's.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

from hartx import config as configs
from hartx.calibration import TEMPERATURE_FILE, confidence_at, fit_temperature
from hartx.command import run_command
from hartx.errors import HartxError
from hartx.files import write_json
from hartx.predictions import PREDICTIONS_FILE, Predictions, pool, read_predictions
from hartx.protocol import RecordingId, is_test

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeldOut:
    """Predictions on recordings that the networks making them were not trained on, and which runs these are."""

    predictions: Predictions
    runs: list[str]


def trains(config: ConfigDict, predictions: Predictions) -> np.ndarray:
    """Return for each recording (N,) whether its subject is on the training side of a config's protocol.

    Raises:
      HartxError: under random80, which has subjects on both sides.
    """
    if config.protocol.startswith("random80"):
        raise HartxError(
            f"protocol {config.protocol} has every subject on its test side, so that there is none to fit a "
            "temperature on. Calibrate a run of cross_subject or loso:K"
        )
    ids = [RecordingId(name, int(s)) for name, s in zip(predictions.names, predictions.subjects, strict=True)]
    return ~np.array(is_test(config.protocol, ids), bool)


def from_sweep(config: ConfigDict, folder: Path) -> HeldOut:
    """Return what the folds of a LOSO sweep predicted for the training subjects of a run.

    A fold that left out a subject whom the run tests is dropped whole.

    Args:
      config: of the run that is to be calibrated.
      folder: ROOT/sweeps/NAME.

    Raises:
      HartxError: if there is no such sweep, it did not leave out subjects, or has no fold that can be used.
    """
    path = folder / "sweep.json"
    if not path.exists():
        raise HartxError(f"{folder} holds no sweep (sweep.json is missing). {_how(config)}")
    sweep = json.loads(path.read_text())
    if not sweep["protocol"].startswith("loso"):
        raise HartxError(f"{folder} is a sweep of protocol {sweep['protocol']}; loso is expected. {_how(config)}")
    if sweep["streams"] != list(config.streams):
        raise HartxError(f"{folder} is a sweep of {sweep['streams']}, the run reads {list(config.streams)}")
    of_sweep = ConfigDict(sweep["config"])
    here, there = configs.dataset_name(config), configs.dataset_name(of_sweep)
    if here != there:
        raise HartxError(f"{folder} is a sweep over {there}, the run is of {here}. {_how(config)}")
    if here == "video_folder" and not _same_folder(config.dataset.raw_dir, of_sweep.dataset.raw_dir):
        raise HartxError(f"{folder} is a sweep over {of_sweep.dataset.raw_dir}, the run is of other clips")
    _tell_differences(config, of_sweep)
    parts, runs = [], []
    for run in sweep["runs"]:
        predictions = None if run["error"] else read_predictions(Path(run["workdir"]))
        if predictions is not None and len(predictions) and trains(config, predictions).all():
            parts.append(predictions)
            runs.append(Path(run["workdir"]).name)
    if not parts:
        raise HartxError(
            f"no fold of {folder} left out a training subject of protocol {config.protocol} and is tested. "
            + _how(config)
        )
    return HeldOut(pool(parts), runs)


def _same_folder(one: str, other: str) -> bool:
    return Path(one).expanduser().resolve() == Path(other).expanduser().resolve()


def _tell_differences(config: ConfigDict, of_sweep: ConfigDict) -> None:
    free = (*configs.FREE_FIELDS, "protocol", "seed", "name", "validation_subject")
    if changed := configs.changed_fields(of_sweep, config, free):
        _log.warning("the sweep's config differs from the run's in %s", ", ".join(changed))


def from_validation(config: ConfigDict, workdir: Path) -> HeldOut:
    """Return what a run predicts for its validation subject.

    Raises:
      HartxError: if it has none, or is not finished.
    """
    if not config.validation_subject:
        raise HartxError(f"the run in {workdir} has no validation subject, and no --sweep was given. {_how(config)}")
    from hartx.evaluate import predict
    from hartx.run import load_run, recordings_of
    from hartx.train_step import split_model

    run = load_run(workdir)
    predictions = predict(run.config, *split_model(run.model), recordings_of(run), "validation", progress=True)
    return HeldOut(predictions, [workdir.name])


def _how(config: ConfigDict) -> str:
    return (
        "Leave out each training subject in turn with the run's config, then give its folder: "
        f"python -m hartx.sweep --config=configs/... --protocol=loso --seeds=1 --name={config.name}-loso, "
        f"and --sweep=runs/sweeps/{config.name}-loso"
    )


def calibrate(workdir: Path, sweep: Path | None) -> dict[str, Any]:
    """Fit a run's temperature and write WORKDIR/temperature.json.

    Args:
      workdir: of the run.
      sweep: ROOT/sweeps/NAME of a LOSO sweep; None to use the run's validation subject.

    Returns:
      What stands in the file: temperature, fitted_on (runs, subjects, clips, and ece and nll before and after),
      test (the same of the run's test side; None if it is not tested).

    Raises:
      HartxError: if there is no run, or nothing that may be fitted on.
    """
    config = configs.load(workdir)
    held_out = from_validation(config, workdir) if sweep is None else from_sweep(config, sweep)
    temperature = fit_temperature(held_out.predictions)
    tested = read_predictions(workdir) if (workdir / PREDICTIONS_FILE).exists() else None
    values = {
        "temperature": temperature,
        "fitted_on": {"runs": held_out.runs} | _compare(held_out.predictions, temperature),
        "test": _compare(tested, temperature) if tested is not None and len(tested) else None,
    }
    write_json(workdir / TEMPERATURE_FILE, values)
    return values


def _compare(predictions: Predictions, temperature: float) -> dict[str, Any]:
    return {
        "subjects": sorted({int(subject) for subject in predictions.subjects}),
        "clips": len(predictions),
        "before": asdict(confidence_at(predictions, 1.0)),
        "after": asdict(confidence_at(predictions, temperature)),
    }


def _show(values: dict[str, Any], workdir: Path) -> None:
    console = Console(highlight=False)
    console.print(f"temperature {values['temperature']:.3f} -> {workdir / TEMPERATURE_FILE}", soft_wrap=True)
    for side in ("fitted_on", "test"):
        if found := values[side]:
            console.print(
                f"{side.replace('_', ' ')}: {found['clips']} recordings of subjects {found['subjects']}, calibration "
                f"error {found['before']['ece']:.2%} before, {found['after']['ece']:.2%} after; "
                f"NLL {found['before']['nll']:.3f}, {found['after']['nll']:.3f}",
                soft_wrap=True,
            )


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m hartx.calibrate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, required=True, metavar="RUN", help="folder of the finished run")
    parser.add_argument("--sweep", type=Path, metavar="FOLDER", help="ROOT/sweeps/NAME of a LOSO sweep")
    args = parser.parse_args(argv)
    return run_command(lambda: _show(calibrate(args.workdir, args.sweep), args.workdir))


if __name__ == "__main__":
    sys.exit(main())
