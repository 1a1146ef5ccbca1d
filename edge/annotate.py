"""A frame with what is known about it drawn on top."""

from __future__ import annotations

from typing import Optional, Tuple

import cv2
import numpy as np

from edge.events import Predicted
from edge.joints import LAYOUTS, PARENTS, ROOT, layout_of
from edge.runtime import Look
from edge.streaming import NONE

_HEIGHTS = (480, 1080)  # smaller pictures are enlarged, so that text can be read; larger ones made smaller
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE, _GREY, _GREEN, _RED, _BLUE = (255, 255, 255), (150, 150, 150), (80, 200, 80), (60, 60, 230), (230, 140, 50)
_SKELETON_M = 2.4  # the height of the corner in which a skeleton is drawn
_DEPTH_RANGE_MM = (500.0, 4500.0)  # of the first Kinect


def picture_size(height: int, width: int) -> Tuple[int, int]:
    """Return (width, height) of the annotated picture, both even, as video codecs want them."""
    scale = min(max(height, _HEIGHTS[0]), _HEIGHTS[1]) / height
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


def annotate(look: Look, frame_rate_hz: Optional[float], show_skeleton: bool = False) -> np.ndarray:
    """Return the picture of a frame with the newest prediction, (H, W, 3) uint8 BGR.

    Args:
      look: frame, skeleton and prediction.
      frame_rate_hz: frames looked at per second, to be written; None if not known yet.
      show_skeleton: whether to draw the skeleton, as seen from the front, in a corner.
    """
    picture = _background(look.frame.image)
    if show_skeleton and look.joints is not None:
        _draw_skeleton(picture, look.joints)
    if look.prediction is not None:
        _draw_scores(picture, look.prediction)
    _draw_state(picture, look, frame_rate_hz)
    return picture


def _background(image: Optional[np.ndarray]) -> np.ndarray:
    """Return the frame in the size of the picture: colour as BGR, depth as shades, black without a frame."""
    if image is None:
        return np.zeros((_HEIGHTS[0], 640, 3), np.uint8)
    if image.ndim == 2:
        near, far = _DEPTH_RANGE_MM
        nearness = np.clip((far - image.astype(np.float32)) * (255 / (far - near)), 0, 255) * (image > 0)
        image = np.repeat(nearness.astype(np.uint8)[..., None], 3, axis=2)
    else:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.resize(image, picture_size(*image.shape[:2]), interpolation=cv2.INTER_AREA)


def _text(picture: np.ndarray, text: str, at: Tuple[int, int], size: float, colour: Tuple[int, int, int]) -> None:
    cv2.putText(picture, text, at, _FONT, size, colour, max(1, round(1.6 * size)), cv2.LINE_AA)


def _darken(picture: np.ndarray, top: int, bottom: int, right: int) -> None:
    picture[max(top, 0) : bottom, :right] //= 3


def _draw_scores(picture: np.ndarray, prediction: Predicted) -> None:
    """Draw what is said, how sure it is, and the five most probable actions."""
    unit = picture.shape[0] / 480
    width, line = round(250 * unit), round(18 * unit)
    _darken(picture, 0, round(48 * unit) + line * len(prediction.top5) + 6, width)
    said = prediction.action != NONE
    colour = _GREEN if said else _GREY
    _text(picture, prediction.action, (round(8 * unit), round(24 * unit)), 0.7 * unit, colour)
    _bar(picture, round(8 * unit), round(32 * unit), round(234 * unit), round(8 * unit), prediction.confidence, colour)
    for row, score in enumerate(prediction.top5):
        base = round(44 * unit) + line * (row + 1)
        _bar(
            picture, round(8 * unit), base - round(9 * unit), round(50 * unit), round(8 * unit), score.confidence, _GREY
        )
        _text(picture, f"{score.confidence:4.0%} {score.action}", (round(64 * unit), base), 0.42 * unit, _WHITE)


def _bar(picture: np.ndarray, x: int, y: int, width: int, height: int, share: float, colour: Tuple[int, ...]) -> None:
    cv2.rectangle(picture, (x, y), (x + width, y + height), colour, 1)
    cv2.rectangle(picture, (x, y), (x + round(width * min(max(share, 0.0), 1.0)), y + height), colour, -1)


def _draw_state(picture: np.ndarray, look: Look, frame_rate_hz: Optional[float]) -> None:
    """Draw the time, frame rate, latency, dropped frames, stride and what is missing, along the lower edge."""
    prediction = look.prediction
    unit = picture.shape[0] / 480
    height, width = picture.shape[:2]
    parts = [f"{look.frame.time_s:.1f} s"]  # as events have it, also behind what was cut out of a video
    parts += [] if frame_rate_hz is None else [f"{frame_rate_hz:.0f} FPS"]
    if prediction is None:
        parts.append("the first window fills")
    else:
        parts.append(f"{prediction.latency.total_ms:.0f} ms late")
        parts.append(f"{prediction.dropped_frames} dropped")
        parts.append(f"stride {prediction.stride}")
        parts += [f"without {name}" for name in prediction.missing]
    _darken(picture, height - round(22 * unit), height, width)
    _text(picture, "   ".join(parts), (round(8 * unit), height - round(7 * unit)), 0.42 * unit, _WHITE)


def _draw_skeleton(picture: np.ndarray, joints: np.ndarray) -> None:
    """Draw the front view, x to the right and y up, into the upper right corner: left limbs blue, right ones red."""
    layout = layout_of(len(joints))
    names = LAYOUTS[layout]
    side = round(picture.shape[0] * 0.4)
    corner = picture[:side, max(0, picture.shape[1] - side) :]
    scale = side / _SKELETON_M
    hip = joints[names.index(ROOT)]
    x = side / 2 + scale * (joints[:, 0] - hip[0])
    y = side * 0.55 - scale * (joints[:, 1] - hip[1])
    points = np.clip(np.stack([x, y], axis=1), -(10**4), 10**4).round().astype(int)
    thickness = max(1, side // 90)
    for joint, parent in enumerate(PARENTS[layout]):
        limb = names[joint].split("_")[0]
        colour = {"left": _BLUE, "right": _RED}.get(limb, _WHITE)
        start, stop = (tuple(int(v) for v in points[i]) for i in (parent, joint))
        cv2.line(corner, start, stop, colour, thickness, cv2.LINE_AA)
