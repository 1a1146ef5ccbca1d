"""What is drawn for one clip in training: one draw a clip, the same for all of its frames.

Only numbers are drawn here; what they do to the arrays is in `video_transforms`, `depth_transforms`,
`skeleton_transforms` and `inertial_transforms`. The one thing drawn there is noise, of which this holds the strength.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from ml_collections import ConfigDict

from edge.joints import KINECT25, ROOT

_SIDES = ("left_", "right_")


def both_sides(joint: str) -> str:
    """Return a joint's name without its side: left and right have the same proportions."""
    return joint[joint.index("_") + 1 :] if joint.startswith(_SIDES) else joint


# Bones, named by the joint at their far end: a factor on the length is drawn for each.
BONES = tuple(dict.fromkeys(both_sides(joint) for joint in KINECT25 if joint != ROOT))


@dataclass(frozen=True)
class DepthDraw:
    """What was drawn for a clip of depth.

    Attributes:
      shift: (row, column) by which the square moves, in shares of its side.
      erased: (top, left, height, width) of a box set to background, in shares of the side.
      noise: standard deviation of the noise on the body, in units of the depth range (`range_m`).
    """

    shift: tuple[float, float] = (0.0, 0.0)
    erased: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    noise: float = 0.0


@dataclass(frozen=True)
class BodyDraw:
    """How the whole body is moved in space, skeletons and depth alike.

    Attributes:
      turn: rotation about the vertical, degrees.
      tilt: rotation about the left-right axis, degrees.
      scale: factor on the size.
      stretch: factors along (x, y, z).
      shear: how much of (y in x, z in x, x in y, z in y, x in z, y in z) is added.
    """

    turn: float = 0.0
    tilt: float = 0.0
    scale: float = 1.0
    stretch: tuple[float, ...] = (1.0, 1.0, 1.0)
    shear: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class SkeletonDraw:
    """What was drawn for a clip of skeletons alone.

    Attributes:
      bones: factor on the length of each of `BONES`; empty for none.
      missing: names of the joints that are not seen.
      noise: standard deviation of the noise on each joint, in torso lengths.
    """

    bones: tuple[float, ...] = ()
    missing: tuple[str, ...] = ()
    noise: float = 0.0


@dataclass(frozen=True)
class InertialDraw:
    """What was drawn for a clip of inertial samples.

    Attributes:
      rotation: axis times angle in degrees, of the sensor against the body.
      scale: factor on all values.
      noise: standard deviation of the noise, in shares of each triple's root mean square over the clip.
    """

    rotation: tuple[float, ...] = (0.0, 0.0, 0.0)
    scale: float = 1.0
    noise: float = 0.0


@dataclass(frozen=True)
class ClipDraw:
    """What was drawn for one clip. Angles in degrees, counter-clockwise in the image.

    Attributes:
      flip: mirror left and right, in all modalities.
      angle: rotation in the image plane, of video and skeletons.
      place: rgb: (row, column) of the crop as shares of the room there is; 0.5 is the centre.
      area: rgb: area of the crop, in shares of what the device sees.
      colour: rgb: factors for brightness, contrast and saturation, and a shift of the hue in turns.
    """

    flip: bool = False
    angle: float = 0.0
    place: tuple[float, float] = (0.5, 0.5)
    area: float = 1.0
    colour: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 0.0)
    body: BodyDraw = field(default_factory=BodyDraw)
    depth: DepthDraw = field(default_factory=DepthDraw)
    skeleton: SkeletonDraw = field(default_factory=SkeletonDraw)
    inertial: InertialDraw = field(default_factory=InertialDraw)


NO_DRAW = ClipDraw()


