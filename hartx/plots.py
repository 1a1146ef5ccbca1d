"""Pictures of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no display is needed to write files

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from hartx.files import whole
from hartx.progress import read_metrics

_PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1}
_BESIDE: dict[str, Any] = {
    "textcoords": "offset points", "fontsize": 8, "ha": "center", "va": "center", "bbox": _PAPER
}  # fmt: skip
_LEADER = {"arrowstyle": "-", "color": "grey", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0}
_DOT_POINTS = 3  # about the radius of a point of a map


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
    """Write points (N, 2) as a picture, coloured by their labels (N,), with each label's name beside its middle."""
    figure, axes = plt.subplots(figsize=(10, 8), layout="constrained")
    axes.scatter(points[:, 0], points[:, 1], c=labels, cmap="gist_ncar", vmin=0, vmax=len(names), s=16, alpha=0.8)
    axes.set(title=title, xticks=[], yticks=[])
    middles = {names[label]: np.median(points[labels == label], axis=0) for label in np.unique(labels)}
    _write_beside(axes, middles, points)
    save_figure(figure, path)


def _write_beside(axes: Axes, places: Mapping[str, np.ndarray], points: np.ndarray) -> None:
    """Write each name near its place, over no other name and over as few points (N, 2) as can be, with a line to it."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # only now is it known where on the page things are
    points_a_pixel = 72 / figure.dpi
    dots = points_a_pixel * axes.transData.transform(points)
    room = points_a_pixel * axes.get_window_extent().get_points()
    written: list[np.ndarray] = []
    for name, place in places.items():
        text = axes.annotate(name, tuple(place), (0, 0), **_BESIDE)
        half = points_a_pixel * np.asarray(text.get_window_extent().size) / 2 + 1
        middle = points_a_pixel * axes.transData.transform(place)
        offset = min(_offsets(half), key=lambda o: _in_the_way(middle + o, half, written, dots, room))
        text.remove()
        leader = _LEADER if np.any(np.abs(offset) > half + 3 * _DOT_POINTS) else None
        axes.annotate(name, tuple(place), tuple(offset), arrowprops=leader, **_BESIDE)
        written.append(np.stack([middle + offset - half, middle + offset + half]))


def _offsets(half: np.ndarray) -> list[np.ndarray]:
    """Return where a name of half a width and half a height may be from its place, the nearest first."""
    around = [(np.cos(angle), np.sin(angle)) for angle in np.pi / 2 + np.linspace(0, 2 * np.pi, 24, endpoint=False)]
    return [np.array([x, y]) * (half + distance) for distance in range(2 * _DOT_POINTS, 120, 4) for x, y in around]


def _in_the_way(
    middle: np.ndarray, half: np.ndarray, written: Sequence[np.ndarray], dots: np.ndarray, room: np.ndarray
) -> tuple[bool, int, int]:
    """Return what speaks against a name there: that it is beyond the axes, and what names and points it covers."""
    beyond = bool(np.any(middle - half < room[0]) or np.any(middle + half > room[1]))
    names = sum(bool(np.all((middle - half < box[1]) & (box[0] < middle + half))) for box in written)
    covered = int(np.all(np.abs(dots - middle) < half + _DOT_POINTS, axis=1).sum())
    return beyond, names, covered
