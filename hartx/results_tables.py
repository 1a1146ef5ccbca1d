"""Tables of docs/results.md, as Markdown, from the results of sweeps."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from hartx.blocks import markdown_table
from hartx.commit import REPOSITORY
from hartx.config import dataset_name
from hartx.errors import HartxError
from hartx.spread import spread

ABLATION = "ablation-"

# Flags that say where things lie on one machine, not what is computed.
_LOCAL = ("--root", "--jobs", "--config.dataset.data_dir")
_RAW = "--config.dataset.raw_dir"


@dataclass(frozen=True)
class SweepResults:
    """A sweep's folder: what was run, and what came out."""

    name: str
    folder: Path
    sweep: dict[str, Any]
    summary: dict[str, Any]

    @property
    def top1(self) -> float:
        """Mean over seeds of the pooled top-1."""
        return self.summary["top1"]["mean"]

    @property
    def dataset(self) -> str:
        """What its networks have learnt from and were tested on."""
        return self.sweep["dataset"] if "dataset" in self.sweep else dataset_name(ConfigDict(self.sweep["config"]))

    @property
    def streams(self) -> list[str]:
        """Modalities that its networks read."""
        return self.sweep["streams"]


def read_sweeps(*roots: Path) -> dict[str, SweepResults]:
    """Return the sweeps under ROOT/sweeps that have a whole seed, by name; 2 comes before 10.

    Of a name that stands under several roots, the last one's.
    """
    found = {}
    for path in (path for root in roots for path in (root / "sweeps").glob("*/summary.json")):
        summary = json.loads(path.read_text())
        if summary["top1"] is not None:
            name = path.parent.name
            found[name] = SweepResults(name, path.parent, json.loads((path.parent / "sweep.json").read_text()), summary)
    return dict(sorted(found.items(), key=lambda item: _natural(item[0])))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def how_to_run(name: str) -> str:
    """Return the command that makes a sweep of a name."""
    return f"python -m hartx.sweep --config=configs/... --protocol=... --name={name}"