def draw_clip(rng: np.random.Generator, augment: ConfigDict) -> ClipDraw:
    """Return the draws for one clip, uniform within the ranges of `config.augment`."""
    brightness, contrast, saturation, hue = augment.color_jitter
    return ClipDraw(
        flip=bool(augment.flip) and bool(rng.integers(2)),
        angle=_around(rng, 0.0, augment.rotation_degrees),
        place=(float(rng.uniform()), float(rng.uniform())),
        body=_draw_body(rng, augment),
        depth=_draw_depth(rng, augment),
        colour=(
            _around(rng, 1.0, brightness),
            _around(rng, 1.0, contrast),
            _around(rng, 1.0, saturation),
            _around(rng, 0.0, hue),
        ),
        skeleton=_draw_skeleton(rng, augment),
        area=_draw_area(rng, augment.rgb_scale),
        inertial=_draw_inertial(rng, augment),
    )


def _around(rng: np.random.Generator, centre: float, half_range: float) -> float:
    return centre + half_range * float(rng.uniform(-1, 1))


def _several(rng: np.random.Generator, centre: float, half_range: float, count: int) -> tuple[float, ...]:
    """Return `count` draws. What is off takes nothing from `rng`: a seed's other draws stay what they were."""
    if not half_range:
        return (centre,) * count
    return tuple((centre + half_range * rng.uniform(-1, 1, count)).tolist())


def _draw_body(rng: np.random.Generator, augment: ConfigDict) -> BodyDraw:
    return BodyDraw(
        turn=_around(rng, 0.0, augment.turn_degrees),
        tilt=_several(rng, 0.0, augment.tilt_degrees, 1)[0],
        scale=_around(rng, 1.0, augment.body_scale),
        stretch=_several(rng, 1.0, augment.body_stretch, 3),
        shear=_several(rng, 0.0, augment.body_shear, 6),
    )


def _draw_depth(rng: np.random.Generator, augment: ConfigDict) -> DepthDraw:
    shift = (_around(rng, 0.0, augment.depth_shift), _around(rng, 0.0, augment.depth_shift))
    return DepthDraw(shift, _draw_box(rng, augment.depth_erase), augment.depth_noise)


def _draw_box(rng: np.random.Generator, largest: float) -> tuple[float, float, float, float]:
    """Return the (top, left, height, width) of a box whose sides are up to `largest`, anywhere in a square of 1."""
    if not largest:
        return (0.0, 0.0, 0.0, 0.0)
    height, width = largest * rng.uniform(size=2)
    top, left = rng.uniform(size=2) * (1 - height, 1 - width)
    return (float(top), float(left), float(height), float(width))


def _draw_skeleton(rng: np.random.Generator, augment: ConfigDict) -> SkeletonDraw:
    return SkeletonDraw(
        bones=_several(rng, 1.0, augment.limb_scale, len(BONES)) if augment.limb_scale else (),
        missing=_draw_missing(rng, augment.joint_dropout),
        noise=augment.skeleton_jitter,
    )


def _draw_missing(rng: np.random.Generator, rate: float) -> tuple[str, ...]:
    """Return the joints that are not seen, each with probability `rate`. The root always is."""
    if not rate:
        return ()
    gone = rng.uniform(size=len(KINECT25)) < rate
    return tuple(joint for joint, missing in zip(KINECT25, gone, strict=True) if missing and joint != ROOT)


def _draw_area(rng: np.random.Generator, rgb_scale: tuple[float, float]) -> float:
    low, high = rgb_scale
    return float(rng.uniform(low, high)) if low < high else float(low)


def _draw_inertial(rng: np.random.Generator, augment: ConfigDict) -> InertialDraw:
    rotation = np.zeros(3)
    if augment.inertial_rotation_degrees:
        axis = rng.standard_normal(3)  # every direction is as likely as another
        rotation = axis / np.linalg.norm(axis) * rng.uniform(0, augment.inertial_rotation_degrees)
    scale = _several(rng, 1.0, augment.inertial_scale, 1)[0]
    return InertialDraw(tuple(rotation.tolist()), scale, augment.inertial_jitter)
