"""What the draws of training do to depth, around `edge.preprocess`.

With `NO_DRAW` a clip is exactly what the device sees.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt16

from edge import preprocess
from edge.preprocess import FOCAL_LENGTH_PER_WIDTH, Body, DepthSpec
from hartx.data.draws import NO_DRAW, ClipDraw, DepthDraw
from hartx.data.skeleton_transforms import mirror_skeleton
from hartx.data.space import body_matrix

_FARTHEST_MM = 2**16 - 1  # beyond what can be told from background


Points = tuple[np.ndarray, np.ndarray, np.ndarray]  # row, column (pixels) and depth (millimetres) of each


def move_points(points: Points, body: Body, focal: np.float32, matrix: Float[np.ndarray, "3 3"]) -> Points:
    """Return where a pinhole camera sees points that are multiplied by a matrix, about the middle of the body.

    Args:
      points: rows, columns and depths, float32, all of one shape.
      body: where its middle is.
      focal: focal length in pixels.
      matrix: (x to the right, y up, z away from the camera) to the same.
    """
    row, column, depth = points
    x, y = (column - np.float32(body.column)) * depth / focal, (np.float32(body.row) - row) * depth / focal
    space = np.stack([x, y, depth - np.float32(body.distance_mm)]).astype(np.float32)
    x, y, z = np.tensordot(matrix.astype(np.float32), space, 1)
    z = np.clip(z + np.float32(body.distance_mm), preprocess.NEAREST_MM, _FARTHEST_MM)
    return body.row - y * focal / z, body.column + x * focal / z, z


def move_body(
    frames: UInt16[np.ndarray, "T H W"], body: Body, matrix: Float[np.ndarray, "3 3"]
) -> UInt16[np.ndarray, "T H W"]:
    """Return what the camera would see if every point of the body were multiplied by a matrix, about the middle.

    Each pixel becomes a point, is moved and drawn again; the nearest wins. What was hidden stays unknown, and gaps of
    one pixel, which a surface gets where it is turned towards the camera, are closed.

    Args:
      frames: millimetres, 0 for background.
      body: where the body's middle is.
      matrix: (x to the right, y up, z away from the camera) to the same.
    """
    height, width = frames.shape[1:]
    seen = np.flatnonzero(frames > 0)
    depth = frames.reshape(-1)[seen].astype(np.float32)
    frame, within = np.divmod(seen, height * width)
    points = (*np.divmod(within, width), depth)
    row, column, z = move_points(points, body, np.float32(FOCAL_LENGTH_PER_WIDTH * width), matrix)
    row, column = np.rint(row).astype(np.int64), np.rint(column).astype(np.int64)
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
class Square:
    """Where the square that the network sees lies in a thinned clip, and what happens to the body in it.

    Attributes:
      body: where its middle is.
      row: of the square's middle, pixels.
      column: likewise.
      side: of the square, pixels.
      size: (height, width) of a frame, pixels.
      matrix: what every point of the body is multiplied by; None for nothing.
      flip: mirror left and right.
    """

    body: Body
    row: float
    column: float
    side: int
    size: tuple[int, int]
    matrix: np.ndarray | None
    flip: bool

    @property
    def focal(self) -> np.float32:
        """Focal length in pixels."""
        return np.float32(FOCAL_LENGTH_PER_WIDTH * self.size[1])


def place_square(thinned: UInt16[np.ndarray, "T H W"], spec: DepthSpec, draw: ClipDraw) -> Square:
    """Return where a draw puts the square around the body of a clip."""
    body = preprocess.find_body(thinned)
    side = preprocess.depth_side(body, thinned.shape[2], spec)
    row, column = draw.depth.shift
    return Square(
        body,
        row=body.row + row * side,
        column=body.column + column * side,
        side=side,
        size=thinned.shape[1:],
        matrix=body_matrix(draw.body, draw.angle) if draw.body != NO_DRAW.body or draw.angle else None,
        flip=draw.flip,
    )


def joints_in_square(joints: Float[np.ndarray, "T 20 3"], square: Square) -> Float[np.ndarray, "T 20 3"]:
    """Return where joints come to lie in the square, moved as the depth around them.

    Args:
      joints: metres in the camera's space, x to the right, y up, z away from it.
      square: where it is.

    Returns:
      (x, y, z) to the right, up and away from the middle of the square, in its sides.
    """
    body, (height, width), focal = square.body, square.size, square.focal
    x, y, z = np.moveaxis(1000 * joints.astype(np.float32), -1, 0)
    z = np.maximum(z, np.float32(preprocess.NEAREST_MM))
    points: Points = (height / 2 - y * focal / z, width / 2 + x * focal / z, z)
    if square.matrix is not None:
        points = move_points(points, body, focal, square.matrix)
    row, column, z = points
    away = (z - body.distance_mm) * focal / max(body.distance_mm, preprocess.NEAREST_MM)
    seen = np.stack([column - square.column, square.row - row, away], axis=-1).astype(np.float32) / square.side
    return mirror_skeleton(seen, "kinect20") if square.flip else seen


def depth_clip(
    thinned: UInt16[np.ndarray, "T H W"], square: Square, spec: DepthSpec, drawn: DepthDraw, rng: np.random.Generator
) -> Float[np.ndarray, "T crop crop 1"]:
    """Return T depth frames as the network reads them, with a draw applied.

    Args:
      thinned: the frames by `edge.preprocess.thin_depth`.
      square: from `place_square`.
      spec: how the network reads depth.
      drawn: noise and the box that is erased.
      rng: gives the noise on the body, the one draw that is not the same for all frames.
    """
    if square.matrix is not None:
        thinned = move_body(thinned, square.body, square.matrix)
    moved = dataclasses.replace(square.body, row=square.row, column=square.column)
    clip = np.stack([preprocess.crop_depth(frame, moved, spec) for frame in thinned])
    if drawn.noise:
        clip = add_depth_noise(clip, drawn.noise, rng)
    if any(drawn.erased):
        clip = erase_box(clip, drawn.erased)
    return (clip[:, :, ::-1] if square.flip else clip)[..., None]
