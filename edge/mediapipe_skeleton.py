"""Skeletons from a camera by MediaPipe's pose model: 33 landmarks become the 20 joints of `edge.joints.KINECT20`.

    recognizer.stream(0, skeleton=MediaPipeSkeleton())

MediaPipe gives landmarks in metres around the middle of the hips, x to the right of the picture, y down and z away
from the camera. The recordings that the networks have learnt from are of a Kinect, which mirrors what it sees: a
person's right hand has the larger x; y goes up. Turned by half a turn around z, the one is the other.

Twelve limb joints are landmarks. The others lie between or beside them: the hands between the knuckles of index and
little finger, the head between the ears, and the middle of the body on the line from the hips to the shoulders, where
Kinect puts it. Where the hips are in the room MediaPipe does not say; across the picture it follows from their pixels
and the length of the torso in both units. Towards the camera it is taken not to change.

What accuracy is lost against a Kinect's skeletons was not measured: there are no recordings of both.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Optional

import numpy as np

from edge.errors import EdgeError
from edge.joints import KINECT20

INSTALL = "pip install -r edge/requirements-mediapipe.txt (Python 3.9 to 3.12)"

_LANDMARK = {
    "shoulder": (11, 12),
    "elbow": (13, 14),
    "wrist": (15, 16),
    "hip": (23, 24),
    "knee": (25, 26),
    "ankle": (27, 28),
    "foot": (31, 32),  # the tip of the foot
}
_KNUCKLES = {"left": (17, 19), "right": (18, 20)}
_EARS = (7, 8)
_TORSO = (11, 12, 23, 24)
# Where Kinect's joints lie on the line from the middle of the hips (0) to the middle of the shoulders (1): medians over
# the skeletons of UTD-MHAD's subjects 1, 3, 5 and 7, first trials.
_SPINE_LINE = {"hip_center": 0.20, "spine": 0.38, "shoulder_center": 1.29}
_LEAST_VISIBLE = 0.5  # of the torso: below it there is nobody, or too little of somebody


def to_kinect20(world: np.ndarray, pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the joints of a pose.

    Args:
      world: (33, 3) landmarks in metres around the middle of the hips, as MediaPipe gives them.
      pixels: (33, 2) the same landmarks in the picture, x to the right and y down.
      width: of the picture in pixels.
      height: likewise.

    Returns:
      (20, 3) float32 joints in metres: x as a Kinect mirrors it, y up, z away from the camera, the origin in the
      middle of the picture.
    """
    points = world * np.array([-1, -1, 1])
    hip = points[list(_LANDMARK["hip"])].mean(axis=0)
    shoulder = points[list(_LANDMARK["shoulder"])].mean(axis=0)
    found: Dict[str, np.ndarray] = {"head": points[list(_EARS)].mean(axis=0)}
    for name, share in _SPINE_LINE.items():
        found[name] = hip + share * (shoulder - hip)
    for name, landmarks in _LANDMARK.items():
        found[f"left_{name}"], found[f"right_{name}"] = points[landmarks[0]], points[landmarks[1]]
    for side, landmarks in _KNUCKLES.items():
        found[f"{side}_hand"] = points[list(landmarks)].mean(axis=0)
    joints = np.stack([found[name] for name in KINECT20])
    joints[:, :2] += _hip_in_room(world, pixels, width, height)
    return joints.astype(np.float32)


def _hip_in_room(world: np.ndarray, pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return (x, y) of the middle of the hips in metres from the middle of the picture."""
    hips, shoulders = list(_LANDMARK["hip"]), list(_LANDMARK["shoulder"])
    hip = pixels[hips].mean(axis=0)
    torso_px = np.linalg.norm(pixels[shoulders].mean(axis=0) - hip)
    torso_m = np.linalg.norm((world[shoulders].mean(axis=0) - world[hips].mean(axis=0))[:2])
    return (np.array([width / 2, height / 2]) - hip) * torso_m / max(torso_px, 1.0)


class MediaPipeSkeleton:
    """Finds the skeleton of one person in frames that come one after the other.

    Args:
      complexity: 0, 1 or 2, MediaPipe's own: more accurate and slower.

    Raises:
      EdgeError: if MediaPipe is not installed, or in a version without its pose model.
    """

    def __init__(self, complexity: int = 1) -> None:
        os.environ.setdefault("GLOG_minloglevel", "2")  # it would write to stderr about its own start
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        try:
            import mediapipe
        except ImportError as error:
            raise EdgeError(f"skeletons by MediaPipe need the package mediapipe: {error}\n  {INSTALL}") from None
        if not hasattr(mediapipe, "solutions"):
            raise EdgeError(
                f"mediapipe {mediapipe.__version__} has no pose model in it; 0.10.21 (on ARM 0.10.18) is expected\n"
                f"  {INSTALL}"
            )
        self._pose: Any = mediapipe.solutions.pose.Pose(model_complexity=complexity)

    def __call__(self, image: Optional[np.ndarray], time_s: float) -> Optional[np.ndarray]:
        """Return the joints (20, 3) of whoever is in an (H, W, 3) uint8 RGB frame; None if nobody is seen.

        Raises:
          EdgeError: for a frame that is no colour frame.
        """
        if image is None or image.ndim != 3:
            raise EdgeError("MediaPipe finds skeletons in colour frames; this stream has none\n  Give --skeleton=FILE")
        result = self._pose.process(image)
        if result.pose_world_landmarks is None:
            return None
        landmarks = result.pose_landmarks.landmark
        if np.mean([landmarks[i].visibility for i in _TORSO]) < _LEAST_VISIBLE:
            return None
        height, width = image.shape[:2]
        world = np.array([(point.x, point.y, point.z) for point in result.pose_world_landmarks.landmark])
        pixels = np.array([(point.x * width, point.y * height) for point in landmarks])
        return to_kinect20(world, pixels, width, height)

    def close(self) -> None:
        """Let go of the model."""
        self._pose.close()
