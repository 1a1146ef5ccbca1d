"""Joint layouts of the skeletons and the way from one to the other.

A recording holds the 20 joints of the first Kinect; the networks read the 25 of the second one (the
NTU RGB+D layout). Twenty joints map one to one. The other five are derived, not masked, so that a
skeleton from a sensor that does measure them can be used without retraining:

* spine_shoulder: the midpoint of the two shoulders,
* hand tips: the hand moved on by the wrist-to-hand vector,
* thumbs: the hand itself (the first Kinect knows nothing about thumbs).
"""

from __future__ import annotations

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

# Pairs of joints to draw a line between. All of them are in both layouts.
BONES = (
    ("head", "shoulder_center"),
    ("shoulder_center", "spine"),
    ("spine", "hip_center"),
    *(
        (side + one, side + other)
        for side in ("left_", "right_")
        for one, other in (
            ("shoulder", "elbow"),
            ("elbow", "wrist"),
            ("wrist", "hand"),
            ("hip", "knee"),
            ("knee", "ankle"),
            ("ankle", "foot"),
        )
    ),
    ("shoulder_center", "left_shoulder"),
    ("shoulder_center", "right_shoulder"),
    ("hip_center", "left_hip"),
    ("hip_center", "right_hip"),
)

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
