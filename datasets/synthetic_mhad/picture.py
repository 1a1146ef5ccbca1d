"""The picture of the README: `python -m datasets.synthetic_mhad.picture --output=docs/synthetic_mhad.png`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from datasets.synthetic_mhad.body import BONES, JOINTS
from datasets.synthetic_mhad.recording import Recording, record
from datasets.utd_mhad import ACTIONS, RecordingId

SIZE = (360, 480)
FRAMES = 7
# Laid out as here, each with another subject.
SHOWN = (
    (RecordingId(5, 3, 1), RecordingId(24, 2, 1)),
    (RecordingId(17, 1, 1), RecordingId(27, 7, 1)),
    (RecordingId(21, 5, 1), RecordingId(12, 4, 1)),
)
# The part of a picture around the person, in fractions of its height.
TOP, HALF_WIDTH = 0.12, 0.33
# The same part in metres at the person's distance.
LEFT_M, RIGHT_M, BOTTOM_M, TOP_M = -0.85, 0.85, -1.25, 1.0


def draw(seed: int = 0) -> Figure:
    """Return strips of colour, depth and skeleton frames of a few recordings."""
    figure = Figure(figsize=(13, 10.2), dpi=92)
    grid = figure.add_gridspec(
        len(SHOWN), len(SHOWN[0]), left=0.01, right=0.99, bottom=0.005, top=0.97, wspace=0.03, hspace=0.1
    )
    for row, keys in enumerate(SHOWN):
        for column, key in enumerate(keys):
            axes = grid[row, column].subgridspec(3, 1, hspace=0.02).subplots(squeeze=False)[:, 0]
            _draw_recording(axes, record(key, SIZE, seed))
            title = f"{ACTIONS[key.action - 1].replace('_', ' ')}, subject {key.subject}"
            axes[0].set_title(title, loc="left", fontsize=10)
    return figure


def _draw_recording(axes: np.ndarray, recording: Recording) -> None:
    num_frames = recording.depth.shape[-1]
    # Without the rest at the very start and end.
    frames = [int(place * num_frames) for place in np.linspace(0.1, 0.85, FRAMES)]
    depth_mm = _strip([recording.depth[:, :, i] for i in frames])
    axes[0].imshow(_strip([recording.rgb[min(i // 2, len(recording.rgb) - 1)] for i in frames]), aspect="auto")
    axes[1].imshow(
        np.ma.masked_equal(depth_mm, 0), cmap="viridis_r", vmin=2200, vmax=3500, interpolation="nearest", aspect="auto"
    )
    axes[1].set_facecolor("black")
    for place, i in enumerate(frames):
        _draw_skeleton(axes[2], recording.skeleton[:, :, i], place)
    axes[2].set_xlim(LEFT_M, LEFT_M + FRAMES * (RIGHT_M - LEFT_M))
    axes[2].set_ylim(BOTTOM_M, TOP_M)
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
        for spine in axis.spines.values():
            spine.set_visible(False)


def _strip(pictures: list[np.ndarray]) -> np.ndarray:
    """Return the parts around the person side by side."""
    height, width = pictures[0].shape[:2]
    half = round(HALF_WIDTH * height)
    parts = [picture[round(TOP * height) :, width // 2 - half : width // 2 + half] for picture in pictures]
    return np.concatenate(parts, axis=1)


def _draw_skeleton(axis: Axes, joints: np.ndarray, place: int) -> None:
    x, y = joints[:, 0] + place * (RIGHT_M - LEFT_M), joints[:, 1]
    for a, b in BONES:
        side = JOINTS[b].split("_")[0]
        colour = {"right": "tab:red", "left": "tab:blue"}.get(side, "black")
        axis.plot(x[[a, b]], y[[a, b]], color=colour, linewidth=1.6, solid_capstyle="round")


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m datasets.synthetic_mhad.picture", description=__doc__)
    parser.add_argument("--output", required=True, type=Path, help="PNG file to write")
    parser.add_argument("--seed", type=int, default=0, help="of the recordings, default 0")
    options = parser.parse_args()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    draw(options.seed).savefig(options.output)
    print(f"{options.output}: {options.output.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
