"""What the draws of training do to video, between the steps of `edge.preprocess`.

With `NO_DRAW` each function here gives exactly what `edge.preprocess` gives.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float

from edge import preprocess
from edge.preprocess import DepthSpec, VideoSpec
from hartx.data.draws import ClipDraw, DepthDraw


def _warp_image(image: np.ndarray, angle: float, stretch: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """Return an image stretched in (height, width) and then rotated, both about its centre."""
    height, width = image.shape[:2]
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = cv2.getRotationMatrix2D(centre.tolist(), angle, 1.0)
    stretched = matrix[:, :2] * (stretch[1], stretch[0])
    matrix[:, 2] += (matrix[:, :2] - stretched) @ centre
    matrix[:, :2] = stretched
    border = cv2.BORDER_REFLECT_101 if image.ndim == 3 else cv2.BORDER_CONSTANT
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=border)


def jitter_colour(frame: np.ndarray, colour: tuple[float, float, float, float]) -> np.ndarray:
    """Return an (H, W, 3) uint8 RGB frame with brightness, contrast, saturation and hue changed, in this order.

    Brightness multiplies, contrast blends with the frame's mean grey, saturation with each pixel's own
    grey; the hue turns on the colour circle.
    """
    brightness, contrast, saturation, hue = colour
    if (brightness, contrast, saturation, hue) == (1.0, 1.0, 1.0, 0.0):
        return frame
    values = frame.astype(np.float32) * brightness
    grey = np.asarray(cv2.cvtColor(values, cv2.COLOR_RGB2GRAY))
    mean = float(grey.mean())
    values = (values - mean) * contrast + mean
    grey = ((grey - mean) * contrast + mean)[..., None]
    pixels = np.clip((values - grey) * saturation + grey, 0, 255).astype(np.uint8)
    if hue:
        hsv = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV_FULL))
        hsv[..., 0] += np.uint8(round(hue * 256) % 256)  # the circle is 256 long, so overflow is the turn
        pixels = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL))
    return pixels


def _crop(frame: np.ndarray, spec: VideoSpec, draw: ClipDraw) -> np.ndarray:
    """Return the square that the draw places in a resized frame, `crop` pixels wide whatever its area."""
    side = min(round(spec.crop * math.sqrt(draw.area)), *frame.shape[:2])
    top, left = (int((frame.shape[axis] - side) * draw.place[axis]) for axis in (0, 1))
    square = preprocess.crop_square(frame, top, left, side)
    return square if side == spec.crop else preprocess.resize_short_side(square, spec.crop)


def video_clip(frames: Sequence[np.ndarray], spec: VideoSpec, draw: ClipDraw) -> Float[np.ndarray, "T crop crop 3"]:
    """Return T RGB uint8 frames as the network reads them, with the draw applied."""
    out = np.empty((len(frames), spec.crop, spec.crop, 3), np.uint8)
    for i, frame in enumerate(frames):
        resized = preprocess.resize_short_side(frame, spec.resize)
        if draw.angle:
            resized = _warp_image(resized, draw.angle)
        out[i] = jitter_colour(_crop(resized, spec, draw), draw.colour)
    clip = preprocess.normalise_video(out, spec)
    return clip[:, :, ::-1] if draw.flip else clip


def add_depth_noise(
    clip: Float[np.ndarray, "T H W"], noise: float, rng: np.random.Generator
) -> Float[np.ndarray, "T H W"]:
    """Return depth pictures with Gaussian noise on the body, of standard deviation `noise` in depth ranges.

    The picture tells two ranges apart, before and behind the body, between 0 and 1. Background stays 0, and
    the body within [0, 1].
    """
    changed = np.clip(clip + (0.5 * noise) * rng.standard_normal(clip.shape, np.float32), 0, 1)
    return changed * (clip > 0)


def erase_box(clip: Float[np.ndarray, "T H W"], box: tuple[float, ...]) -> Float[np.ndarray, "T H W"]:
    """Return pictures with a box (top, left, height, width in shares of the sides) set to 0, in whole pixels."""
    height, width = clip.shape[1:]
    top, left, bottom, right = box[0], box[1], box[0] + box[2], box[1] + box[3]
    rows, columns = (slice(round(a * n), round(b * n)) for a, b, n in ((top, bottom, height), (left, right, width)))
    clip = clip.copy()
    clip[:, rows, columns] = 0
    return clip


def _crop_body(frames: Sequence[np.ndarray], spec: DepthSpec, draw: DepthDraw) -> Float[np.ndarray, "T crop crop"]:
    stacked = np.stack(frames)
    body = preprocess.find_body(stacked)
    side = preprocess.depth_side(body, stacked.shape[2], spec)
    moved = dataclasses.replace(body, row=body.row + draw.shift[0] * side, column=body.column + draw.shift[1] * side)
    scaled = dataclasses.replace(spec, extent_m=spec.extent_m * draw.scale)
    return np.stack([preprocess.crop_depth(frame, moved, scaled) for frame in stacked])


def depth_clip(
    frames: Sequence[np.ndarray], spec: DepthSpec, draw: ClipDraw, rng: np.random.Generator
) -> Float[np.ndarray, "T crop crop 1"]:
    """Return T depth frames as the network reads them, with the draw applied.

    `rng` gives the noise on the body, the one draw that is not the same for all frames.
    """
    drawn = draw.depth
    clip = _crop_body(frames, spec, drawn)
    if draw.angle or drawn.stretch != (1.0, 1.0):
        clip = np.stack([_warp_image(frame, draw.angle, drawn.stretch) for frame in clip])
    if drawn.noise:
        clip = add_depth_noise(clip, drawn.noise, rng)
    if any(drawn.erased):
        clip = erase_box(clip, drawn.erased)
    return (clip[:, :, ::-1] if draw.flip else clip)[..., None]
