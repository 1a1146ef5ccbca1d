"""From a pose to the 20 joints of a body: forward kinematics of the trunk, inverse kinematics of the limbs.

The body's own frame is x to the person's right, y up, z backwards, the floor at y = 0. The camera's frame of
the first Kinect, which shows the person as a mirror does, has the same axes for a person who faces it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

# The joint order of the authors' skeleton files.
JOINTS = (
    "head",
    "shoulder_center",
    "spine",
    "hip_center",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "left_hand",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "right_hand",
    "left_hip",
    "left_knee",
    "left_ankle",
    "left_foot",
    "right_hip",
    "right_knee",
    "right_ankle",
    "right_foot",
)

BONES = tuple(
    (JOINTS.index(a), JOINTS.index(b))
    for a, b in (
        ("hip_center", "spine"),
        ("spine", "shoulder_center"),
        ("shoulder_center", "head"),
        *((f"{centre}", f"{side}_{joint}") for side in ("left", "right")
          for centre, joint in (("shoulder_center", "shoulder"), ("hip_center", "hip"))),
        *((f"{side}_{a}", f"{side}_{b}") for side in ("left", "right")
          for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("wrist", "hand"),
                       ("hip", "knee"), ("knee", "ankle"), ("ankle", "foot"))),
    )
)  # fmt: skip

# A limb is never quite straight: up to this part of its length it reaches freely, then ever less up to the
# second. So elbows and knees keep a definite direction, and motion stays smooth at full stretch.
FREE_REACH, FULL_REACH = 0.97, 0.998
STANDING_REACH = 0.988


@dataclass(frozen=True)
class Proportions:
    """Lengths of a body in metres; `girth` is a factor on the thickness of everything."""

    trunk: float
    neck_and_head: float
    shoulder_width: float
    upper_arm: float
    forearm: float
    hand: float
    hip_width: float
    thigh: float
    shin: float
    girth: float

    @property
    def arm(self) -> float:
        """Shoulder to wrist."""
        return self.upper_arm + self.forearm

    @property
    def leg(self) -> float:
        """Hip to ankle."""
        return self.thigh + self.shin


ANKLE_HEIGHT_M = 0.07
HIP_DROP_M = 0.08  # the hip joints lie below the point the Kinect calls the hip centre
SPINE_RISE_M = 0.06
SHOULDER_DROP_M = 0.09


def rotation(pitch_deg: np.ndarray, yaw_deg: np.ndarray, roll_deg: np.ndarray) -> np.ndarray:
    """Return (N, 3, 3) rotations: roll to the right, then pitch forward, then yaw to the left."""
    pitch, yaw, roll = (np.radians(a) for a in np.broadcast_arrays(pitch_deg, yaw_deg, roll_deg))
    return _about(1, yaw) @ _about(0, -pitch) @ _about(2, -roll)


def _about(axis: int, angle: np.ndarray) -> np.ndarray:
    """Return (N, 3, 3) right-handed rotations about a coordinate axis by (N,) radians."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((*angle.shape, 3, 3))
    matrix[..., axis, axis] = 1
    matrix[..., i, i] = matrix[..., j, j] = np.cos(angle)
    matrix[..., j, i] = np.sin(angle)
    matrix[..., i, j] = -matrix[..., j, i]
    return matrix


