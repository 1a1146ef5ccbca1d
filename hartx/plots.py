"""Pictures of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no display is needed to write files

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from hartx.files import whole
from hartx.progress import read_metrics

_PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1}


def save_figure(figure: Figure, path: Path) -> None:
    """Write a picture and close it; nobody ever sees half of one."""
    with whole(path) as temporary:
        figure.savefig(temporary, dpi=120)
    plt.close(figure)


def draw_confusion_matrix(matrix: Sequence[Sequence[int]], names: Sequence[str], title: str, path: Path) -> None:
    """Write the matrix (rows: truth, columns: prediction) as a picture, a row coloured by its shares."""
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.5 + 0.33 * len(names)
    figure, axes = plt.subplots(figsize=(side, side), layout="constrained")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=7)
    axes.set(title=title, xlabel="predicted", ylabel="true")
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    save_figure(figure, path)


def draw_training_curves(workdir: Path) -> None:
    """Write WORKDIR/training_curves.png: loss, accuracy and learning rate over the steps."""
    rows = read_metrics(workdir)
    figure, panels = plt.subplots(1, 3, figsize=(12, 3.2), layout="constrained")
    titles = ("loss", "accuracy", "learning_rate")
    for axes, name in zip(panels, titles, strict=True):
        points = [(row["step"], row[name]) for row in rows if name in row]
        if points:
            axes.plot(*zip(*points, strict=True), linewidth=1, label="training")
        axes.set(title=name.replace("_", " "), xlabel="step")
    validation = [(row["step"], row["validation_top1"]) for row in rows if "validation_top1" in row]
    if validation:
        panels[1].plot(*zip(*validation, strict=True), label="validation")
        panels[1].legend()
    save_figure(figure, workdir / "training_curves.png")


def draw_folds(folds: Mapping[str, Mapping[str, Any]], title: str, path: Path) -> None:
    """Write a sweep's top-1 as a picture: a dot a seed and fold, a bar at the mean of each fold.

    Args:
      folds: as the sweep's summary has them: fold to `seeds` (seed to top1) and `top1` (with its mean).
      title: of the picture.
      path: of the PNG file.
    """
    figure, axes = plt.subplots(figsize=(2.5 + 0.8 * len(folds), 4), layout="constrained")
    for place, fold in enumerate(folds.values()):
        values = list(fold["seeds"].values())
        offsets = np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else np.zeros(1)
        axes.plot(place + offsets, values, "o", color="tab:blue", alpha=0.7)
        axes.hlines(fold["top1"]["mean"], place - 0.25, place + 0.25, color="black")
    axes.set_xticks(range(len(folds)), list(folds), rotation=30 if len(folds) > 4 else 0)
    axes.set(title=title, ylabel="top-1 (dots: seeds, bar: mean)", xlim=(-0.5, len(folds) - 0.5))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y", alpha=0.3)
    save_figure(figure, path)


def draw_per_class(per_class: Mapping[str, Mapping[str, Any]], title: str, path: Path) -> None:
    """Write recall by class as a picture, in the given order from above, with the spread over seeds if there is one."""
    recall = [entry["recall"] for entry in per_class.values()]
    places = np.arange(len(recall))
    figure, axes = plt.subplots(figsize=(6, 1.5 + 0.22 * len(recall)), layout="constrained")
    axes.barh(places, [r["mean"] for r in recall], xerr=[r["std"] or 0.0 for r in recall], color="tab:blue", alpha=0.8)
    axes.set_yticks(places, list(per_class), fontsize=8)
    axes.set(title=title, xlabel="recall", xlim=(0, 1.02), ylim=(len(recall) - 0.5, -0.5))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    save_figure(figure, path)


def draw_map(points: np.ndarray, labels: np.ndarray, names: Sequence[str], title: str, path: Path) -> None:
    """Write points (N, 2) as a picture, coloured by their labels (N,), with each label's name at its middle."""
    figure, axes = plt.subplots(figsize=(10, 8), layout="constrained")
    axes.scatter(points[:, 0], points[:, 1], c=labels, cmap="gist_ncar", vmin=0, vmax=len(names), s=16, alpha=0.8)
    for label in np.unique(labels):
        middle = np.median(points[labels == label], axis=0)
        axes.annotate(
            names[label], middle, (0, 9), textcoords="offset points", fontsize=8, ha="center", va="center", bbox=_PAPER
        )
    axes.set(title=title, xticks=[], yticks=[])
    save_figure(figure, path)
