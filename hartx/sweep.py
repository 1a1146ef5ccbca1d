"""The same experiment with several seeds, and under every fold of a protocol.

python -m hartx.sweep --config=configs/skeleton.py --seeds=5 --protocol=loso --config.dataset.raw_dir=UTD-MHAD

Each run is a folder of its own under --root, named by what it computes, so that a sweep that was stopped goes
on with the same command, and one with more seeds or other folds reuses what is there. What it finds is in
ROOT/sweeps/NAME: sweep.json, summary.json, confusion_matrix.png, folds.png, per_class.png.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from absl import app, flags
from ml_collections import ConfigDict, config_flags
from rich.console import Console
from rich.table import Table

from hartx import config as configs
from hartx.command import parser, run_command, speak
from hartx.commit import git_commit
from hartx.data import Recordings, open_recordings
from hartx.errors import HartxError
from hartx.files import write_json
from hartx.plots import draw_confusion_matrix, draw_folds, draw_per_class
from hartx.predictions import read_predictions
from hartx.protocol import check_trains, folds
from hartx.run import config_digest, fingerprint, run_name
from hartx.sweep_runs import Planned, Result, is_done, read_report, run_all
from hartx.sweep_summary import FoldResult, summarise

_NOBODY = 2**31  # subjects are int32, and 0 where recordings do not tell who is in them


@dataclass(frozen=True)
class Sweep:
    """What a sweep is asked for."""

    name: str
    config: ConfigDict
    protocol: str
    seeds: int
    root: Path
    command: str

    @property
    def folder(self) -> Path:
        """Where its results go."""
        return self.root / "sweeps" / self.name


def recordings_present(config: ConfigDict) -> Recordings:
    """Return the recordings that there are for the config's streams, all on the training side."""
    everyone = config.copy_and_resolve_references()
    everyone.protocol, everyone.validation_subject = f"loso:{_NOBODY}", 0
    everyone.dataset.cache_gib = 0.0  # the runs read them, not this process
    return open_recordings(everyone)


def plan(sweep: Sweep) -> list[Planned]:
    """Return the runs of a sweep, all folds of a seed before the next seed.

    Raises:
      HartxError: for a protocol or a config that cannot run.
    """
    configs.check(sweep.config)
    recordings = recordings_present(sweep.config)
    subjects = [recording.subject for recording in recordings.ids]
    runs = []
    for seed in range(sweep.seeds):
        for fold in folds(sweep.protocol, seed, subjects):
            config = sweep.config.copy_and_resolve_references()
            config.protocol, config.seed = fold, seed
            config.streams_dir = str(sweep.root.resolve())  # the streams of a fusion are runs as well
            split = recordings.split(fold, config.validation_subject)
            check_trains(fold, split.sides, split.ids)
            trained, tested = (fingerprint(split.names(side)) for side in ("train", "test"))
            runs.append(Planned(fold, seed, config, sweep.root / run_name(config), trained, tested))
    return runs


def _check_own(config: ConfigDict) -> None:
    """Raise HartxError for a field that a sweep sets by itself."""
    if config.seed or config.streams_dir:
        raise HartxError(
            "config.seed or config.streams_dir was given; a sweep has the seeds 0, 1, ... (--seeds=N), and keeps what "
            "streams it trains in its --root"
        )


def sweep_digest(config: ConfigDict) -> str:
    """Return the SHA-256 of what the runs of a sweep have in common: their config but for protocol and seed."""
    config = config.copy_and_resolve_references()
    config.protocol, config.seed = "", 0
    return config_digest(config)


def run_sweep(sweep: Sweep, jobs: int) -> dict[str, Any]:
    """Run what is not done yet and write the sweep's results: sweep.json after every run, the summary at the end.

    A sweep that is stopped has a summary of the runs that are done, one that is killed has none.

    Returns:
      What stands in sweep.json.

    Raises:
      HartxError: if the sweep cannot be run, its name is none of a folder, or another one has it.
    """
    _check_name(sweep.name)
    runs = plan(sweep)
    _claim(sweep)
    results: list[Result] = []

    def finished(result: Result) -> None:
        results.append(result)
        results.sort(key=lambda r: [(r.fold, r.seed) == (p.fold, p.seed) for p in runs].index(True))
        write_json(sweep.folder / "sweep.json", _describe(sweep, results))

    (sweep.folder / "summary.json").unlink(missing_ok=True)  # of other runs than sweep.json will name, perhaps
    try:
        run_all(runs, jobs, finished)
    finally:
        write_summary(sweep.folder, runs)
    return _describe(sweep, results)