def public_command(command: str) -> str:
    """Return a sweep's command without what lies where on the machine that ran it."""
    kept: list[str] = []
    words = iter(shlex.split(command))
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in (*_LOCAL, _RAW) and not equals:
            next(words, None)
        if flag == _RAW:
            kept.append(f"{_RAW}=UTD-MHAD")
        elif flag == "--config" and Path(value).is_relative_to(REPOSITORY):
            kept.append(f"--config={Path(value).relative_to(REPOSITORY)}")
        elif flag not in _LOCAL:
            kept.append(word)
    return shlex.join(kept)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _range(interval: Sequence[float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}"


def _points(value: float | None) -> str:
    """Return a difference of two shares in percentage points; what rounds to none is +0.00."""
    return "-" if value is None else f"{100 * value:+z.2f}"


def accuracy(chosen: Sequence[SweepResults], _: Sequence[SweepResults]) -> str:
    """Return a row a sweep, and the command that made each."""
    columns = (
        "sweep", "streams", "protocol", "recordings", "seeds", "top-1", "std", "95 % of the mean (t, seeds)",
        "95 % (Wilson, recordings)", "macro F1", "minutes a run", "peak memory", "commit",
    )  # fmt: skip
    rows = [_accuracy_row(results) for results in chosen]
    return markdown_table(columns, rows) + "\n" + _commands(chosen)


def _accuracy_row(results: SweepResults) -> list[str]:
    summary, sweep = results.summary, results.sweep
    runs = [run for run in sweep["runs"] if not run["error"]]
    whole, asked = len(summary["seeds"]), sweep["seeds"]
    return [
        f"`{results.name}`",
        " + ".join(results.streams),
        sweep["protocol"],
        str(summary["clips"]),
        str(whole) if whole == asked else f"{whole} of {asked}",
        _percent(results.top1),
        _percent(summary["top1"]["std"]),
        _range(summary["top1"]["interval95"]),
        _range(summary["wilson95"]),
        _percent(summary["f1_macro"]["mean"]),
        f"{spread([run['training_min'] for run in runs]).mean:.1f}",
        f"{max(run['peak_memory_bytes'] for run in runs) / 2**30:.2f} GiB",
        _commits(runs),
    ]


def _commits(runs: Sequence[dict[str, Any]]) -> str:
    """Return the commits that trained runs, each once."""
    return ", ".join(dict.fromkeys(_short(run["commit"]) for run in runs))


def _short(commit: str | None) -> str:
    if commit is None:
        return "unknown"
    return commit[:8] + ("+changes" if commit.endswith("+changes") else "")


def _commands(chosen: Sequence[SweepResults]) -> str:
    """Return a line a sweep with its command.

    A config's defaults change from commit to commit, so where commands differ in their names alone, the commit at which
    each was given, and so its config was read, tells what differs.
    """
    commands = [public_command(results.sweep["command"]) for results in chosen]
    texts = [_without_name(command) for command in commands]
    lines = ""
    for results, command, text in zip(chosen, commands, texts, strict=True):
        given = f", given at commit {_short(results.sweep.get('commit'))}" if texts.count(text) > 1 else ""
        lines += f"- `{results.name}`: `{command}`{given}\n"
    return lines


def _without_name(command: str) -> tuple[str, ...]:
    """Return the words of a command that `public_command` made, in no order of theirs, but its --name."""
    words: list[str] = []
    rest = iter(shlex.split(command))
    for word in rest:
        if word == "--name":
            next(rest, None)
        elif not word.startswith("--name="):
            words.append(word)
    return tuple(sorted(words))


def missing(chosen: Sequence[SweepResults], every: Sequence[SweepResults]) -> str:
    """Return a row for each fused sweep and set of absent streams, beside the network of the remaining ones alone."""
    columns = ("sweep", "absent", "top-1", "std", "against all streams", "trained on the rest alone", "difference")
    rows = []
    for results in chosen:
        for entry in results.summary["missing"]:
            alone = _trained_on(entry["present"], results, every)
            mean = entry["top1"]["mean"]
            rows.append(
                [
                    f"`{results.name}`",
                    ", ".join(entry["absent"]),
                    _percent(mean),
                    _percent(entry["top1"]["std"]),
                    _points(mean - results.top1),
                    "not run" if alone is None else f"{_percent(alone.top1)} (`{alone.name}`)",
                    _points(None if alone is None else mean - alone.top1),
                ]
            )
    return markdown_table(columns, rows)


def _trained_on(streams: Sequence[str], like: SweepResults, every: Sequence[SweepResults]) -> SweepResults | None:
    """Return the best sweep of exactly these streams under the same protocol, ablations aside."""
    found = [
        results
        for results in every
        if set(results.streams) == set(streams)
        and results.sweep["protocol"] == like.sweep["protocol"]
        and results.dataset == like.dataset
        and not results.name.startswith(ABLATION)
    ]
    return max(found, key=lambda results: results.top1, default=None)


def calibration(chosen: Sequence[SweepResults], _: Sequence[SweepResults]) -> str:
    """Return a row for each fold of each sweep and one for all of them: calibration error before and after."""
    columns = ("sweep", "fold", "temperature", "ECE before", "ECE after", "NLL before", "NLL after")
    rows = []
    for results in chosen:
        found = results.summary["calibration"]
        for fold, entry in found["folds"].items():
            rows.append([f"`{results.name}`", fold, f"{entry['temperature']:.3f}", *_before_after(entry)])
        pooled = {name: value["mean"] for name, value in found.items() if name != "folds"}
        rows.append([f"`{results.name}`", "all, pooled", "", *_before_after(pooled)])
    return markdown_table(columns, rows)


def _before_after(entry: dict[str, float]) -> list[str]:
    return [
        _percent(entry["ece_before"]),
        _percent(entry["ece_after"]),
        f"{entry['nll_before']:.4f}",
        f"{entry['nll_after']:.4f}",
    ]


def ablation(chosen: Sequence[SweepResults], _: Sequence[SweepResults]) -> str:
    """Return a row a sweep with its difference to the row before: mean and std over the seeds both have."""
    return _differences(chosen, [None, *chosen[:-1]], "the row before")


def changes(chosen: Sequence[SweepResults], _: Sequence[SweepResults]) -> str:
    """Return a row a sweep with its difference to the first row, as `ablation`."""
    return _differences(chosen, [None] + [chosen[0]] * (len(chosen) - 1), "the first row")


def _differences(chosen: Sequence[SweepResults], others: Sequence[SweepResults | None], what: str) -> str:
    columns = (
        "sweep", "seeds", "top-1", "std", f"difference to {what}", "std of the difference", "minutes a run",
        "commit",
    )  # fmt: skip
    rows = []
    for before, results in zip(others, chosen, strict=True):
        difference = None if before is None else paired_difference(before.summary, results.summary)
        runs = [run for run in results.sweep["runs"] if not run["error"]]
        rows.append(
            [
                f"`{results.name}`",
                str(len(results.summary["seeds"])),
                _percent(results.top1),
                _percent(results.summary["top1"]["std"]),
                _points(None if difference is None else difference[0]),
                "-" if difference is None or difference[1] is None else f"{100 * difference[1]:.2f}",
                f"{spread([run['training_min'] for run in runs]).mean:.1f}",
                _commits(runs),
            ]
        )
    return markdown_table(columns, rows) + "\n" + _commands(chosen)


def paired_difference(before: dict[str, Any], after: dict[str, Any]) -> tuple[float, float | None] | None:
    """Return mean and standard deviation of the top-1 gained, seed by seed; None without a seed that both have."""
    both = [seed for seed in after["seeds"] if seed in before["seeds"]]
    if not both:
        return None
    found = spread([after["seeds"][seed] - before["seeds"][seed] for seed in both])
    return found.mean, found.std


@dataclass(frozen=True)
class TableKind:
    """A table: how it is written, and which sweeps it takes where its marker names none."""

    write: Callable[[Sequence[SweepResults], Sequence[SweepResults]], str]
    takes: Callable[[SweepResults], bool]


KINDS = {
    "accuracy": TableKind(accuracy, lambda r: not r.name.startswith(ABLATION)),
    "missing": TableKind(missing, lambda r: bool(r.summary["missing"]) and not r.name.startswith(ABLATION)),
    "calibration": TableKind(calibration, lambda r: bool(r.summary["calibration"]) and not r.name.startswith(ABLATION)),
    "ablation": TableKind(ablation, lambda r: r.name.startswith(ABLATION)),
    "changes": TableKind(changes, lambda r: r.name.startswith(ABLATION)),
}


def choose(kind: str, names: Sequence[str], every: dict[str, SweepResults]) -> list[SweepResults]:
    """Return the sweeps that a table shows: the named ones in their order, or all that it takes.

    Raises:
      HartxError: if a named sweep is absent or has nothing for this table, there is none at all, or all are of
        several datasets.
    """
    for name in names:
        if name not in every:
            raise HartxError(f"the sweep {name!r} is absent or has no finished seed. Run it: {how_to_run(name)}")
        if kind in ("missing", "calibration") and not every[name].summary[kind]:
            wanted = "a sweep of a fused network" if kind == "missing" else "a loso sweep of two folds or more"
            raise HartxError(f"the sweep {name!r} has nothing for the table {kind!r}, which takes {wanted}")
    chosen = [every[name] for name in names] or [r for r in every.values() if KINDS[kind].takes(r)]
    if not chosen:
        example = ABLATION + "0-plain" if kind in ("ablation", "changes") else "skeleton-loso"
        raise HartxError(f"there is no sweep for the table {kind!r}. Run one: {how_to_run(example)}")
    datasets = sorted({results.dataset for results in chosen})
    if not names and len(datasets) > 1:
        raise HartxError(
            f"a table {kind!r} that names no sweeps takes all, and there are some over {' and '.join(datasets)}, which "
            f"do not belong together\n  Name those that it shall show in its first line, or give another --root"
        )
    return chosen
