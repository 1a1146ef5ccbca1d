"""A trained run -> WORKDIR/report.json, confusion_matrix.png and a table on the terminal."""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import logging
import platform
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict
from rich.console import Console
from rich.progress import track
from rich.table import Table

from hartx import config as configs
from hartx.calibration import forget_temperature
from hartx.commit import git_commit
from hartx.config import learns_joints
from hartx.data import Clip, Recordings, eval_clips, open_recordings
from hartx.files import write_json
from hartx.joint_error import joint_errors_cm
from hartx.metrics import classification_metrics
from hartx.plots import draw_confusion_matrix, draw_training_curves
from hartx.predictions import Predictions, keep_predictions
from hartx.predictor import make_predictor
from hartx.pretraining import whole_history
from hartx.pruning.record import keep_comparison, measured
from hartx.run import check_testable, fingerprint, load_run
from hartx.summary import model_costs
from hartx.train_step import split_model

_log = logging.getLogger(__name__)
_PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "tensorflow-datasets", "grain", "numpy")


def _batches(clips: Iterable[Clip], size: int) -> Iterator[list[Clip]]:
    clips = iter(clips)
    while batch := list(itertools.islice(clips, size)):
        yield batch


def predict(
    config: ConfigDict,
    graphdef: nnx.GraphDef,
    params: Any,
    batch_stats: Any,
    recordings: Recordings,
    side: str,
    progress: bool = False,
) -> Predictions:
    """Return the predictions for the recordings of a side: train, validation or test."""
    (predictions,) = predict_without(config, graphdef, params, batch_stats, recordings, side, [()], progress)
    return predictions


