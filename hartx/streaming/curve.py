"""The picture of what the threshold does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from hartx.plots import save_figure

_STYLES = ("-", "--")


def draw_threshold_curve(
    curves: Mapping[int, Sequence[dict[str, Any]]], threshold: float, title: str, path: Path
) -> None:
    """Write detections and false alarms over thresholds, and one over the other.

    Args:
      curves: smoothing to the rows of `metrics.threshold_curve`.
      threshold: the operating point, marked.
      title: of the whole picture.
      path: of the PNG file.
    """
    figure, panels = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for (smoothing, rows), style in zip(curves.items(), _STYLES, strict=False):
        at = {name: [row[name] for row in rows] for name in ("threshold", "detection_rate", "false_alarms_per_minute")}
        name = f"mean of up to {smoothing}" if smoothing > 1 else "no smoothing"
        panels[0].plot(at["threshold"], at["detection_rate"], style, color="tab:blue", label=name)
        panels[1].plot(at["threshold"], at["false_alarms_per_minute"], style, color="tab:red", label=name)
        panels[2].plot(
            at["false_alarms_per_minute"], at["detection_rate"], style, color="tab:green", marker=".", label=name
        )
    panels[0].set(title="detection rate", xlabel="threshold", xlim=(0, 1), ylim=(0, 1))
    panels[1].set(title="false alarms a minute", xlabel="threshold", xlim=(0, 1), ylim=(0, None))
    panels[2].set(title="detection rate", xlabel="false alarms a minute", xlim=(0, None), ylim=(0, 1))
    for axes in panels[:2]:
        axes.axvline(threshold, color="grey", linewidth=0.8)
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    save_figure(figure, path)
