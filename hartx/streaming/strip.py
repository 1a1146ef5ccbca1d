"""The picture of a stream: what the sensors saw, and below it what was said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.textpath import TextPath

from edge.joints import LAYOUTS, PARENTS, layout_of
from edge.preprocess import read_track
from edge.sampling import Track, segment_times
from edge.streaming import NONE, Narration
from hartx.data import Recordings
from hartx.plots import save_figure
from hartx.streaming.sequence import ContinuousSequence, Instance, join_tracks

_WIDTH_IN = 16.0
_PICTURES_AN_INSTANCE = 8
_CURVES = 6
_MODALITIES = ("rgb", "depth", "skeleton")
_SKELETON_WIDTH_M = 1.3  # the room one skeleton has; one with arms stretched out reaches into the next one's
_CURVES_IN = 2.8
_CURVES_TOP = 1.04  # of the probabilities; above it stand the names of the actions
_NAME_IN = 0.2
_NAME_SIZE, _SAID_SIZE = 10.0, 8.0  # of letters, in points
_GAP_POINTS = 6.0
_LEAST_AXES_IN = 12.5  # of the width, beside the longest legend and what stands on the left
_LIMB_COLOURS = {"left": "tab:blue", "right": "tab:red"}


@dataclass(frozen=True)
class _Name:
    """A name at an instant: its middle, and on which of some lines it stands, so that it is clear of those before."""

    text: str
    middle_s: float
    line: int


@dataclass(frozen=True)
class Strip:
    """The beginning of a sequence.

    Attributes:
      instances: the recordings shown.
      stop_s: where the strip ends; it starts at 0.
      tracks: what is drawn of them, whether the network reads it or not.
      instants: times of the pictures.
    """

    instances: tuple[Instance, ...]
    stop_s: float
    tracks: dict[str, Track]
    instants: np.ndarray


def cut_strip(recordings: Recordings, sequence: ContinuousSequence, count: int, rest_s: float) -> Strip:
    """Return the first `count` recordings of a sequence, with every modality that all of them have."""
    instances = sequence.instances[:count]
    source = recordings.source.reading(_MODALITIES)
    found = [source[instance.index].tracks for instance in instances]
    tracks = {
        modality: join_tracks([each[modality] for each in found], instances, rest_s)
        for modality in _MODALITIES
        if all(modality in each for each in found)
    }
    stop_s = instances[-1].stop_s + rest_s
    return Strip(instances, stop_s, tracks, segment_times(0, stop_s, _PICTURES_AN_INSTANCE * len(instances)))


def draw_strip(strip: Strip, narration: Narration, labels: Sequence[str], threshold: float, path: Path) -> None:
    """Write frames, skeletons and the smoothed probabilities over the same axis of time."""
    pictures = {name: _thumbnails(name, strip) for name in ("rgb", "depth") if name in strip.tracks}
    picture_in = _WIDTH_IN / len(strip.instants)
    heights = [picture_in * images.shape[1] / images.shape[2] for images in pictures.values()]
    joints = None
    if "skeleton" in strip.tracks:
        joints = np.asarray(read_track("skeleton", strip.tracks["skeleton"], strip.instants))
        heights.append(picture_in * float(np.ptp(joints[..., 1])) / _SKELETON_WIDTH_M)
    actions = _names_apart(
        [(i.action, (i.start_s + i.stop_s) / 2) for i in strip.instances], 0.5, _NAME_SIZE, strip.stop_s
    )
    said = _names_apart(
        [(d.action, d.time_s) for d in narration.decisions if d.started and d.time_s < strip.stop_s],
        0.0,
        _SAID_SIZE,
        strip.stop_s,
    )
    heights += [_CURVES_IN + _NAME_IN * _lines(actions), 0.15 + _NAME_IN * _lines(said)]
    size = (_WIDTH_IN, sum(heights) + 1.0)
    figure, panels = plt.subplots(
        len(heights), figsize=size, height_ratios=heights, sharex=True, squeeze=False, layout="constrained"
    )
    rows = iter(panels[:, 0])
    for name, images in pictures.items():
        _show_pictures(next(rows), name, images, strip)
    if joints is not None:
        _show_skeletons(next(rows), joints, strip)
    shown = _labels_to_show(strip, narration, labels)
    colours = {label: f"C{i}" for i, label in enumerate(shown)}
    axes = next(rows)
    _show_probabilities(axes, strip, narration, labels, colours, threshold)
    _show_actions(axes, actions, colours)
    _show_decisions(next(rows), strip, narration, said, colours)
    panels[0, 0].set_xlim(0, strip.stop_s)
    save_figure(figure, path)


def _names_apart(wanted: Sequence[tuple[str, float]], share: float, size: float, stop_s: float) -> list[_Name]:
    """Return names within the strip, each on the first line where it is clear of those before.

    Args:
      wanted: names and their instants, in order of time.
      share: of a name's width that may stand before its instant.
      size: of its letters, in points.
      stop_s: where the strip ends.
    """
    names = []
    ends_s: list[float] = []  # of the last name of each line
    for text, instant_s in wanted:
        width_s = _width_s(text, size, stop_s)
        start_s = max(0.0, min(instant_s - share * width_s, stop_s - width_s))
        line = next((i for i, end_s in enumerate(ends_s) if end_s <= start_s), len(ends_s))
        ends_s[line : line + 1] = [start_s + width_s]
        names.append(_Name(text, start_s + width_s / 2, line))
    return names


def _width_s(text: str, size: float, stop_s: float) -> float:
    """Return how much of the axis of time a name and a gap cover at most."""
    width_points = float(TextPath((0, 0), text, size=size).get_extents().width) + _GAP_POINTS
    return stop_s * width_points / 72 / _LEAST_AXES_IN


def _lines(names: Sequence[_Name]) -> int:
    return max((name.line + 1 for name in names), default=1)


def _thumbnails(name: str, strip: Strip) -> np.ndarray:
    """Return one picture an instant, (N, H, W, 3) uint8: colour frames, or depth as shades on white."""
    frames = np.stack(read_track(name, strip.tracks[name], strip.instants))
    if name == "rgb":
        height, width = frames.shape[1:3]
        margin = max(0, (width - round(0.6 * height)) // 2)
        return frames[:, :, margin : width - margin]
    body = frames > 0
    if not body.any():
        return np.full((*frames.shape, 3), 255, np.uint8)
    rows, columns = np.flatnonzero(body.any(axis=(0, 2))), np.flatnonzero(body.any(axis=(0, 1)))
    frames = frames[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    near, far = np.percentile(frames[frames > 0], (1, 99))
    shade = plt.get_cmap("viridis_r")(np.clip((frames - near) / max(far - near, 1), 0, 1))[..., :3]
    return np.where((frames > 0)[..., None], 255 * shade, 255).astype(np.uint8)


def _call(axes: Axes, name: str) -> None:
    """Write what a row shows, level, for a row may be lower than its name is long."""
    axes.set_ylabel(name, rotation=0, ha="right", va="center")


def _show_pictures(axes: Axes, name: str, images: np.ndarray, strip: Strip) -> None:
    height = images.shape[1]
    axes.imshow(np.concatenate(list(images), axis=1), extent=(0, strip.stop_s, height, 0), aspect="auto")
    _call(axes, name)
    axes.set_yticks([])


def _show_skeletons(axes: Axes, joints: np.ndarray, strip: Strip) -> None:
    """Draw the front view: x to the right, y up, each skeleton's hip at its instant."""
    layout = layout_of(joints.shape[1])
    names = LAYOUTS[layout]
    seconds_a_metre = strip.stop_s / len(strip.instants) / _SKELETON_WIDTH_M
    x = strip.instants[:, None] + seconds_a_metre * (joints[..., 0] - joints[:, [names.index("hip_center")], 0])
    for joint, parent in enumerate(PARENTS[layout]):
        ends = [parent, joint]
        colour = _LIMB_COLOURS.get(names[joint].split("_")[0], "black")
        axes.plot(x[:, ends].T, joints[:, ends, 1].T, color=colour, linewidth=1.2, solid_capstyle="round")
    _call(axes, "skeleton")
    axes.set_yticks([])