def bend_limb(
    root: np.ndarray, target: np.ndarray, towards: np.ndarray, first: float, second: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return (middle joint, end joint) of a limb of two bones that reaches for a target.

    Args:
      root: (N, 3) where the limb starts.
      target: (N, 3) where its end should be; the end stays short of a target that is out of reach.
      towards: (N, 3) the direction in which the middle joint gives way, of any length.
      first, second: lengths of the two bones in metres.
    """
    line = target - root
    distance = np.linalg.norm(line, axis=-1, keepdims=True)
    direction = line / np.maximum(distance, 1e-6)
    slack = FULL_REACH - FREE_REACH
    beyond = distance / (first + second) - FREE_REACH
    reach = (first + second) * (FREE_REACH + np.where(beyond > 0, slack * np.tanh(beyond / slack), beyond))
    reach = np.maximum(reach, 1.02 * abs(first - second) + 0.05)
    along = (reach**2 + first**2 - second**2) / (2 * reach)
    aside = np.sqrt(np.maximum(first**2 - along**2, 0))
    side = towards - np.sum(towards * direction, axis=-1, keepdims=True) * direction
    side /= np.maximum(np.linalg.norm(side, axis=-1, keepdims=True), 1e-6)
    return root + along * direction + aside * side, root + reach * direction


# An arm that reaches this way, (outward, up, forward), has its elbow in that direction if it hangs freely.
_EASY_REACH, _EASY_ELBOW = (0.2, -0.5, 0.75), (0.4, -0.9, -0.4)


def elbow_direction(reach: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Return (N, 3) unit vectors at right angles to the arm, towards the elbow; (outward, up, forward).

    The direction at an easy reach is carried along by the smallest rotation, which is smooth everywhere but
    straight behind and above the shoulder, where no hand goes; then it is turned about the arm.

    Args:
      reach: (N, 3) from shoulder to wrist, of any length.
      turn: (N,) quarter turns outward and up.
    """
    arm = reach / np.maximum(np.linalg.norm(reach, axis=-1, keepdims=True), 1e-6)
    easy = np.array(_EASY_REACH) / np.linalg.norm(_EASY_REACH)
    elbow = np.array(_EASY_ELBOW) - easy * np.dot(easy, _EASY_ELBOW)
    elbow /= np.linalg.norm(elbow)
    half_way = (easy + arm) / np.linalg.norm(easy + arm, axis=-1, keepdims=True)
    # Two reflections make the rotation from `easy` to `arm`; the first one, at `easy`, only turns `elbow` round.
    carried = 2 * half_way * (half_way @ -elbow)[:, None] + elbow
    angle = 0.5 * np.pi * turn[:, None]
    return carried * np.cos(angle) + np.cross(arm, carried) * np.sin(angle)


def joints_of(poses: Mapping[str, np.ndarray], body: Proportions) -> np.ndarray:
    """Return the joints of a body through a motion.

    Args:
      poses: the fields of `motions.Pose`, each with a leading axis of N instants: (N, 3) or (N,).
      body: whose joints.

    Returns:
      (N, 20, 3) metres in the body's own frame. The length of every bone is the same at all instants.
    """
    count = len(poses["lean_deg"])
    joints = np.zeros((count, len(JOINTS), 3))

    def put(name: str, where: np.ndarray) -> np.ndarray:
        joints[:, JOINTS.index(name)] = where
        return where

    standing = ANKLE_HEIGHT_M + STANDING_REACH * body.leg + HIP_DROP_M
    hip = put("hip_center", poses["hip"] * (body.leg, body.leg, -body.leg) + (0, standing, 0))
    lean, twist, tilt = poses["lean_deg"], poses["twist_deg"], poses["tilt_deg"]
    lower, chest = rotation(0.4 * lean, 0.3 * twist, 0.4 * tilt), rotation(lean, twist, tilt)
    upright = rotation(np.zeros(count), twist, np.zeros(count))
    spine = put("spine", hip + lower @ (0, SPINE_RISE_M, 0))
    neck = put("shoulder_center", spine + chest @ (0, body.trunk - SPINE_RISE_M, 0))
    put("head", neck + rotation(0.7 * lean, 0.4 * twist, 0.6 * tilt) @ (0, body.neck_and_head, -0.03))
    for side, sign in (("left", -1), ("right", 1)):
        shoulder = put(f"{side}_shoulder", neck + chest @ (sign * body.shoulder_width / 2, -SHOULDER_DROP_M, 0))
        axes = np.array([sign, 1, -1])  # (outward, up, forward) -> (x, y, z)
        reach = poses[f"{side}_hand"]
        bend = elbow_direction(reach, poses[f"{side}_elbow"])
        target = shoulder + np.einsum("nij,nj->ni", upright, reach * axes * body.arm)
        towards = np.einsum("nij,nj->ni", upright, bend * axes)
        elbow, wrist = bend_limb(shoulder, target, towards, body.upper_arm, body.forearm)
        put(f"{side}_elbow", elbow)
        put(f"{side}_wrist", wrist)
        put(f"{side}_hand", wrist + (wrist - elbow) * (body.hand / body.forearm))

        thigh_root = put(f"{side}_hip", hip + (sign * body.hip_width / 2, -HIP_DROP_M, 0))
        stance = np.array([sign * (body.hip_width / 2 + 0.02), ANKLE_HEIGHT_M, 0])
        ankle_target = stance + poses[f"{side}_foot"] * axes * body.leg
        knee, ankle = bend_limb(thigh_root, ankle_target, np.array([[0.15 * sign, 0, -1.0]]), body.thigh, body.shin)
        put(f"{side}_knee", knee)
        put(f"{side}_ankle", ankle)
        put(f"{side}_foot", ankle + (0.03 * sign, -0.045, -0.12))
    return joints
