"""A run -> streaming.json, tables and pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from edge.preprocess import window_frames
from edge.streaming import NONE, Narration, usual_rule
from hartx.calibration import read_temperature
from hartx.config import dataset_name
from hartx.data import Recordings, window_s
from hartx.errors import HartxError
from hartx.files import write_json
from hartx.plots import draw_confusion_matrix
from hartx.run import Run
from hartx.streaming.curve import draw_threshold_curve
from hartx.streaming.metrics import NOTHING, confusions, figures, outcome, said_about, threshold_curve
from hartx.streaming.sequence import sequences_of_side
from hartx.streaming.strip import cut_strip, draw_strip
from hartx.streaming.windows import Watched, watch

_WIDTH_OF_A_FILE = 1000  # rich takes 80 where there is no terminal; a table is no wider than what is in it


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Attributes:
      side: train, validation or test.
      threshold: the least smoothed probability that names an action.
      smoothing: how many predictions are averaged at most.
      release: the least smoothed probability with which an action that was named goes on; None: as on the device.
      stride: instants from one window to the next, of those that a window has on the device; None: half of them.
      rest_s: seconds between two recordings.
      window_s: length of a window; None: what the run was trained for.
      seed: draws the order of the recordings.
      strip_recordings: how many recordings the strip shows.
    """

    side: str = "test"
    threshold: float = 0.5
    smoothing: int = 5
    release: float | None = None
    stride: int | None = None
    rest_s: float = 1.0
    window_s: float | None = None
    seed: int = 0
    strip_recordings: int = 3


def measure(run: Run, recordings: Recordings, settings: Settings, output: Path) -> dict[str, Any]:
    """Measure a run on the sequences of a side, and write `streaming.json` and the pictures.

    Args:
      run: a finished run.
      recordings: of the run's config.
      settings: what is measured.
      output: folder to write into; made if it is not there.

    Returns:
      The report as it stands in OUTPUT/streaming.json. The package's docstring defines its metrics.

    Raises:
      HartxError: if the side is empty, or an action is called "none".
    """
    if NONE in run.labels:
        raise HartxError(f"an action of the run is called {NONE!r}, which is what a stream says when it is not sure")
    sequences = sequences_of_side(recordings, settings.side, settings.rest_s, settings.seed)
    rule = usual_rule(settings.threshold, settings.smoothing, settings.release)
    frames = window_frames(run.specs)
    stride = settings.stride or max(1, frames // 2)
    length_s = settings.window_s or window_s(run.config, recordings)
    hop_s = length_s * stride / frames
    watched = watch(run, sequences, length_s, hop_s)
    narrations = said_about(watched, run.labels, rule)
    parts = [outcome(w, run.labels, n, length_s) for w, n in zip(watched, narrations, strict=True)]
    total = sum(parts, NOTHING)
    curves = {
        smoothing: threshold_curve(watched, run.labels, smoothing, settings.release, length_s)
        for smoothing in sorted({settings.smoothing, 1}, reverse=True)
    }
    report = {
        "dataset": dataset_name(run.config),
        "protocol": run.config.protocol,
        "streams": list(run.config.streams),
        "steps": run.step,
        "temperature": read_temperature(run.workdir),
        **dataclasses.asdict(settings),
        "release": rule.release,
        "stride": stride,
        "frames": frames,
        "window_s": length_s,
        "hop_s": hop_s,
        "trimmed_top1": run.report["top1"] if run.report and settings.side == "test" else None,
        "overall": figures(total),
        "per_class": {label: figures(total.of(label)) for label in run.labels},
        "per_subject": {str(s.subject): figures(part) for s, part in zip(sequences, parts, strict=True)},
        "confusion_labels": [*run.labels, NONE],
        "confusion_matrix": confusions(total, run.labels),
        "best_threshold": None if settings.side == "test" else _best(curves[settings.smoothing]),
        "threshold_curves": {str(smoothing): rows for smoothing, rows in curves.items()},
        "sequences": [_timeline(w, n) for w, n in zip(watched, narrations, strict=True)],
    }
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "streaming.json", report)
    _draw(report, curves, output)
    strip = cut_strip(recordings, sequences[0], settings.strip_recordings, settings.rest_s)
    draw_strip(strip, narrations[0], run.labels, settings.threshold, output / "strip.png")
    return report