def _check_name(name: str) -> None:
    """Raise HartxError for a name that is not that of one folder: `hartx.results` finds a sweep by ROOT/sweeps/NAME."""
    if name in ("", ".", "..") or os.sep in name:
        raise HartxError(
            f"--name={name} was given; the name of a folder without {os.sep} is expected, such as {_as_name(name)}"
        )


def _as_name(name: str) -> str:
    return "-".join(part for part in name.split(os.sep) if part.strip(".")) or "skeleton-loso"


def _claim(sweep: Sweep) -> None:
    """Make the sweep's folder, or check that what is there is the same sweep, perhaps of other folds or seeds."""
    path = sweep.folder / "sweep.json"
    try:
        sweep.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HartxError(
            f"{sweep.folder} cannot be the folder of a sweep: {error.strerror}\n  Give another --root"
        ) from None
    if path.exists():
        there = json.loads(path.read_text())
        if there["config_sha256"] != sweep_digest(sweep.config) or there["protocol"] != sweep.protocol:
            free = configs.free_fields(sweep.config) | {"protocol", "seed"}
            changed = configs.changed_fields(ConfigDict(there["config"]), sweep.config, free)
            if there["protocol"] != sweep.protocol:
                changed["protocol"] = (there["protocol"], sweep.protocol)
            raise HartxError(
                f"{sweep.folder} holds another sweep\n"
                f"{configs.list_changes(changed)}  Give another --name, or remove that folder; its runs stay"
            )


def _describe(sweep: Sweep, results: Sequence[Result]) -> dict[str, Any]:
    return {
        "name": sweep.name,
        "command": sweep.command,
        "commit": git_commit(),
        "config_name": sweep.config.name,
        "config_sha256": sweep_digest(sweep.config),
        "dataset": configs.dataset_name(sweep.config),
        "streams": list(sweep.config.streams),
        "protocol": sweep.protocol,
        "seeds": sweep.seeds,
        "runs": [asdict(result) for result in results],
        "config": sweep.config.to_dict(),
    }


def write_summary(folder: Path, runs: Sequence[Planned]) -> dict[str, Any]:
    """Write FOLDER/summary.json and the pictures of the runs that are tested, and return the summary."""
    tested, labels = [], []
    for run in runs:
        report = read_report(run.workdir) if is_done(run) else None
        if report is not None and report["clips"]:
            tested.append(FoldResult(run.fold, run.seed, read_predictions(run.workdir), report))
            labels = list(report["per_class"])
    folds_of = {seed: [run.fold for run in runs if run.seed == seed] for seed in sorted({run.seed for run in runs})}
    summary = summarise(tested, folds_of, labels)
    write_json(folder / "summary.json", summary)
    if tested:
        draw_folds(summary["folds"], folder.name, folder / "folds.png")
    if summary["top1"] is not None:
        title = f"{folder.name}: top-1 {summary['top1']['mean']:.1%}"
        counted = f"{title}, {len(summary['seeds'])} seed(s) added up"
        draw_confusion_matrix(summary["confusion_matrix"], labels, counted, folder / "confusion_matrix.png")
        draw_per_class(summary["per_class"], title, folder / "per_class.png")
    return summary


def show(description: dict[str, Any], summary: dict[str, Any], console: Console) -> None:
    """Print what a sweep found."""
    table = Table(title=f"{description['name']}: {description['protocol']}, {' + '.join(description['streams'])}")
    for column in ("fold", "recordings", "seeds", "top-1", "std over seeds"):
        table.add_column(column, justify="left" if column == "fold" else "right")
    for fold, entry in summary["folds"].items():
        mean, std = entry["top1"]["mean"], entry["top1"]["std"]
        table.add_row(fold, str(entry["clips"]), str(len(entry["seeds"])), f"{mean:.2%}", _percent(std))
    if summary["top1"] is not None:
        table.add_section()
        mean, std = summary["top1"]["mean"], summary["top1"]["std"]
        table.add_row("all, pooled", str(summary["clips"]), str(len(summary["seeds"])), f"{mean:.2%}", _percent(std))
    console.print(table)
    for line in _statements(summary):
        console.print(line, highlight=False)
    tested = [run for run in description["runs"] if not run["error"]]
    others = sorted({(run["commit"] or "unknown")[:8] for run in tested if run["commit"] != description["commit"]})
    if others:
        console.print(
            f"trained by other code than that of now ({', '.join(others)}), and taken as they are; remove the folders "
            "of these runs to train them anew",
            soft_wrap=True,
        )
    for run in description["runs"]:
        if run["error"]:
            console.print(f"failed: {run['fold']} seed {run['seed']}: {run['error']}", soft_wrap=True, markup=False)


