"""Joint layouts of the skeletons and the way from one to the other.

A recording holds the 20 joints of the first Kinect; the networks read the 25 of the second one (the
NTU RGB+D layout). Twenty joints map one to one. The other five are derived, not masked, so that a
skeleton from a sensor that does measure them can be used without retraining:

* spine_shoulder: the midpoint of the two shoulders,
* hand tips: the hand moved on by the wrist-to-hand vector,
* thumbs: the hand itself (the first Kinect knows nothing about thumbs).
"""

from __future__ import annotations

from typing import Dict, Tuple

import numpy as np

KINECT20 = (
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

# From the shoulders down the order is the first Kinect's.
KINECT25 = (
    "hip_center",
    "spine",
    "shoulder_center",
    "head",
    *KINECT20[4:],
    "spine_shoulder",
    "left_hand_tip",
    "left_thumb",
    "right_hand_tip",
    "right_thumb",
)

LAYOUTS = {"kinect20": KINECT20, "kinect25": KINECT25}


def layout_of(count: int) -> str:
    """Return the name of the layout of so many joints.

    Raises:
      ValueError: if there is none.
    """
    for layout, names in LAYOUTS.items():
        if len(names) == count:
            return layout
    expected = " or ".join(str(len(names)) for names in LAYOUTS.values())
    raise ValueError(f"{count} joints were given; {expected} are expected")


ROOT = "hip_center"


def _limbs(side: str) -> Dict[str, str]:
    return {
        f"{side}_shoulder": "shoulder_center",
        f"{side}_elbow": f"{side}_shoulder",
        f"{side}_wrist": f"{side}_elbow",
        f"{side}_hand": f"{side}_wrist",
        f"{side}_hip": ROOT,
        f"{side}_knee": f"{side}_hip",
        f"{side}_ankle": f"{side}_knee",
        f"{side}_foot": f"{side}_ankle",
    }


# The joint at the other end of each bone, towards the root.
_PARENT_20 = {
    "spine": ROOT,
    "shoulder_center": "spine",
    "head": "shoulder_center",
    **_limbs("left"),
    **_limbs("right"),
}
# The second Kinect has a joint between the shoulders, from which the neck (shoulder_center) and both arms go.
_PARENT_25 = {
    **_PARENT_20,
    "spine_shoulder": "spine",
    "shoulder_center": "spine_shoulder",
    "left_shoulder": "spine_shoulder",
    "right_shoulder": "spine_shoulder",
    "left_hand_tip": "left_hand",
    "left_thumb": "left_hand",
    "right_hand_tip": "right_hand",
    "right_thumb": "right_hand",
}


def _parents(layout: Tuple[str, ...], parent: Dict[str, str]) -> Tuple[int, ...]:
    return tuple(layout.index(parent.get(name, ROOT)) for name in layout)


# Kinematic trees: index of each joint's parent, in the layout's order. The root is its own parent.
PARENTS = {"kinect20": _parents(KINECT20, _PARENT_20), "kinect25": _parents(KINECT25, _PARENT_25)}

_FROM_20 = [KINECT20.index(name) for name in KINECT25[:20]]


def to_kinect25(joints: np.ndarray) -> np.ndarray:
    """Return skeletons of 20 joints in the 25-joint layout; those of 25 joints are returned unchanged.

    Args:
      joints: (T, 20, 3) or (T, 25, 3), any unit.

    Returns:
      (T, 25, 3) in the same unit.

    Raises:
      ValueError: if there are neither 20 nor 25 joints.
    """
    if joints.shape[1:] == (25, 3):
        return joints
    if joints.shape[1:] != (20, 3):
        raise ValueError(f"a skeleton of shape {joints.shape} was given; (T, 20, 3) or (T, 25, 3) is expected")
    out = np.empty((len(joints), 25, 3), joints.dtype)
    out[:, :20] = joints[:, _FROM_20]
    index = KINECT25.index
    out[:, 20] = 0.5 * (out[:, index("left_shoulder")] + out[:, index("right_shoulder")])
    for side in ("left", "right"):
        hand, wrist = out[:, index(side + "_hand")], out[:, index(side + "_wrist")]
        out[:, index(side + "_hand_tip")] = 2 * hand - wrist
        out[:, index(side + "_thumb")] = hand
    return out
