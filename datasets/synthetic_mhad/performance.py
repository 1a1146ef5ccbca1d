"""One trial: a motion as one subject performs it once, as joints over time in the camera's frame."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from datasets.synthetic_mhad.body import joints_of, rotation
from datasets.synthetic_mhad.motions import MOTIONS, STAND, Motion, Pose
from datasets.synthetic_mhad.subjects import Manner, Subject

DEPTH_HZ = 30
RGB_HZ = 15
# Motion is computed at a common multiple of the cameras' rates, fine enough to differentiate twice.
FINE_HZ = 240

# The camera stands this high above the floor.
CAMERA_HEIGHT_M = 1.06

# Shortest and longest recording, in depth frames.
MIN_FRAMES, MAX_FRAMES = 44, 112


@dataclass(frozen=True)
class Performance:
    """What happened in front of the sensors.

    Attributes:
      joints: (8 T, 20, 3) metres in the camera's frame (x right in the picture, y up, z away) at `FINE_HZ`,
        T the number of depth frames, an even number.
    """

    joints: np.ndarray

    def at_rate(self, rate_hz: int) -> np.ndarray:
        """Return the (N, 20, 3) joints that a camera of this rate sees, the first at time 0."""
        return self.joints[:: FINE_HZ // rate_hz]


def perform(action: int, subject: Subject, habit: np.random.Generator, trial: np.random.Generator) -> Performance:
    """Return a trial of an action.

    Args:
      action: 1 to 27.
      subject: who performs it.
      habit: draws what this subject always does at this action.
      trial: draws what is different every time.
    """
    motion = MOTIONS[action]
    manner = _vary(_vary(subject.manner, habit, 1.0), trial, 0.5)
    repeats = int(habit.integers(motion.repeats[0], motion.repeats[1] + 1))
    sequence = motion.poses(repeats)
    if motion.either_side and trial.random() < 0.5:
        sequence = [(seconds, pose.mirrored()) for seconds, pose in sequence]
    poses = _interpolate(sequence, manner, trial)
    _apply_manner(poses, manner, motion)
    _sway(poses, trial)
    return Performance(_place(joints_of(poses, subject.body), motion, trial))


def _vary(manner: Manner, rng: np.random.Generator, amount: float) -> Manner:
    """Return a manner near another one."""
    return dataclasses.replace(
        manner,
        tempo=manner.tempo * np.exp(rng.normal(0, 0.08 * amount)),
        amplitude=manner.amplitude * np.exp(rng.normal(0, 0.09 * amount)),
        hand_offset=manner.hand_offset + rng.normal(0, 0.09 * amount, 3),
        elbow=manner.elbow + rng.normal(0, 0.1 * amount),
        lean_deg=manner.lean_deg + rng.normal(0, 2 * amount),
        follow=max(0.0, manner.follow + rng.normal(0, 0.06 * amount)),
    )


def _interpolate(sequence: list[tuple[float, Pose]], manner: Manner, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the fields of `Pose` at `FINE_HZ`: through the key poses without overshoot, then rounded off."""
    seconds = np.array([seconds for seconds, _ in sequence]) * manner.tempo
    jitter = np.full(len(seconds), 0.15)
    jitter[[1, -1]] = 0.5  # the recording was started and stopped by hand
    key_times = np.cumsum(seconds * np.exp(rng.normal(0, jitter)))
    frames = 2 * int(np.clip(round(key_times[-1] * DEPTH_HZ / 2), MIN_FRAMES // 2, MAX_FRAMES // 2))
    count = frames * FINE_HZ // DEPTH_HZ
    times = np.arange(count) / (count - 1) * key_times[-1]
    poses = {}
    for field in dataclasses.fields(Pose):
        keys = np.array([getattr(pose, field.name) for _, pose in sequence], float)
        curve = PchipInterpolator(key_times, keys, axis=0)(times)
        poses[field.name] = gaussian_filter1d(curve, manner.smoothing_s * FINE_HZ, axis=0, mode="nearest")
    return poses


def _apply_manner(poses: dict[str, np.ndarray], manner: Manner, motion: Motion) -> None:
    """Change the poses in place to how this person does it."""
    uses_left_hand = np.ptp(poses["left_hand"], axis=0).max() > 0
    for side in ("right", "left"):
        hand, rest = poses[f"{side}_hand"], np.array(STAND[f"{side}_hand"])
        moved = hand - rest
        # An offset that fades out towards rest: hanging arms hang the same way whatever the action.
        working = np.minimum(1, np.linalg.norm(moved, axis=-1, keepdims=True) / 0.6)
        poses[f"{side}_hand"] = rest + manner.amplitude * moved + working * manner.hand_offset
        poses[f"{side}_elbow"] = poses[f"{side}_elbow"] + working[:, 0] * manner.elbow
        poses[f"{side}_foot"] = poses[f"{side}_foot"] * manner.amplitude
    if not uses_left_hand:
        moved = poses["right_hand"] - np.array(STAND["right_hand"])
        poses["left_hand"] = poses["left_hand"] + manner.follow * moved
    if not motion.seat:  # the seat's height is given
        poses["hip"] = poses["hip"] * manner.amplitude
    poses["lean_deg"] = poses["lean_deg"] * manner.amplitude + manner.lean_deg
    poses["twist_deg"] = poses["twist_deg"] * manner.amplitude


SWAY = {
    "right_hand": 0.018,
    "left_hand": 0.018,
    "right_elbow": 0.05,
    "left_elbow": 0.05,
    "lean_deg": 1.2,
    "twist_deg": 2.0,
    "tilt_deg": 1.2,
    "hip": 0.006,
}


def _sway(poses: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    """Add slow noise in place: nobody stands or repeats a gesture exactly."""
    for name, amount in SWAY.items():
        noise = gaussian_filter1d(rng.normal(size=poses[name].shape), 0.25 * FINE_HZ, axis=0, mode="reflect")
        # Smoothing white noise over sigma samples leaves 1 / sqrt(2 sqrt(pi) sigma) of its deviation.
        poses[name] = poses[name] + amount * noise * np.sqrt(2 * np.sqrt(np.pi) * 0.25 * FINE_HZ)


def _place(joints: np.ndarray, motion: Motion, rng: np.random.Generator) -> np.ndarray:
    """Return the joints in the camera's frame, the person standing and facing a little differently each time."""
    heading = rotation(np.zeros(1), rng.normal(0, 7, 1), np.zeros(1))[0]
    where = (rng.normal(-0.03, 0.06), -CAMERA_HEIGHT_M, motion.distance_m + rng.normal(0, 0.06))
    return joints @ heading.T + where