def _best(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the threshold with the best F1, the highest one of several."""
    best = max(rows, key=lambda row: (row["f1"], row["threshold"]))
    return {"threshold": best["threshold"], "f1": best["f1"]}


def _timeline(watched: Watched, narration: Narration) -> dict[str, Any]:
    return {
        "subject": watched.sequence.subject,
        "duration_s": watched.sequence.duration_s,
        "instances": [
            {"name": i.name, "action": i.action, "start_s": i.start_s, "stop_s": i.stop_s}
            for i in watched.sequence.instances
        ],
        "events": [dataclasses.asdict(event) for event in narration.events],
    }


def _draw(report: dict[str, Any], curves: dict[int, list[dict[str, Any]]], output: Path) -> None:
    title = f"{report['protocol']}, {' + '.join(report['streams'])}, {report['side']} side, in sequence"
    draw_confusion_matrix(
        report["confusion_matrix"],
        report["confusion_labels"],
        f"{title}: windows and what was said after them",
        output / "confusion_matrix.png",
    )
    draw_threshold_curve(curves, report["threshold"], title, output / "threshold.png")


def show(report: dict[str, Any], output: Path) -> None:
    """Print a report as two tables; cells fold in a narrow terminal, and into a file or a pipe all lines are whole."""
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH_OF_A_FILE
    console.print(_overall_table(report))
    console.print(_class_table(report))
    if best := report["best_threshold"]:
        console.print(
            f"best F1 of detections and false alarms on the {report['side']} side: "
            f"{best['f1']:.1%} at --threshold={best['threshold']}"
        )
    console.print(f"report: {output / 'streaming.json'}", soft_wrap=True)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _overall_table(report: dict[str, Any]) -> Table:
    all_in = report["overall"]
    subjects = ", ".join(report["per_subject"])
    table = Table(title=f"in sequence: {report['dataset']}, {report['protocol']}, {' + '.join(report['streams'])}")
    table.add_column("metric", overflow="fold")
    table.add_column("value", justify="right", overflow="fold")
    rows = {
        "subjects": f"{subjects} ({report['side']})",
        "sequences": f"{all_in['minutes']:.1f} min, {all_in['instances']} actions",
        "window": f"{report['window_s']:.2f} s, every {report['hop_s']:.2f} s",
        "decision": f"mean of up to {report['smoothing']}",
        "threshold": f"{report['threshold']:g}, release {report['release']:g}",
        "window accuracy": f"{_percent(all_in['window_accuracy'])} of {all_in['windows']}",
        "decision accuracy": _percent(all_in["decision_accuracy"]),
        "none accuracy at rest": f"{_percent(all_in['none_accuracy'])} of {all_in['rest_windows']}",
        "detection rate": _percent(all_in["detection_rate"]),
        "false alarms a minute": f"{all_in['false_alarms_per_minute']:.2f}",
        "delay, median": f"{_seconds(all_in['delay_median_s'])} s",
        "delay, p90": f"{_seconds(all_in['delay_p90_s'])} s",
        "top-1 of trimmed clips": _percent(report["trimmed_top1"]),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _class_table(report: dict[str, Any]) -> Table:
    table = Table(title="each action: accuracy of the windows and of what is said, false alarms, delay (median, p90)")
    table.add_column("action", overflow="fold")
    for name in ("actions", "detected", "windows", "said", "false/min", "delay s", "p90"):
        table.add_column(name, justify="right", overflow="fold")
    for label, values in report["per_class"].items():
        table.add_row(
            label,
            str(values["instances"]),
            _percent(values["detection_rate"]),
            _percent(values["window_accuracy"]),
            _percent(values["decision_accuracy"]),
            f"{values['false_alarms_per_minute']:.2f}",
            _seconds(values["delay_median_s"]),
            _seconds(values["delay_p90_s"]),
        )
    return table
