"""The runs of a sweep: each a process of its own, found again by what it computes.

A run that is finished and tested is not started again; one that was interrupted goes on. A run that fails
is a result with an error, and the others go on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from hartx import config as configs
from hartx.commit import REPOSITORY
from hartx.errors import HartxError
from hartx.evaluate import is_tested
from hartx.predictions import PREDICTIONS_FILE
from hartx.progress import read_metrics
from hartx.run import is_finished, read_record

_MAIN = REPOSITORY / "main.py"
_LOG_FILE = "output.log"
_POLL_S = 0.2
_PATIENCE_S = 20.0  # for an interrupted run to close what it has open

# Takes its share of the cores and becomes the run, before any library counts the cores.
_PINNED = (
    "import os, sys; os.sched_setaffinity(0, map(int, sys.argv[1].split(','))); os.execv(sys.executable, sys.argv[2:])"
)


# JAX takes three quarters of a GPU's memory for the first process that comes, and leaves too little for the next.
_SHARED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


@dataclass(frozen=True)
class Planned:
    """One run of a sweep: the protocol it tests by, its seed, its whole config, its folder.

    Attributes:
      train_recordings: `hartx.run.fingerprint` of what it trains on.
      test_recordings: the same of what it is tested on.
    """

    fold: str
    seed: int
    config: ConfigDict
    workdir: Path
    train_recordings: str
    test_recordings: str


@dataclass(frozen=True)
class Result:
    """What became of a run; `error` is None if it is finished and tested, the numbers None if it is not."""

    fold: str
    seed: int
    workdir: str
    top1: float | None = None
    training_min: float | None = None
    peak_memory_bytes: int | None = None
    commit: str | None = None
    error: str | None = None


@dataclass
class _Child:
    """A started run."""

    planned: Planned
    process: subprocess.Popen[bytes]
    cores: frozenset[int]
    log_start: int  # where in the log what this process says begins
    task: TaskID


def read_report(workdir: Path) -> dict[str, Any] | None:
    """Return the run's report, None if it has none."""
    path = workdir / "report.json"
    return json.loads(path.read_text()) if path.exists() else None


def is_done(planned: Planned) -> bool:
    """Return whether the run is tested the way its config says, and its predictions are kept."""
    if _is_of_others(planned) or not (planned.workdir / PREDICTIONS_FILE).exists():
        return False
    return is_tested(planned.config, planned.workdir, planned.test_recordings)


def _is_of_others(planned: Planned) -> bool:
    """Return whether what is in the run's folder was trained on other recordings than those that there are now."""
    record = planned.workdir / "run.json"
    return record.exists() and read_record(planned.workdir)["train_recordings"] != planned.train_recordings


def result_of(planned: Planned) -> Result:
    """Return the result of a run that is done."""
    report = read_report(planned.workdir)
    assert report is not None
    return Result(
        fold=planned.fold,
        seed=planned.seed,
        workdir=str(planned.workdir),
        top1=report["top1"],
        training_min=round(report["training_s"] / 60, 2),
        peak_memory_bytes=report["peak_memory_bytes"],
        commit=next(iter(report.get("trained_by", [report["commit"]])), None),
    )


def shares(jobs: int) -> list[frozenset[int]]:
    """Return the cores that each of `jobs` runs at a time gets; empty sets where cores cannot be given.

    Raises:
      HartxError: if there are fewer cores than jobs.
    """
    if jobs == 1 or not hasattr(os, "sched_getaffinity"):
        return [frozenset()] * jobs
    cores = sorted(os.sched_getaffinity(0))
    if jobs > len(cores):
        raise HartxError(f"--jobs={jobs} was given; at most {len(cores)}, one a core, is expected")
    return [frozenset(cores[index::jobs]) for index in range(jobs)]