def _labels_to_show(strip: Strip, narration: Narration, labels: Sequence[str]) -> list[str]:
    """Return the true labels in order of time, then those that become most likely, `_CURVES` in all or more."""
    true = list(dict.fromkeys(instance.action for instance in strip.instances))
    seen = [d.probabilities for d in narration.decisions if d.time_s <= strip.stop_s]
    peaks = np.max(seen, axis=0) if seen else np.zeros(len(labels))
    others = [labels[i] for i in np.argsort(-peaks, kind="stable") if labels[i] not in true]
    return true + others[: max(0, _CURVES - len(true))]


def _show_probabilities(
    axes: Axes,
    strip: Strip,
    narration: Narration,
    labels: Sequence[str],
    colours: dict[str, str],
    threshold: float,
) -> None:
    times_s = [decision.time_s for decision in narration.decisions]
    curves = np.stack([decision.probabilities for decision in narration.decisions], axis=1)
    for label, colour in colours.items():
        axes.plot(times_s, curves[labels.index(label)], color=colour, marker=".", label=label)
    for instance in strip.instances:
        axes.axvspan(instance.start_s, instance.stop_s, color=colours[instance.action], alpha=0.15, linewidth=0)
    axes.axhline(threshold, color="grey", linestyle=":", linewidth=1)
    axes.set(ylabel="smoothed probability")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _show_actions(axes: Axes, names: Sequence[_Name], colours: dict[str, str]) -> None:
    """Write what is done above the curves."""
    line = _NAME_IN * _CURVES_TOP / _CURVES_IN
    for name in names:
        height = _CURVES_TOP + line * (name.line + 0.5)
        axes.text(
            name.middle_s, height, name.text, ha="center", va="center", color=colours[name.text], fontsize=_NAME_SIZE
        )
    axes.set(ylim=(0, _CURVES_TOP + line * (_lines(names) + 0.25)), yticks=np.linspace(0, 1, 6))


def _show_decisions(
    axes: Axes, strip: Strip, narration: Narration, names: Sequence[_Name], colours: dict[str, str]
) -> None:
    """Draw what is said, from each decision to the next one."""
    decisions = [d for d in narration.decisions if d.time_s < strip.stop_s]
    stops_s = [d.time_s for d in decisions[1:]] + [strip.stop_s]
    for decision, stop_s in zip(decisions, stops_s, strict=True):
        if decision.action != NONE:
            axes.axvspan(decision.time_s, stop_s, color=colours.get(decision.action, "grey"), alpha=0.6, linewidth=0)
    for name in names:
        height = 1 - (name.line + 0.5) / _lines(names)
        axes.text(name.middle_s, height, name.text, ha="center", va="center", fontsize=_SAID_SIZE)
    axes.set(xlabel="seconds; a window is named when it ends", ylim=(0, 1))
    _call(axes, "said")
    axes.set_yticks([])
