"""The picture of a whole stream: how probable the actions were over time, and what was said."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import cv2
import numpy as np

from edge.errors import EdgeError
from edge.events import Ended, Predicted
from edge.streaming import NONE

_WIDTH, _LEFT, _RIGHT, _TOP, _CURVES, _STRIP, _BOTTOM = 1400, 60, 230, 20, 320, 46, 40
_SHOWN = 8  # actions that have a curve and a colour
# Colours that stay apart for most colour-blind people (Okabe and Ito), as BGR, with two greys.
_COLOURS = ((178, 114, 0), (0, 159, 230), (115, 158, 0), (0, 94, 213), (167, 121, 204), (233, 180, 86), (90, 90, 90),
            (160, 160, 160))  # fmt: skip
_BLACK, _LIGHT = (0, 0, 0), (225, 225, 225)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class _Axis:
    start_s: float
    stop_s: float

    def x(self, time_s: float) -> int:
        return _LEFT + round((time_s - self.start_s) / (self.stop_s - self.start_s) * (_WIDTH - _LEFT - _RIGHT))


def draw_timeline(predictions: Sequence[Predicted], events: Sequence[Ended], threshold: float) -> np.ndarray:
    """Return the picture, (H, W, 3) uint8 BGR.

    Args:
      predictions: all of them, in order of time; at least one.
      events: the actions that were said.
      threshold: the least confidence that names an action.
    """
    height = _TOP + _CURVES + _STRIP + _BOTTOM
    picture = np.full((height, _WIDTH, 3), 255, np.uint8)
    start_s, stop_s = predictions[0].start_s, max(predictions[-1].time_s, predictions[0].start_s + 1e-3)
    axis = _Axis(start_s, stop_s)
    colours = _colours(predictions)
    _draw_axes(picture, axis, threshold)
    for action, colour in colours.items():
        _draw_curve(picture, [(axis.x(time_s), _y_of(share)) for time_s, share in _curve(predictions, action)], colour)
    for event in events:
        _draw_event(picture, event, axis, colours.get(event.action, _BLACK))
    for row, (action, colour) in enumerate(colours.items()):
        y = _TOP + 14 + 22 * row
        cv2.line(picture, (_WIDTH - _RIGHT + 14, y - 5), (_WIDTH - _RIGHT + 38, y - 5), colour, 3, cv2.LINE_AA)
        _text(picture, action, (_WIDTH - _RIGHT + 46, y))
    return picture


def write_timeline(path: Path, predictions: Sequence[Predicted], events: Sequence[Ended], threshold: float) -> None:
    """Write the picture of `draw_timeline` as PNG.

    Raises:
      EdgeError: if it cannot be written.
    """
    if not cv2.imwrite(str(path), draw_timeline(predictions, events, threshold)):
        raise EdgeError(f"{path} cannot be written: is the folder writable, is there room?")


def _colours(predictions: Sequence[Predicted]) -> Dict[str, Tuple[int, int, int]]:
    """Return the actions that became most probable, with their colours; those that were said come first."""
    peaks: Dict[str, float] = {}
    for prediction in predictions:
        for score in prediction.top5:
            said = score.action == prediction.action != NONE
            peaks[score.action] = max(peaks.get(score.action, 0.0), score.confidence + said)
    best = sorted(peaks, key=lambda action: -peaks[action])[:_SHOWN]
    return dict(zip(best, _COLOURS))


def _curve(predictions: Sequence[Predicted], action: str) -> List[Tuple[float, float]]:
    """Return times and smoothed probabilities; where an action is not among the five first, 0 is as good as it."""
    shares = [{score.action: score.confidence for score in p.top5}.get(action, 0.0) for p in predictions]
    return [(p.time_s, share) for p, share in zip(predictions, shares)]


def _y_of(share: float) -> int:
    return _TOP + round((1 - min(max(share, 0.0), 1.0)) * _CURVES)


def _text(picture: np.ndarray, text: str, at: Tuple[int, int], size: float = 0.45) -> None:
    cv2.putText(picture, text, at, _FONT, size, _BLACK, 1, cv2.LINE_AA)


def _draw_axes(picture: np.ndarray, axis: _Axis, threshold: float) -> None:
    right, bottom = _WIDTH - _RIGHT, _TOP + _CURVES
    for share in (0.0, 0.5, 1.0):
        cv2.line(picture, (_LEFT, _y_of(share)), (right, _y_of(share)), _LIGHT, 1)
        _text(picture, f"{share:.0%}", (8, _y_of(share) + 5))
    for x in range(_LEFT, right, 12):
        cv2.line(picture, (x, _y_of(threshold)), (x + 5, _y_of(threshold)), (120, 120, 120), 1)
    step_s = _round_step((axis.stop_s - axis.start_s) / 10)
    for tick in range(math.ceil(axis.start_s / step_s), math.floor(axis.stop_s / step_s) + 1):
        x = axis.x(tick * step_s)
        cv2.line(picture, (x, _TOP), (x, bottom + _STRIP), _LIGHT, 1)
        _text(picture, f"{tick * step_s:g}", (x - 10, bottom + _STRIP + 18))
    _text(picture, "seconds; a window is named when it ends", (_LEFT, bottom + _STRIP + 35), 0.4)
    _text(picture, "said", (8, bottom + _STRIP // 2 + 5))
    cv2.rectangle(picture, (_LEFT, _TOP), (right, bottom), (90, 90, 90), 1)


def _round_step(step_s: float) -> float:
    """Return the next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step_s))
    return power * next(factor for factor in (1, 2, 5, 10) if factor * power >= step_s * (1 - 1e-9))


def _draw_curve(picture: np.ndarray, points: Sequence[Tuple[int, int]], colour: Tuple[int, int, int]) -> None:
    cv2.polylines(picture, [np.array(points, np.int32)], False, colour, 2, cv2.LINE_AA)
    if len(points) == 1:
        cv2.circle(picture, points[0], 3, colour, -1)


def _draw_event(picture: np.ndarray, event: Ended, axis: _Axis, colour: Tuple[int, int, int]) -> None:
    top = _TOP + _CURVES + 6
    left, right = axis.x(event.start_s), max(axis.x(event.stop_s), axis.x(event.start_s) + 3)
    cv2.rectangle(picture, (left, top), (right, top + _STRIP - 12), colour, -1)
    (width, _), _ = cv2.getTextSize(event.action, _FONT, 0.4, 1)
    if width < right - left - 4:
        cv2.putText(picture, event.action, (left + 3, top + 22), _FONT, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