def run_all(planned: Sequence[Planned], jobs: int, finished: Callable[[Result], None]) -> None:
    """Run what is not done yet, `jobs` at a time, and call `finished` with the result of every run.

    Raises:
      HartxError: if there are fewer cores than jobs.
      KeyboardInterrupt: when interrupted; the runs under way have been stopped by then.
    """
    free = shares(jobs)
    waiting, running = deque(planned), list[_Child]()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
    )
    with bar:

        def end(result: Result) -> None:
            said = f"top-1 {result.top1:.2%}" if result.top1 is not None else result.error or "nothing to test"
            bar.console.print(f"{result.fold} seed {result.seed}: {said}", soft_wrap=True, markup=False)
            finished(result)

        try:
            while waiting or running:
                while waiting and free:
                    entry = waiting.popleft()
                    try:
                        child = None if is_done(entry) else _start(entry, free[-1], bar)
                    except HartxError as error:
                        end(Result(entry.fold, entry.seed, str(entry.workdir), error=str(error)))
                        continue
                    if child is None:
                        end(result_of(entry))
                    else:
                        running.append(child)
                        free.pop()
                time.sleep(_POLL_S if running else 0)
                for child in [c for c in running if c.process.poll() is not None]:
                    running.remove(child)
                    free.append(child.cores)
                    bar.remove_task(child.task)
                    end(_outcome(child))
                for child in running:
                    _show(bar, child)
        finally:
            _stop(running)


def _start(planned: Planned, cores: frozenset[int], bar: Progress) -> _Child:
    """Start `main.py` on a run's folder; it waits while another process trains there.

    Raises:
      HartxError: if what is there is another run, or was trained on other recordings.
    """
    workdir = planned.workdir
    if _is_of_others(planned):
        raise HartxError(
            f"{workdir} was trained on other recordings than those that there are now\n"
            "  Remove that folder to train it anew, or give another --root"
        )
    configs.keep(planned.config, workdir)
    mode = ["--mode=evaluate"] if is_finished(workdir) else []
    command = [sys.executable, str(_MAIN), f"--workdir={workdir}", *mode]
    if cores:
        command = [sys.executable, "-c", _PINNED, ",".join(map(str, sorted(cores))), *command]
    with open(workdir / _LOG_FILE, "ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=_SHARED | os.environ
        )
        task = bar.add_task(f"{planned.fold} seed {planned.seed}", total=None, text="starting")
        return _Child(planned, process, cores, log.tell(), task)


def _show(bar: Progress, child: _Child) -> None:
    record = child.planned.workdir / "run.json"
    if not record.exists():
        return
    total = json.loads(record.read_text())["num_steps"]
    rows = [row for row in read_metrics(child.planned.workdir) if "loss" in row]
    if rows:
        text = f"step {rows[-1]['step']} of {total}, loss {rows[-1]['loss']:.2f}"
        bar.update(child.task, total=total, completed=rows[-1]["step"], text=text)


def _outcome(child: _Child) -> Result:
    planned, code = child.planned, child.process.returncode
    if code == 0 and is_done(planned):
        return result_of(planned)
    path = planned.workdir / _LOG_FILE
    with path.open("rb") as file:
        file.seek(child.log_start)
        said = file.read().decode(errors="replace")
    return Result(planned.fold, planned.seed, str(planned.workdir), error=f"{_why(code, said)} (see {path})")


def _why(code: int, said: str) -> str:
    """Return in short why a run failed, from its exit code and what it said."""
    if code < 0:
        text = f"killed by {signal.Signals(-code).name}"
        return text + (", out of memory perhaps" if code == -signal.SIGKILL else "")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [index for index, line in enumerate(lines) if line.startswith("error: ")]
    if errors:
        return " ".join(lines[errors[-1] :]).removeprefix("error: ")
    return f"exit code {code}: {lines[-1] if lines else 'nothing was said'}"


def _stop(running: Sequence[_Child]) -> None:
    """Interrupt the runs under way and wait for them; each goes on from its last checkpoint another time."""
    for child in running:
        child.process.send_signal(signal.SIGINT)
    until = time.monotonic() + _PATIENCE_S
    for child in running:
        try:
            child.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
