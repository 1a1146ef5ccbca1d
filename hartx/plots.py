"""Pictures of a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display is needed to write files

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from hartx.progress import read_metrics


def save_figure(figure: Figure, path: Path) -> None:
    """Write a picture and close it; nobody ever sees half of one."""
    temporary = path.with_name(path.stem + ".tmp.png")
    figure.savefig(temporary, dpi=120)
    plt.close(figure)
    os.replace(temporary, path)


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
