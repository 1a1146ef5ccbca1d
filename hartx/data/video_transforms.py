"""What the draws of training do to colour video, between the steps of `edge.preprocess`.

With `NO_DRAW` a clip is exactly what the device sees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float

from edge import preprocess
from edge.preprocess import VideoSpec
from hartx.data.draws import ClipDraw


def _rotate_image(image: np.ndarray, angle: float) -> np.ndarray:
    """Return an image rotated about its centre, its border reflected."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


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
    """Return the square that the draw places in a frame, `crop` pixels wide whatever its area."""
    side = min(round(preprocess.square_side(frame, spec) * math.sqrt(draw.area)), *frame.shape[:2])
    top, left = (int((frame.shape[axis] - side) * draw.place[axis]) for axis in (0, 1))
    return preprocess.resize_square(preprocess.crop_square(frame, top, left, side), spec.crop)


def video_clip(frames: Sequence[np.ndarray], spec: VideoSpec, draw: ClipDraw) -> Float[np.ndarray, "T crop crop 3"]:
    """Return T RGB uint8 frames as the network reads them, with the draw applied."""
    out = np.empty((len(frames), spec.crop, spec.crop, 3), np.uint8)
    for i, frame in enumerate(frames):
        turned = _rotate_image(frame, draw.angle) if draw.angle else frame
        out[i] = jitter_colour(_crop(turned, spec, draw), draw.colour)
    clip = preprocess.normalise_video(out, spec)
    return clip[:, :, ::-1] if draw.flip else clip
