"""What a person sees of a run while it goes on, and what is kept of it.

A live line on the terminal, scalars and pictures for TensorBoard, and WORKDIR/metrics.jsonl for programs
and for the curves that are drawn at the end.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tensorboardX import SummaryWriter

from hartx.errors import HartxError
from hartx.files import write_text


class NonFiniteLoss(HartxError):
    """The loss or the gradient became NaN or infinite."""


class TrainingProgress:
    """Live display and logs of one run, from `start_step` to `num_steps`.

    Metrics of a step are looked at one step later, when the device has already been given the next one, so
    that looking costs no waiting.

    Args:
      workdir: the run's folder.
      start_step: the last step of the newest checkpoint, 0 where there is none.
      num_steps: of the whole run.
      batch_size: clips a step.
      log_steps: steps a row of metrics.jsonl.
      losses: of the steps that `mean_loss` is of and that were taken before the run was stopped.
    """

    def __init__(
        self,
        workdir: Path,
        start_step: int,
        num_steps: int,
        batch_size: int,
        log_steps: int,
        losses: Sequence[float] = (),
    ) -> None:
        self._path = workdir / "metrics.jsonl"
        self._start_step, self._num_steps = start_step, num_steps
        self._batch_size, self._log_steps = batch_size, log_steps
        self._pending: tuple[int, dict[str, jax.Array], list[str]] | None = None
        self._recent: list[dict[str, float]] = []
        self._losses = list(losses)
        self._since, self._wait_s = time.perf_counter(), 0.0
        self._last_checkpoint = start_step
        self._writer = SummaryWriter(str(workdir / "tensorboard"), purge_step=start_step + 1)
        self._bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
        )
        self._task = self._bar.add_task("train", total=num_steps, completed=start_step, text="compiling")

    def __enter__(self) -> TrainingProgress:
        _forget_after(self._path, self._start_step)
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        self._writer.close()

    def waited(self, seconds: float) -> None:
        """Add time that the step waited for data."""
        self._wait_s += seconds

    def update(self, step: int, metrics: dict[str, jax.Array], names: list[str]) -> None:
        """Take the metrics of a step (counted from 1) that has just been started.

        Raises:
          NonFiniteLoss: if those of the step before are not finite.
        """
        self.flush()
        self._pending = (step, metrics, names)

    def flush(self) -> None:
        """Look at the metrics not yet looked at.

        Raises:
          NonFiniteLoss: if they are not finite.
        """
        if self._pending is None:
            return
        step, metrics, names = self._pending
        self._pending = None
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        if not all(np.isfinite(value) for value in values.values()):
            raise NonFiniteLoss(
                f"step {step}: " + ", ".join(f"{k} {v}" for k, v in values.items()) + "\n"
                f"  batch: {', '.join(names)}\n"
                f"  last good checkpoint: "
                + (f"step {self._last_checkpoint}" if self._last_checkpoint else "none yet")
                + "\n  Try a smaller --config.optim.learning_rate, or float32 with --config.model.dtype"
            )
        self._recent.append(values)
        self._losses.append(values["loss"])
        self._bar.update(self._task, completed=step)
        if step % self._log_steps == 0 or step == self._num_steps:
            self._log(step)

    def _log(self, step: int) -> None:
        now = time.perf_counter()
        steps = len(self._recent)
        row = {name: float(np.mean([r[name] for r in self._recent])) for name in self._recent[0]}
        row["step_time_s"] = (now - self._since) / steps
        row["data_wait_s"] = self._wait_s / steps
        self._recent, self._since, self._wait_s = [], now, 0.0
        rate = self._batch_size / row["step_time_s"]
        text = (
            f"loss {row['loss']:.2f} acc {row['accuracy']:.2f} {rate:.0f} clips/s, "
            f"{row['data_wait_s'] / row['step_time_s']:.0%} waiting"
        )
        self._bar.update(self._task, text=text)
        self.write(step, row)

    def mean_loss(self) -> float:
        """Return the mean training loss since the last call."""
        losses, self._losses = self._losses, []
        return float(np.mean(losses))

    @property
    def losses(self) -> tuple[float, ...]:
        """Training losses of the steps since `mean_loss` was asked for."""
        return tuple(self._losses)

    def checkpointed(self, step: int) -> None:
        """Remember that a step is kept, to be named should a later one fail."""
        self._last_checkpoint = step

    def write(self, step: int, row: dict[str, Any]) -> None:
        """Keep scalars of a step for TensorBoard and metrics.jsonl."""
        for name, value in row.items():
            self._writer.add_scalar(name, value, step)
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, **row}) + "\n")

    def write_clips(self, step: int, inputs: dict[str, np.ndarray]) -> None:
        """Keep a picture of the first augmented clips of a batch for TensorBoard: a row a clip, a column a frame."""
        for stream, clips in inputs.items():
            if clips.ndim != 5:
                continue
            rows = [np.concatenate(list(clip[::4]), axis=1) for clip in clips[:4]]
            picture = np.concatenate(rows, axis=0)
            low, high = float(picture.min()), float(picture.max())
            picture = (picture - low) / max(high - low, 1e-6)
            self._writer.add_image(f"clips/{stream}", picture, step, dataformats="HWC")


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """Return the rows of WORKDIR/metrics.jsonl; a last line that was cut off by a kill is left out."""
    path = workdir / "metrics.jsonl"
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def _forget_after(path: Path, step: int) -> None:
    """Drop what a killed run wrote after its last checkpoint: those steps are done again."""
    rows = [row for row in read_metrics(path.parent) if row["step"] <= step]
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
