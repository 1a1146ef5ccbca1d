"""What `export.sensitivity` shows and writes: a table, sensitivity.json, sensitivity.png."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import PercentFormatter
from rich.table import Table

from export.bundle import SENSITIVITY_FILE
from export.layer_loss import Loss, Losses
from export.layers import Layer
from hartx.files import whole, write_json
from hartx.plots import save_figure

PICTURE_FILE = "sensitivity.png"


@dataclass(frozen=True)
class Sensitivity:
    """What int8 costs in each layer of a bundle.

    Attributes:
      losses: of each layer alone, the most sensitive first, and of all together.
      layers: what each weighs in the model, those that stay in float too.
      kept: layers that the bundle keeps in float, and why; they were not measured.
      clips: names of the training recordings that it was measured on.
      subjects: whose these are.
      estimator: where the ranges come from.
      models: sha256 of the bundle's files that were compared, by precision.
    """

    losses: Losses
    layers: Mapping[str, Layer]
    kept: Mapping[str, str]
    clips: tuple[str, ...]
    subjects: tuple[int, ...]
    estimator: str
    models: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the contents of `sensitivity.json`."""
        return {
            "models": dict(self.models),
            "estimator": self.estimator,
            "subjects": list(self.subjects),
            "clips": list(self.clips),
            "float": asdict(self.losses.exact),
            "int8": _loss(self.losses.together),
            "layers": {name: _loss(found) | _weight(self.layers[name]) for name, found in self.losses.alone.items()},
            "kept_in_float": {name: {"why": why} | _weight(self.layers[name]) for name, why in self.kept.items()},
        }


def _loss(loss: Loss) -> dict[str, Any]:
    return {"sqnr_db": loss.sqnr_db, "kl": loss.kl, **asdict(loss.score)}


def _weight(layer: Layer) -> dict[str, Any]:
    return {name: value for name, value in asdict(layer).items() if name != "name"}


def decibel(value: float | None) -> str:
    """Return a ratio for people; None is that of no change at all."""
    return "no change" if value is None else f"{value:.1f}"


def table(found: Sensitivity) -> Table:
    """Return the losses for people, the most sensitive layer first."""
    subjects = ", ".join(map(str, found.subjects))
    title = f"each layer alone in int8: {len(found.clips)} training clips (subjects {subjects}); ranges by "
    shown = Table(title=title + found.estimator)
    shown.add_column("layer", overflow="fold")
    for column in ("SQNR, dB", "KL", "top-1", "NLL", "parameters", "MACs"):
        shown.add_column(column, justify="right")
    for name, loss in found.losses.alone.items():
        layer = found.layers[name]
        shown.add_row(name, *_cells(loss), f"{layer.parameter_share:.1%}", f"{layer.mac_share:.1%}")
    shown.add_section()
    int8 = [found.layers[name] for name in found.losses.alone]
    shares = [sum(layer.parameter_share for layer in int8), sum(layer.mac_share for layer in int8)]
    shown.add_row("all of these", *_cells(found.losses.together), *(f"{share:.1%}" for share in shares))
    exact = found.losses.exact
    shown.add_row("none", "", "", f"{exact.top1:.1%}", f"{exact.nll:.5f}", "", "")
    if found.kept:
        shown.caption = "in float throughout: " + "; ".join(f"{name} ({why})" for name, why in found.kept.items())
    return shown


def _cells(loss: Loss) -> tuple[str, ...]:
    return decibel(loss.sqnr_db), f"{loss.kl:.2g}", f"{loss.score.top1:.1%}", f"{loss.score.nll:.5f}"


def write(bundle: Path, found: Sensitivity) -> list[Path]:
    """Write `sensitivity.json` and `sensitivity.png` into a bundle's folder and return their paths."""
    paths = [bundle / SENSITIVITY_FILE, bundle / PICTURE_FILE]
    # Both are written before either takes its place, the numbers last: none of them is there without its picture.
    with whole(paths[0]) as values, whole(paths[1]) as picture:
        draw(found, picture)
        write_json(values, found.to_json())
    return paths


def draw(found: Sensitivity, path: Path) -> None:
    """Write a picture: a layer a row, the most sensitive above; its ratio, and its shares of the model."""
    names = list(found.losses.alone)
    ratios = [loss.sqnr_db for loss in found.losses.alone.values()]
    places = np.arange(len(names))
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(10, 1.8 + 0.25 * len(names)), sharey=True, layout="constrained", width_ratios=(2, 1)
    )
    left.barh(places, [ratio or 0.0 for ratio in ratios], color="tab:blue", alpha=0.8)
    together = found.losses.together.sqnr_db
    left.axvline(together or 0.0, color="black", linestyle="--", linewidth=1)
    left.set_yticks(places, names, fontsize=8)
    left.set(
        title=f"one layer in int8 (dashed: all, {decibel(together)}), {len(found.clips)} clips",
        xlabel="SQNR of the logits, dB (less is worse)",
    )
    left.set_ylim(len(names) - 0.5, -0.5)
    for offset, share, label in ((-0.2, "parameter_share", "parameters"), (0.2, "mac_share", "MACs")):
        right.barh(places + offset, [getattr(found.layers[name], share) for name in names], 0.4, label=label)
    right.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    right.set(title="share of the model")
    right.legend()
    save_figure(figure, path)
