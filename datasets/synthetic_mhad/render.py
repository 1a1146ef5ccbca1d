"""A small renderer: bodies made of round cones, cast ray by ray, all frames of a chunk at once.

A round cone is the hull of two spheres, which is what a limb that tapers looks like. Rays start in the
camera at the origin; the camera's frame is x right in the picture, y up, z away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: picture size and focal length in pixels, the principal point in the middle."""

    height: int
    width: int
    focal: float

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (rows, columns) in pixels, pixel centres at whole numbers, of points (..., 3) in metres."""
        x, y, z = np.moveaxis(points, -1, 0)
        return (self.height - 1) / 2 - self.focal * y / z, (self.width - 1) / 2 + self.focal * x / z

    def slopes(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (y / z of each row, x / z of each column) of the rays through pixel centres."""
        return ((self.height - 1) / 2 - rows) / self.focal, (columns - (self.width - 1) / 2) / self.focal


@dataclass(frozen=True)
class RoundCone:
    """The hull of two spheres over F frames.

    `start` and `end` are centres (F, 3) in metres, with their radii in metres; neither sphere may contain
    the other. `colour` is RGB in [0, 1].
    """

    start: np.ndarray
    end: np.ndarray
    start_radius: float
    end_radius: float
    colour: tuple[float, float, float]


@dataclass(frozen=True)
class Light:
    """A far light: unit vector towards it, its strength, and that of the light from everywhere."""

    direction: np.ndarray
    diffuse: float
    ambient: float


@dataclass(frozen=True)
class _Window:
    """The same number of rows (F, h) and columns (F, w) in each frame, around a cone's picture."""

    frames: np.ndarray
    rows: np.ndarray
    columns: np.ndarray

    @property
    def index(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.frames[:, None, None], self.rows[:, :, None], self.columns[:, None, :]


def _window(cone: RoundCone, camera: Camera) -> _Window | None:
    """Return the pixels that can show the cone, or None where all of it is outside the picture."""
    low, high = [], []
    for centre, radius in ((cone.start, cone.start_radius), (cone.end, cone.end_radius)):
        row, column = camera.project(centre)
        # A sphere off the axis is drawn slightly longer than focal * radius / z; the margin covers it.
        extent = 1.15 * camera.focal * radius / np.maximum(centre[:, 2] - radius, 0.1) + 1
        low.append(np.stack([row - extent, column - extent]))
        high.append(np.stack([row + extent, column + extent]))
    size = np.array([camera.height, camera.width])[:, None]
    first = np.clip(np.floor(np.minimum(*low)).astype(int), 0, size)
    last = np.clip(np.ceil(np.maximum(*high)).astype(int) + 1, 0, size)
    extent = (last - first).max(axis=1)
    if extent.min() <= 0:
        return None
    first = np.minimum(first, size - extent[:, None])
    return _Window(
        frames=np.arange(len(cone.start)),
        rows=first[0][:, None] + np.arange(extent[0]),
        columns=first[1][:, None] + np.arange(extent[1]),
    )


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.sum(a * b, axis=-1)[:, None, None]


def _intersect(cone: RoundCone, slope_y: np.ndarray, slope_x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (z, s) of the first hit of each ray, (F, h, w).

    z is the distance along the camera's axis, infinite where the ray misses; s in [0, 1] tells where
    along the axis of the cone the sphere lies that the hit point is on.

    The three quadratics (the side and two spheres) follow from |t d - c(s)| = r(s) with c and r linear in s;
    see Quilez, "Intersectors" (rounded cone), https://iquilezles.org/articles/intersectors/.
    """
    a, b = cone.start, cone.end
    axis, taper, radius = b - a, cone.start_radius - cone.end_radius, cone.start_radius
    shorten = 1 / np.sqrt(1 + slope_y[:, :, None] ** 2 + slope_x[:, None, :] ** 2)

    def along_ray(vector: np.ndarray) -> np.ndarray:
        """Return the dot product of a vector per frame with each unit ray."""
        x, y, z = vector.T[:, :, None, None]
        return (x * slope_x[:, None, :] + (y * slope_y[:, :, None] + z)) * shorten

    axis_ray, a_ray, b_ray = along_ray(axis), along_ray(a), along_ray(b)
    length2, axis_a, a_a, b_b = _dot(axis, axis), _dot(axis, a), _dot(a, a), _dot(b, b)
    span = length2 - taper**2

    quad = span - axis_ray**2
    linear = axis_a * axis_ray - span * a_ray + axis_ray * (taper * radius)
    constant = span * a_a - axis_a**2 - 2 * axis_a * (taper * radius) - length2 * radius**2
    discriminant = linear**2 - constant * quad
    with np.errstate(invalid="ignore", divide="ignore"):
        t_side = (-np.sqrt(discriminant) - linear) / quad
        s = (axis_ray * t_side - axis_a - radius * taper) / span
        t_side = np.where((s > 0) & (s < 1), t_side, np.inf)  # False for NaN: the ray misses
        t_start = a_ray - np.sqrt(a_ray**2 - a_a + radius**2)
        t_end = b_ray - np.sqrt(b_ray**2 - b_b + cone.end_radius**2)
    t_sphere = np.fmin(np.fmin(t_start, t_end), np.inf)  # a miss is NaN in one, infinite in all
    on_side = t_side < t_sphere
    return np.where(on_side, t_side, t_sphere) * shorten, np.where(on_side, s, t_sphere == t_end)


def cast(cones: Sequence[RoundCone], camera: Camera, depth_m: np.ndarray) -> None:
    """Draw cones into (F, H, W) distances in place, where they are nearer."""
    for cone in cones:
        window = _window(cone, camera)
        if window is not None:
            z, _ = _intersect(cone, *camera.slopes(window.rows, window.columns))
            depth_m[window.index] = np.minimum(depth_m[window.index], z)


def paint(cones: Sequence[RoundCone], camera: Camera, light: Light, depth_m: np.ndarray, picture: np.ndarray) -> None:
    """Draw cones into (F, H, W) distances and (F, H, W, 3) float32 pictures in place, where they are nearer."""
    for cone in cones:
        window = _window(cone, camera)
        if window is None:
            continue
        slope_y, slope_x = camera.slopes(window.rows, window.columns)
        z, s = _intersect(cone, slope_y, slope_x)
        frame, row, column = np.nonzero(z < depth_m[window.index])
        z, s = z[frame, row, column], s[frame, row, column]
        hit = z[:, None] * np.stack([slope_x[frame, column], slope_y[frame, row], np.ones_like(z)], axis=1)
        centre = cone.start[frame] + s[:, None] * (cone.end - cone.start)[frame]
        normal = (hit - centre) / (cone.start_radius + s * (cone.end_radius - cone.start_radius))[:, None]
        brightness = light.ambient + light.diffuse * np.maximum(0, normal @ light.direction)
        place = frame, window.rows[frame, row], window.columns[frame, column]
        depth_m[place] = z
        picture[place] = brightness[:, None] * np.asarray(cone.colour)
