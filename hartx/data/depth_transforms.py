"""What the draws of training do to depth, around `edge.preprocess`.

With `NO_DRAW` a clip is exactly what the device sees.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt16

from edge import preprocess
from edge.preprocess import FOCAL_LENGTH_PER_WIDTH, Body, DepthSpec
from hartx.data.draws import NO_DRAW, ClipDraw
from hartx.data.space import body_matrix

_FARTHEST_MM = 2**16 - 1  # beyond what can be told from background


def move_body(
    frames: UInt16[np.ndarray, "T H W"], body: Body, matrix: Float[np.ndarray, "3 3"]
) -> UInt16[np.ndarray, "T H W"]:
    """Return what the camera would see if every point of the body were multiplied by a matrix, about the middle.

    Each pixel becomes a point (pinhole camera), is moved and drawn again; the nearest wins. What was hidden
    stays unknown, and gaps of one pixel, which a surface gets where it is turned towards the camera, are closed.

    Args:
      frames: millimetres, 0 for background.
      body: where the body's middle is.
      matrix: (x to the right, y up, z away from the camera) to the same.
    """
    height, width = frames.shape[1:]
    focal = np.float32(FOCAL_LENGTH_PER_WIDTH * width)
    seen = np.flatnonzero(frames > 0)
    depth = frames.reshape(-1)[seen].astype(np.float32)
    frame, within = np.divmod(seen, height * width)
    row, column = np.divmod(within, width)
    x, y = (column - np.float32(body.column)) * depth / focal, (np.float32(body.row) - row) * depth / focal
    x, y, z = matrix.astype(np.float32) @ np.stack([x, y, depth - np.float32(body.distance_mm)]).astype(np.float32)
    z = np.clip(z + np.float32(body.distance_mm), preprocess.NEAREST_MM, _FARTHEST_MM)
    row = np.rint(body.row - y * focal / z).astype(np.int64)
    column = np.rint(body.column + x * focal / z).astype(np.int64)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    drawn = np.full(frames.size, _FARTHEST_MM, np.uint16)
    pixel = (frame * height + row) * width + column
    np.minimum.at(drawn, pixel[inside], np.rint(z[inside]).astype(np.uint16))
    drawn[drawn == _FARTHEST_MM] = 0
    return np.stack([_close_gaps(frame) for frame in drawn.reshape(frames.shape)])


def _close_gaps(frame: UInt16[np.ndarray, "H W"]) -> UInt16[np.ndarray, "H W"]:
    closed = np.asarray(cv2.morphologyEx(frame, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)))
    return np.where(frame > 0, frame, closed)


def add_depth_noise(
    clip: Float[np.ndarray, "T H W"], noise: float, rng: np.random.Generator
) -> Float[np.ndarray, "T H W"]:
    """Return depth pictures with Gaussian noise on the body, of standard deviation `noise` in depth ranges.

    The picture tells two ranges apart, before and behind the body, between 0 and 1. Background stays 0, and
    the body within [0, 1].
    """
    body = clip > 0
    changed = clip.copy()
    drawn = rng.standard_normal(np.count_nonzero(body), np.float32)
    changed[body] = np.clip(clip[body] + (0.5 * noise) * drawn, 0, 1)
    return changed


def erase_box(clip: Float[np.ndarray, "T H W"], box: tuple[float, ...]) -> Float[np.ndarray, "T H W"]:
    """Return pictures with a box (top, left, height, width in shares of the sides) set to 0, in whole pixels."""
    height, width = clip.shape[1:]
    top, left, bottom, right = box[0], box[1], box[0] + box[2], box[1] + box[3]
    rows, columns = (slice(round(a * n), round(b * n)) for a, b, n in ((top, bottom, height), (left, right, width)))
    clip = clip.copy()
    clip[:, rows, columns] = 0
    return clip


@dataclass(frozen=True)
class Placed:
    """Where the square around the body lies in a thinned clip, and how the body is moved first.

    Attributes:
      body: where its middle is.
      centre: (row, column) of the square's middle, pixels.
      side: of the square, pixels.
      size: (height, width) of a frame, pixels.
      matrix: what every point of the body is multiplied by; None for nothing.
      flip: mirror left and right.
    """

    body: Body
    centre: tuple[float, float]
    side: int
    size: tuple[int, int]
    matrix: np.ndarray | None
    flip: bool


def place(thinned: UInt16[np.ndarray, "T H W"], spec: DepthSpec, draw: ClipDraw) -> Placed:
    """Return where a draw puts the body of a clip and the square around it."""
    body = preprocess.find_body(thinned)
    side = preprocess.depth_side(body, thinned.shape[2], spec)
    row, column = draw.depth.shift
    moves = draw.body != NO_DRAW.body or draw.angle
    return Placed(
        body,
        centre=(body.row + row * side, body.column + column * side),
        side=side,
        size=thinned.shape[1:],
        matrix=body_matrix(draw.body, draw.angle) if moves else None,
        flip=draw.flip,
    )


def joints_in_square(joints: Float[np.ndarray, "T J 3"], placed: Placed) -> Float[np.ndarray, "T J 3"]:
    """Return where joints come to lie in the square that the network sees, moved as the depth around them.

    Args:
      joints: metres in the camera's space, x to the right, y up, z away from it.
      placed: where the square is.

    Returns:
      (x, y, z) to the right, up and away from the middle of the square, in its sides.
    """
    body, (height, width) = placed.body, placed.size
    focal = FOCAL_LENGTH_PER_WIDTH * width
    z = np.maximum(1000 * joints[..., 2], preprocess.NEAREST_MM)
    row = height / 2 - 1000 * joints[..., 1] * focal / z
    column = width / 2 + 1000 * joints[..., 0] * focal / z
    if placed.matrix is not None:
        x, y = (column - body.column) * z / focal, (body.row - row) * z / focal
        x, y, z = np.moveaxis(np.stack([x, y, z - body.distance_mm], axis=-1) @ placed.matrix.T, -1, 0)
        z = np.maximum(z + body.distance_mm, preprocess.NEAREST_MM)
        row, column = body.row - y * focal / z, body.column + x * focal / z
    right, up = (column - placed.centre[1]) / placed.side, (placed.centre[0] - row) / placed.side
    away = (z - body.distance_mm) * focal / (max(body.distance_mm, preprocess.NEAREST_MM) * placed.side)
    return np.stack([-right if placed.flip else right, up, away], axis=-1).astype(np.float32)


def depth_clip(
    frames: Sequence[np.ndarray], spec: DepthSpec, draw: ClipDraw, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "T crop crop 1"], Placed]:
    """Return T depth frames as the network reads them, with the draw applied, and where the square was put.

    `rng` gives the noise on the body, the one draw that is not the same for all frames.
    """
    drawn = draw.depth
    thinned = preprocess.thin_depth(frames, spec)
    placed = place(thinned, spec, draw)
    if placed.matrix is not None:
        thinned = move_body(thinned, placed.body, placed.matrix)
    moved = dataclasses.replace(placed.body, row=placed.centre[0], column=placed.centre[1])
    clip = np.stack([preprocess.crop_depth(frame, moved, spec) for frame in thinned])
    if drawn.noise:
        clip = add_depth_noise(clip, drawn.noise, rng)
    if any(drawn.erased):
        clip = erase_box(clip, drawn.erased)
    return (clip[:, :, ::-1] if draw.flip else clip)[..., None], placed