def predict_without(
    config: ConfigDict,
    graphdef: nnx.GraphDef,
    params: Any,
    batch_stats: Any,
    recordings: Recordings,
    side: str,
    absences: Sequence[Collection[str]],
    progress: bool = False,
) -> list[Predictions]:
    """Return the predictions for a side once for each entry of `absences`, the streams that are taken away.

    The clips are prepared once for all of them.
    """
    predictor = make_predictor(graphdef, params, batch_stats, config.batch_size)
    seen: list[Clip] = []
    probabilities: list[list[np.ndarray]] = [[] for _ in absences]
    batches = _batches(eval_clips(config, side, recordings), predictor.size)
    count = len(recordings.indices(side)) * config.clip.views
    total = -(-count // predictor.size)
    for batch in track(batches, "testing", total=total, disable=not progress):
        for rows, found in zip(probabilities, predictor([clip.inputs for clip in batch], absences), strict=True):
            rows.extend(found)
        seen.extend(batch)
    first = seen[:: config.clip.views]
    shape = (len(first), config.clip.views, len(recordings.labels))
    return [
        Predictions(
            names=[clip.name for clip in first],
            subjects=np.array([clip.subject for clip in first], np.int64),
            labels=np.array([clip.label for clip in first], np.int64),
            probabilities=np.asarray(rows, np.float32).reshape(shape).mean(axis=1),
        )
        for rows in probabilities
    ]


def _absences(streams: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the streams to take away in turn: each one, and all but each one, never all of them."""
    every = [(stream,) for stream in streams] + [tuple(s for s in streams if s != kept) for kept in streams]
    return [absent for absent in dict.fromkeys(every) if 0 < len(absent) < len(streams)]


def _missing(
    streams: Sequence[str], absences: Sequence[Sequence[str]], found: Sequence[Predictions]
) -> list[dict[str, Any]]:
    """Return the top-1 of each absence; None if nothing was tested."""
    return [
        {
            "absent": list(absent),
            "present": [stream for stream in streams if stream not in absent],
            "top1": predictions.top1,
        }
        for absent, predictions in zip(absences, found, strict=True)
    ]


def is_tested(config: ConfigDict, workdir: Path, test_recordings: str | None = None) -> bool:
    """Return whether the run in `workdir` has a report, and was tested as the config says on the recordings there are.

    Args:
      config: the run's.
      workdir: its folder.
      test_recordings: `hartx.run.fingerprint` of those on the test side; None: they are looked up.
    """
    path = workdir / "report.json"
    if not path.exists():
        return False
    report = json.loads(path.read_text())
    there, now = configs.flatten(report["config"]), configs.flatten(config)
    if any(there.get(field) != now[field] for field in configs.TEST_FIELDS):
        return False
    if test_recordings is None:
        test_recordings = fingerprint(open_recordings(config).names("test"))
    return report.get("test_recordings") == test_recordings


def evaluate(config: ConfigDict, workdir: Path) -> dict[str, Any]:
    """Test the finished run in `workdir` and write its report.

    Args:
      config: the run's own, or one that differs in fields that leave the run the same (`clip.views`, say).
      workdir: the run's folder.

    Returns:
      The report as it stands in WORKDIR/report.json.

    Raises:
      HartxError: if the run is not finished or cannot be read.
    """
    started = time.perf_counter()
    configs.check(config)
    run = load_run(workdir, config.eval_checkpoint)
    recordings = open_recordings(config)
    check_testable(workdir, config, recordings)
    configs.keep(config, workdir)
    if run.report is not None and run.report.get("steps", run.step) != run.step:
        forget_temperature(workdir)  # which was fitted for the network that was tested before
    graphdef, params, batch_stats = split_model(run.model)
    absences = _absences(config.streams)
    predictions, *without = predict_without(
        config, graphdef, params, batch_stats, recordings, "test", [(), *absences], progress=True
    )
    costs = model_costs(run.model, {stream: spec.shape for stream, spec in run.specs.items()})
    report = {
        "dataset": configs.dataset_name(config),
        "protocol": config.protocol,
        "streams": list(config.streams),
        **classification_metrics(predictions.labels, predictions.probabilities, run.labels),
        "missing": _missing(config.streams, absences, without),
        "joint_error_cm": joint_errors_cm(config, run.model, recordings, "test") if learns_joints(config) else None,
        "train_clips": len(recordings.sides.train),
        "test_recordings": fingerprint(predictions.names),
        "test_subjects": sorted({int(subject) for subject in predictions.subjects}),
        "parameters": costs.parameters,
        "flops": costs.flops,
        "macs": costs.macs,
        "steps": run.step,
        **whole_history(config, workdir, run.report),
        "evaluate_time_s": round(time.perf_counter() - started, 2),
        "commit": git_commit(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES}
        | {"python": platform.python_version()},
        "config": config.to_dict(),
    }
    if jax.process_index() == 0:
        keep_predictions(predictions, workdir)
        write_json(workdir / "report.json", report)
        draw_training_curves(workdir)
        show_report(report, workdir)
        if "prune" in config:
            clips, views, top1 = report["clips"], config.clip.views, report["top1"]
            keep_comparison(measured(costs, run.model, clips=clips, views=views, top1=top1), workdir)
    return report


def show_report(report: dict[str, Any], workdir: Path) -> None:
    """Print a report as a table and draw its confusion matrix."""
    if not report["clips"]:
        _log.warning(
            "protocol %s: there are no recordings on the test side, so nothing was tested (%d trained)",
            report["protocol"],
            report["train_clips"],
        )
        return
    low, high = report["interval95"]
    table = Table(title=f"{report['dataset']}, {report['protocol']}, {' + '.join(report['streams'])}")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_row("test recordings", f"{report['clips']} of subjects {report['test_subjects']}")
    table.add_row("top-1", f"{report['top1']:.2%}  (95 % interval {low:.1%} to {high:.1%})")
    table.add_row("top-5", f"{report['top5']:.2%}")
    for name in ("precision", "recall", "f1"):
        table.add_row(f"{name}, macro", f"{report[name + '_macro']:.2%}")
    worst = sorted((c["recall"], name) for name, c in report["per_class"].items() if c["support"])[:3]
    table.add_row("least recalled", ", ".join(f"{name} {recall:.0%}" for recall, name in worst))
    table.add_row("parameters", f"{report['parameters']:,}")
    table.add_row("GFLOPs a clip", f"{report['flops'] / 1e9:.2f}")
    table.add_row("training", f"{report['training_s'] / 60:.1f} min, {report['steps']} steps")
    table.add_row("memory in training, at most", f"{report['peak_memory_bytes'] / 2**30:.2f} GiB")
    if report["joint_error_cm"]:
        joints = report["joint_error_cm"]
        farthest = max(joints, key=joints.__getitem__)
        mean = sum(joints.values()) / len(joints)
        table.add_row("joints found", f"{mean:.1f} cm off, {farthest} {joints[farthest]:.1f}")
    table.add_row("calibration error", f"{report['ece']:.2%}")
    for entry in report["missing"]:
        table.add_row(f"top-1 without {' and '.join(entry['absent'])}", f"{entry['top1']:.2%}")
    Console().print(table)
    draw_confusion_matrix(
        report["confusion_matrix"],
        list(report["per_class"]),
        f"{report['protocol']}: top-1 {report['top1']:.1%}",
        workdir / "confusion_matrix.png",
    )
    Console().print(f"report: {workdir / 'report.json'}", soft_wrap=True)
