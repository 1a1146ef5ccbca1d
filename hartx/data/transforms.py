"""Random draws of training, applied between the steps of `edge.preprocess`.

One `ClipDraw` a clip: every frame of every modality sees the same geometry. With `NO_DRAW` each function
here gives exactly what `edge.preprocess` gives.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from edge import preprocess
from edge.joints import LAYOUTS
from edge.preprocess import DepthSpec, SkeletonSpec, VideoSpec


@dataclass(frozen=True)
class ClipDraw:
    """What was drawn for one clip. Angles in degrees, counter-clockwise in the image.

    Attributes:
      flip: mirror left and right.
      angle: rotation in the image plane.
      place: (row, column) of the crop as shares of the room there is; 0.5 is the centre.
      shift: (row, column) by which the depth square moves, in shares of its side.
      depth_scale: factor on the side of the depth square.
      colour: factors for brightness, contrast and saturation, and a shift of the hue in turns.
      turn: rotation of the skeleton about the vertical.
      skeleton_scale: factor on the skeleton's size.
      skeleton_noise: standard deviation of the noise on each joint, in torso lengths.
    """

    flip: bool = False
    angle: float = 0.0
    place: tuple[float, float] = (0.5, 0.5)
    shift: tuple[float, float] = (0.0, 0.0)
    depth_scale: float = 1.0
    colour: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 0.0)
    turn: float = 0.0
    skeleton_scale: float = 1.0
    skeleton_noise: float = 0.0


NO_DRAW = ClipDraw()


def draw_clip(rng: np.random.Generator, augment: ConfigDict) -> ClipDraw:
    """Return the draws for one clip, uniform within the ranges of `config.augment`."""

    def around(centre: float, half_range: float) -> float:
        return centre + half_range * float(rng.uniform(-1, 1))

    brightness, contrast, saturation, hue = augment.color_jitter
    return ClipDraw(
        flip=bool(augment.flip) and bool(rng.integers(2)),
        angle=around(0.0, augment.rotation_degrees),
        place=(float(rng.uniform()), float(rng.uniform())),
        shift=(around(0.0, augment.depth_shift), around(0.0, augment.depth_shift)),
        depth_scale=around(1.0, augment.depth_scale),
        colour=(around(1.0, brightness), around(1.0, contrast), around(1.0, saturation), around(0.0, hue)),
        turn=around(0.0, augment.turn_degrees),
        skeleton_scale=around(1.0, augment.skeleton_scale),
        skeleton_noise=augment.skeleton_jitter,
    )


def _rotate_image(image: np.ndarray, angle: float) -> np.ndarray:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
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


def video_clip(frames: Sequence[np.ndarray], spec: VideoSpec, draw: ClipDraw) -> Float[np.ndarray, "T crop crop 3"]:
    """Return T RGB uint8 frames as the network reads them, with the draw applied."""
    out = np.empty((len(frames), spec.crop, spec.crop, 3), np.uint8)
    for i, frame in enumerate(frames):
        resized = preprocess.resize_short_side(frame, spec.resize)
        if draw.angle:
            resized = _rotate_image(resized, draw.angle)
        room = np.subtract(resized.shape[:2], spec.crop)
        top, left = (int(room[axis] * draw.place[axis]) for axis in (0, 1))
        out[i] = jitter_colour(preprocess.crop_square(resized, top, left, spec.crop), draw.colour)
    clip = preprocess.normalise_video(out, spec)
    return clip[:, :, ::-1] if draw.flip else clip


def depth_clip(frames: Sequence[np.ndarray], spec: DepthSpec, draw: ClipDraw) -> Float[np.ndarray, "T crop crop 1"]:
    """Return T depth frames as the network reads them, with the draw applied."""
    stacked = np.stack(frames)
    body = preprocess.find_body(stacked)
    side = preprocess.depth_side(body, stacked.shape[2], spec)
    moved = dataclasses.replace(body, row=body.row + draw.shift[0] * side, column=body.column + draw.shift[1] * side)
    scaled = dataclasses.replace(spec, extent_m=spec.extent_m * draw.depth_scale)
    clip = np.stack([preprocess.crop_depth(frame, moved, scaled) for frame in stacked])
    if draw.angle:
        clip = np.stack([_rotate_image(frame, draw.angle) for frame in clip])
    return (clip[:, :, ::-1] if draw.flip else clip)[..., None]


def mirror_skeleton(joints: Float[np.ndarray, "T J 3"], layout: str) -> Float[np.ndarray, "T J 3"]:
    """Return the skeleton in the mirror: x negated, left and right joints exchanged."""
    names = LAYOUTS[layout]
    other = {"left": "right", "right": "left"}
    swapped = []
    for name in names:
        side, _, rest = name.partition("_")
        swapped.append(names.index(f"{other[side]}_{rest}") if side in other else names.index(name))
    return joints[:, swapped] * np.array([-1, 1, 1], joints.dtype)


def rotate_skeleton(joints: Float[np.ndarray, "T J 3"], turn: float, angle: float) -> Float[np.ndarray, "T J 3"]:
    """Return the skeleton turned about the vertical (y), then rotated in the image plane (about z); degrees."""
    turn_rad, angle_rad = np.radians([turn, angle])
    ct, st, ca, sa = np.cos(turn_rad), np.sin(turn_rad), np.cos(angle_rad), np.sin(angle_rad)
    about_y = np.array([[ct, 0, st], [0, 1, 0], [-st, 0, ct]])
    about_z = np.array([[ca, -sa, 0], [sa, ca, 0], [0, 0, 1]])
    return joints @ (about_z @ about_y).T.astype(joints.dtype)


def skeleton_clip(
    joints: np.ndarray, spec: SkeletonSpec, draw: ClipDraw, rng: np.random.Generator
) -> Float[np.ndarray, "T F"]:
    """Return T skeletons (T, 20 or 25, 3) as the network reads them, with the draw applied.

    `rng` gives the noise on the joints, the one draw that is not the same for all frames.
    """
    clip = preprocess.normalise_skeleton(joints, spec.layout)
    if draw.flip:
        clip = mirror_skeleton(clip, spec.layout)
    if draw.turn or draw.angle:
        clip = rotate_skeleton(clip, draw.turn, draw.angle)
    clip = clip * np.float32(draw.skeleton_scale)
    if draw.skeleton_noise:
        clip = clip + draw.skeleton_noise * rng.standard_normal(clip.shape, np.float32)
    return clip.reshape(len(clip), -1)
