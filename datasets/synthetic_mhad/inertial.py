"""What an inertial sensor on the right wrist or the right thigh measures."""

from __future__ import annotations

import numpy as np

from datasets.synthetic_mhad.body import JOINTS
from datasets.synthetic_mhad.performance import FINE_HZ

GRAVITY_M_S2 = 9.81
# Samples per depth frame in the authors' files: the recorded rate does not fit the nominal 50 Hz.
SAMPLES_PER_DEPTH_FRAME = 2.65
ACCELERATION_LIMIT_G, RATE_LIMIT_DEG_S = 8.0, 1000.0

THIGH_ACTIONS = range(22, 28)
_WRIST = ("right_shoulder", "right_elbow", "right_wrist", "right_wrist")
_THIGH = ("right_ankle", "right_knee", "right_hip", "right_knee")


def limb_frame(near: np.ndarray, bend: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Return (N, 3, 3) rotations whose columns are the sensor's axes, from three joints of a bent limb.

    x runs along the bone from `bend` to `far`, z along the hinge, y completes a right-handed frame.
    """
    x = far - bend
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    z = np.cross(bend - near, x)
    z = z / np.linalg.norm(z, axis=-1, keepdims=True)
    return np.stack([x, np.cross(z, x), z], axis=-1)


def angular_rate(frames: np.ndarray) -> np.ndarray:
    """Return (N, 3) deg/s in the sensor's own axes of (N, 3, 3) orientations at `FINE_HZ`."""
    change = np.swapaxes(frames, -1, -2) @ (np.gradient(frames, axis=0) * FINE_HZ)
    vector = np.stack([change[:, 2, 1], change[:, 0, 2], change[:, 1, 0]], axis=-1)
    return np.degrees(vector)


def measure(joints: np.ndarray, action: int, num_depth_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Return (N, 6): specific force in g, then angular rate in deg/s.

    As the authors did, the sensor sits on the right wrist, for the actions 22 to 27 on the right thigh.

    Args:
      joints: (8 T, 20, 3) metres at `FINE_HZ`.
      action: 1 to 27.
      num_depth_frames: T.
      rng: for the sensor's noise.
    """
    near, bend, far, sensor = (
        joints[:, JOINTS.index(name)] for name in (_THIGH if action in THIGH_ACTIONS else _WRIST)
    )
    frames = limb_frame(near, bend, far)
    if action in THIGH_ACTIONS:
        frames = frames * (-1, -1, 1)  # x away from the trunk, down when standing, as at the wrist
    acceleration = np.gradient(np.gradient(sensor, axis=0), axis=0) * FINE_HZ**2
    force = (acceleration + (0, GRAVITY_M_S2, 0)) / GRAVITY_M_S2
    force = np.einsum("nji,nj->ni", frames, force)
    fine = np.concatenate([force, angular_rate(frames)], axis=1)
    count = round(SAMPLES_PER_DEPTH_FRAME * num_depth_frames)
    instants = np.arange(count) / count * len(fine)
    samples = np.stack([np.interp(instants, np.arange(len(fine)), column) for column in fine.T], axis=1)
    samples += rng.normal(0, (0.01, 0.01, 0.01, 0.8, 0.8, 0.8), samples.shape)
    limit = np.repeat([ACCELERATION_LIMIT_G, RATE_LIMIT_DEG_S], 3)
    return np.clip(samples, -limit, limit)
