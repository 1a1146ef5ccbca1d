"""What int8 costs in each layer of a finished bundle, with the bundle's own scales."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from export import formats, int8_checks, layers
from export.bundle import CALIBRATION_FILE
from export.clips import Clips, choose_stratified, load_for_calibration
from export.contents import Contents, load
from export.errors import ExportError
from export.layer_loss import measure as measure_layers
from export.outputs import to_samples
from export.quantize import NOTHING_TO_QUANTIZE
from export.resumable import Resumable
from export.sensitivity_report import Sensitivity
from export.verification import same_run
from hartx.run import Run

# What was measured so far, in the bundle's folder, until the result is there.
PARTIAL_FILE = ".sensitivity.npz"


def check_int8(contents: Contents) -> None:
    """Check that a bundle has an int8 model, and in it layers that compute in int8.

    Raises:
      ExportError: if it has none.
    """
    if not any(row.precision == "int8" for row in contents.rows):
        has = ", ".join(row.name for row in contents.rows)
        raise ExportError(
            f"{contents.bundle.path} has no int8 model (it has {has})\n"
            f"  Export it with one: python -m export --workdir=RUN --bundle={contents.bundle.path} "
            "--formats=onnx-fp32,onnx-int8"
        )
    if not int8_checks.has_layers(contents):
        raise ExportError(f"{contents.bundle.path}: {NOTHING_TO_QUANTIZE}; there is no layer to measure")


def measure(contents: Contents, run: Run, clips: Clips, count: int) -> Sensitivity:
    """Return what int8 costs in each layer that a bundle has in int8, and show how far it is.

    The outputs of each model are kept as they come in `PARTIAL_FILE` of the bundle's folder, and taken from there.

    Args:
      contents: the bundle.
      run: the run that it was made from.
      clips: the run's recordings.
      count: number of training clips, spread over the actions and, within one, over the subjects.

    Raises:
      ExportError: if it was made from another run, its scales are not its own, or a clip is missing.
    """
    same_run(contents, run)
    base, int8 = (load(contents, formats.by_precision(name)) for name in ("fp32", "int8"))
    int8_checks.scales(contents, int8)
    calibration = contents.read_json(CALIBRATION_FILE)
    kept = (calibration.get("layers") or {}).get("float", {})
    described = layers.describe(base)
    names = [name for name in described if name not in kept]
    chosen = choose_stratified(clips.entries("train"), count)
    models = int8_checks.model_hashes(contents)
    outputs = Resumable(contents.path(PARTIAL_FILE), [models, sorted(entry.name for entry in chosen)])
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        loaded = load_for_calibration(clips, "train", chosen)
        samples = to_samples(contents.inputs, progress.track(loaded, total=len(chosen), description="clips"))
        task = progress.add_task(f"{len(names)} layers", total=(len(names) + 2) * len(samples))

        def keep(name: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
            if name in outputs:
                progress.advance(task, len(samples))
            return outputs.get(name, compute)

        losses = measure_layers(base, names, _scale_of(calibration), samples, lambda: progress.advance(task), keep)
    return Sensitivity(
        losses=losses,
        layers=described,
        kept=kept,
        clips=tuple(sorted(entry.name for entry in chosen)),
        subjects=tuple(sorted({entry.subject for entry in chosen})),
        estimator=calibration["estimator"],
        models=models,
    )


def _scale_of(calibration: Mapping[str, Any]) -> Callable[[str], np.float32]:
    """Return the int8 step of each tensor as `calibration.json` has it."""
    scales = {name: np.float32(entry["scale"]) for name, entry in calibration["tensors"].items()}
    return scales.__getitem__
