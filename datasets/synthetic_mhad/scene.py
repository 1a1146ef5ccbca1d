"""What the cameras see: the dressed body, the room behind it, the light."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from datasets.synthetic_mhad.body import JOINTS
from datasets.synthetic_mhad.performance import CAMERA_HEIGHT_M
from datasets.synthetic_mhad.render import Camera, Light, RoundCone, cast, paint
from datasets.synthetic_mhad.subjects import Colour, Subject

# The Kinect's depth camera, 285.6 pixels at a width of 320; the colour camera sees a little more.
DEPTH_FOCAL_PER_WIDTH = 0.8925
RGB_FOCAL_PER_WIDTH, RGB_FOCAL_PER_HEIGHT = 0.78, 1.04
DEPTH_NOISE_MM = 2.5
RGB_NOISE = 0.008
# Pixels rendered at a time: enough to make numpy worth its while, few enough to bound the memory.
CHUNK_PIXELS = 1_000_000


def depth_camera(height: int, width: int) -> Camera:
    """Return the depth camera at a picture size."""
    return Camera(height, width, DEPTH_FOCAL_PER_WIDTH * width)


def rgb_camera(height: int, width: int) -> Camera:
    """Return the colour camera at a picture size: a standing person fits, whatever the aspect ratio."""
    return Camera(height, width, min(RGB_FOCAL_PER_WIDTH * width, RGB_FOCAL_PER_HEIGHT * height))


def _chunks(count: int, camera: Camera) -> Iterator[slice]:
    """Yield the frames of a recording in parts of about `CHUNK_PIXELS`."""
    step = max(1, CHUNK_PIXELS // (camera.height * camera.width))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def dressed_body(joints: np.ndarray, subject: Subject) -> list[RoundCone]:
    """Return the round cones of a body with (F, 20, 3) joints."""
    at = dict(zip(JOINTS, np.moveaxis(joints, 1, 0), strict=True))
    girth, looks = subject.body.girth, subject.looks
    up = _unit(at["head"] - at["shoulder_center"])
    back = _unit(np.cross(at["right_hip"] - at["left_hip"], up))
    parts: list[RoundCone] = []

    def part(start: np.ndarray, end: np.ndarray, radius: float, end_radius: float, colour: Colour) -> None:
        parts.append(RoundCone(start, end, radius * girth, end_radius * girth, colour))

    part(at["left_hip"], at["right_hip"], 0.098, 0.097, looks.trousers)
    part(at["left_shoulder"], at["right_shoulder"], 0.066, 0.065, looks.shirt)
    part(at["spine"], at["shoulder_center"] - 0.11 * up, 0.112, 0.122, looks.shirt)
    part(at["shoulder_center"] - 0.06 * up, at["head"], 0.058, 0.052, looks.skin)
    sleeve = looks.shirt if looks.long_sleeves else looks.skin
    leg = looks.trousers if looks.long_legs else looks.skin
    for side in ("left", "right"):
        hip, shoulder = at[f"{side}_hip"], at[f"{side}_shoulder"]
        elbow, wrist, knee, ankle = (at[f"{side}_{name}"] for name in ("elbow", "wrist", "knee", "ankle"))
        waist = 0.4 * at["hip_center"] + 0.6 * hip
        chest = 0.5 * at["shoulder_center"] + 0.5 * shoulder - 0.09 * up
        part(waist + 0.05 * up, chest, 0.098, 0.112, looks.shirt)
        part(shoulder, elbow, 0.060, 0.045, looks.shirt)
        part(elbow, wrist, 0.044, 0.031, sleeve)
        part(wrist, at[f"{side}_hand"], 0.034, 0.043, looks.skin)
        part(hip, knee, 0.088, 0.060, looks.trousers)
        part(knee, ankle, 0.059, 0.042, leg)
        part(ankle - (0, 0.015, 0), at[f"{side}_foot"], 0.048, 0.038, looks.shoes)
    head = at["head"]
    parts.append(RoundCone(head - 0.055 * up, head + 0.03 * up, 0.072, 0.092, looks.skin))
    parts.append(RoundCone(head + 0.02 * back, head + 0.058 * up + 0.014 * back, 0.089, 0.094, looks.hair))
    return parts


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def chair(seated: np.ndarray) -> list[RoundCone]:
    """Return the cones (one frame) of a chair under a person who sits with (20, 3) joints."""
    at = dict(zip(JOINTS, seated, strict=True))
    right = _unit((at["right_hip"] - at["left_hip"]) * (1, 0, 1))
    back = np.cross(right, (0, 1, 0))
    middle = 0.5 * (at["right_hip"] + at["left_hip"])
    height = middle[1] - 0.13 + CAMERA_HEIGHT_M

    def point(sideways: float, behind: float, above: float) -> np.ndarray:
        """A point of the chair, `above` in metres over the seat."""
        return middle + sideways * right + behind * back + (0, above - 0.13, 0)

    bars = [((-0.2, b, 0.0), (0.2, b, 0.0)) for b in (-0.22, -0.11, 0.0, 0.11, 0.2)]
    bars += [((x, b, 0.0), (x, b, -height)) for x in (-0.2, 0.2) for b in (-0.22, 0.2)]
    bars += [((x, 0.2, 0.0), (x, 0.27, 0.42)) for x in (-0.2, 0.2)]
    bars += [((-0.2, 0.25, a), (0.2, 0.25, a)) for a in (0.26, 0.40)]
    radius = 0.024
    return [
        RoundCone(point(*start)[None], point(*end)[None], radius, radius, (0.45, 0.31, 0.19)) for start, end in bars
    ]


def draw_light(rng: np.random.Generator) -> Light:
    """Return a light from somewhere in front of and above the person."""
    direction = np.array([rng.uniform(-0.8, 0.8), rng.uniform(0.35, 1.0), rng.uniform(-1.0, -0.5)])
    brightness = rng.uniform(0.85, 1.1)
    ambient = rng.uniform(0.35, 0.55)
    return Light(direction / np.linalg.norm(direction), brightness * (1 - ambient + 0.1), brightness * ambient)


def draw_room(camera: Camera, light: Light, rng: np.random.Generator) -> np.ndarray:
    """Return the (H, W, 3) float32 picture of an empty room: a wall with things on it, a tiled floor."""
    slope_y, slope_x = camera.slopes(np.arange(camera.height), np.arange(camera.width))
    wall_m = rng.uniform(3.8, 4.8)
    x, y = np.meshgrid(wall_m * slope_x, wall_m * slope_y)
    wall = np.broadcast_to(rng.uniform(0.45, 0.85) + rng.uniform(-0.07, 0.07, 3), (*x.shape, 3)).copy()
    for _ in range(rng.integers(1, 5)):  # doors, posters, cupboards
        left, bottom = rng.uniform(-2.6, 2.2), rng.choice([-CAMERA_HEIGHT_M, rng.uniform(-0.6, 0.6)])
        inside = (x > left) & (x < left + rng.uniform(0.3, 0.9)) & (y > bottom) & (y < bottom + rng.uniform(0.5, 2))
        wall[inside] = rng.uniform(0.2, 0.8) + rng.uniform(-0.2, 0.2, 3)
    with np.errstate(divide="ignore"):
        floor_m = np.where(slope_y < 0, -CAMERA_HEIGHT_M / slope_y, np.inf)[:, None]
    is_floor = np.broadcast_to(floor_m < wall_m, x.shape)
    z = np.where(is_floor, floor_m, 0)
    tile = rng.uniform(0.3, 0.7)
    odd = (np.floor(z * slope_x / tile) + np.floor(z / tile)) % 2
    floor = (rng.uniform(0.3, 0.6) + rng.uniform(-0.06, 0.06, 3)) * (1 + rng.uniform(0, 0.2) * odd[..., None])
    room = np.where(is_floor[..., None], floor, wall)
    blotches = cv2.resize(rng.normal(1, 0.05, (5, 7)), (camera.width, camera.height), interpolation=cv2.INTER_CUBIC)
    return (room * blotches[..., None] * (light.ambient + 0.6 * light.diffuse)).astype(np.float32)


def _shadow(joints: np.ndarray, camera: Camera) -> np.ndarray:
    """Return (F, H, W) float32 factors: the floor is darker where the person stands."""
    feet = joints[:, [JOINTS.index("left_ankle"), JOINTS.index("right_ankle")]].mean(axis=1)
    slope_y, slope_x = camera.slopes(np.arange(camera.height), np.arange(camera.width))
    darkness = np.zeros((len(joints), camera.height, camera.width), np.float32)
    below = slope_y < -0.1 * CAMERA_HEIGHT_M
    z = -CAMERA_HEIGHT_M / slope_y[below][None, :, None]
    aside = (z * slope_x - feet[:, 0, None, None]) / 0.32
    ahead = (z - feet[:, 2, None, None]) / 0.26
    darkness[:, below] = 0.45 * np.exp(-0.5 * (aside**2 + ahead**2))
    return 1 - darkness


def render_depth(joints: np.ndarray, subject: Subject, camera: Camera, rng: np.random.Generator) -> np.ndarray:
    """Return (H, W, T) uint16 millimetres of a body with (T, 20, 3) joints, 0 where there is nobody."""
    out = np.zeros((camera.height, camera.width, len(joints)), np.uint16)
    for part in _chunks(len(joints), camera):
        some = joints[part]
        depth_m = np.full((len(some), camera.height, camera.width), np.inf)
        cast(dressed_body(some, subject), camera, depth_m)
        seen = np.isfinite(depth_m)
        millimetres = 1000 * depth_m[seen] + rng.normal(0, DEPTH_NOISE_MM, seen.sum())
        depth_mm = np.zeros(depth_m.shape, np.uint16)
        depth_mm[seen] = np.rint(millimetres)
        out[:, :, part] = np.moveaxis(depth_mm, 0, -1)
    return out


def render_rgb(
    joints: np.ndarray,
    subject: Subject,
    camera: Camera,
    rng: np.random.Generator,
    seated: np.ndarray | None = None,
) -> np.ndarray:
    """Return (T, H, W, 3) uint8 RGB pictures of a body with (T, 20, 3) joints in a room drawn by `rng`.

    `seated` are the (20, 3) joints of the person on the chair, for recordings with a chair in them.
    """
    light = draw_light(rng)
    room = draw_room(camera, light, rng)[None]
    furniture_m = np.full(room.shape[:3], np.inf)
    if seated is not None:
        paint(chair(seated), camera, light, furniture_m, room)
    # Two pictures of noise alternate; drawing it anew for each would take as long as the rendering.
    noise = RGB_NOISE * rng.standard_normal((2, *room.shape[1:]), np.float32)
    out = np.empty((len(joints), camera.height, camera.width, 3), np.uint8)
    for part in _chunks(len(joints), camera):
        some = joints[part]
        depth_m = np.repeat(furniture_m, len(some), axis=0)
        picture = room * _shadow(some, camera)[..., None]
        paint(dressed_body(some, subject), camera, light, depth_m, picture)
        picture += noise[np.arange(len(some)) % 2]
        out[part] = np.clip(picture, 0, 1) * np.float32(255)
    return out