def _statements(summary: dict[str, Any]) -> list[str]:
    """Return what is said below the table."""
    lines = []
    if summary["left_out"]:
        lines.append(f"seeds left out of what is pooled, since a fold is not tested: {summary['left_out']}")
    if summary["top1"] is None:
        return lines
    if summary["top1"]["interval95"]:
        low, high = summary["top1"]["interval95"]
        lines.append(f"95 % interval of the mean over seeds (Student's t): {low:.2%} to {high:.2%}")
    low, high = summary["wilson95"]
    lines.append(f"95 % interval over recordings (Wilson, {summary['clips']} recordings): {low:.2%} to {high:.2%}")
    lines.append(f"macro F1 {summary['f1_macro']['mean']:.2%}, calibration error {summary['ece']['mean']:.2%}")
    if summary["calibration"]:
        lines.append(f"calibration error after temperature scaling: {summary['calibration']['ece_after']['mean']:.2%}")
    for entry in summary["missing"]:
        lines.append(f"top-1 without {' and '.join(entry['absent'])}: {entry['top1']['mean']:.2%}")
    worst = list(summary["per_class"].items())[:5]
    lines.append("least recalled: " + ", ".join(f"{name} {entry['recall']['mean']:.0%}" for name, entry in worst))
    return lines


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def _run() -> None:
    # Defined here, because a flag named config belongs to whichever program is started.
    config = config_flags.DEFINE_config_file(
        "config", None, "The experiment: configs/NAME.py or configs/NAME.py:VARIANT. --config.FIELD=VALUE overrides."
    )
    seeds = flags.DEFINE_integer("seeds", 5, "Runs of every fold, with seeds 0, 1, ...", lower_bound=1)
    protocol = flags.DEFINE_string(
        "protocol",
        None,
        "loso, loso:K,L, loso:K+L,K+M (K and L left out at once, then K and M), cross_subject, random80 (a split a "
        "seed) or random80:SEED. Default: the config's.",
    )
    root = flags.DEFINE_string("root", "runs", "Folder of the runs; results go to ROOT/sweeps/NAME.")
    name = flags.DEFINE_string("name", None, "Name of the sweep. Default: the config's name and the protocol.")
    jobs = flags.DEFINE_integer("jobs", 1, "Runs at a time, each on its share of the cores.", lower_bound=1)

    def main(argv: list[str]) -> None:
        if len(argv) > 1 or config.value is None:
            raise app.UsageError(
                "expected: python -m hartx.sweep --config=configs/skeleton.py --seeds=5 --protocol=loso"
            )
        speak()
        configs.check(config.value)
        _check_own(config.value)
        signal.signal(signal.SIGTERM, _interrupted)
        chosen = protocol.value or config.value.protocol
        sweep = Sweep(
            name=name.value or f"{config.value.name}-{chosen.replace(':', '_')}",
            config=config.value,
            protocol=chosen,
            seeds=seeds.value,
            root=Path(root.value),
            command=shlex.join(["python", "-m", "hartx.sweep", *sys.argv[1:]]),
        )
        description = run_sweep(sweep, jobs.value)
        console = Console()
        show(description, json.loads((sweep.folder / "summary.json").read_text()), console)
        console.print(f"results: {sweep.folder}", soft_wrap=True)
        if any(run["error"] for run in description["runs"]):
            sys.exit(1)

    app.run(main, flags_parser=parser(config))


if __name__ == "__main__":
    sys.exit(run_command(_run, "stopped; go on with the same command: what is finished is not run again"))
