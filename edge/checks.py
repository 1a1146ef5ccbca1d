"""Whether what a caller gives is what a bundle can read.

Each function raises an `EdgeError` that says what was given and what is expected.
"""

from __future__ import annotations

from typing import Any, Tuple

import numpy as np

from edge.errors import EdgeError
from edge.sampling import Entries, Track

# Gravity is in what an accelerometer measures, so the middle of its values lies near 1 g whatever a person does
# (0.96 to 1.21 over UTD-MHAD). Far from it the values are in m/s2, or gravity was taken out.
_GRAVITY_G = (0.25, 4.0)
# No recording is a week long: a track that begins later has a clock of its own, and nothing of it would be read.
_LONGEST_S = 7 * 24 * 3600.0
_FRAME_FORM = {"rgb": "(H, W, 3) uint8 in RGB order", "depth": "(H, W) uint16 in millimetres"}


def check_entries(modality: str, values: Entries) -> Entries:
    """Return the entries of a modality, numbers as float32."""
    if modality == "skeleton":
        return check_skeleton(values)
    if modality == "inertial":
        return check_inertial(values)
    check_frames(values, modality)
    return values


def check_frames(frames: Entries, modality: str) -> None:
    """Raise unless these are frames of a video modality, "rgb" or "depth", all of one size if depth."""
    if not hasattr(frames, "__len__"):
        raise EdgeError(f"{type(frames).__name__} was given; a list or an array of frames is expected")
    if len(frames) == 0:
        raise EdgeError("0 frames were given; at least 1 is expected, or None for a missing video")
    # An array is uniform, and a sequence that decodes lazily is our own; only lists can hold anything.
    for index in range(len(frames) if isinstance(frames, (list, tuple)) else 1):
        frame = frames[index]
        shape: Tuple[int, ...] = getattr(frame, "shape", ())
        dtype = getattr(frame, "dtype", None)
        if modality == "rgb":
            fits = dtype == np.uint8 and len(shape) == 3 and shape[2] == 3
        else:
            fits = dtype == np.uint16 and len(shape) == 2 and shape == frames[0].shape
        if not fits or 0 in shape:
            raise EdgeError(
                f"frame {index} is {type(frame).__name__} {shape} {dtype}; "
                f"{_FRAME_FORM[modality]} is expected, as this bundle reads {modality}"
            )


def check_skeleton(skeleton: Entries) -> np.ndarray:
    """Return skeletons as (T, 20, 3) or (T, 25, 3) float32."""
    joints = _numbers(skeleton, "the skeleton is")
    if joints.ndim != 3 or joints.shape[1:] not in ((20, 3), (25, 3)) or len(joints) == 0:
        raise EdgeError(
            f"a skeleton of shape {joints.shape} was given; (T, 20, 3) or (T, 25, 3) is expected, or None "
            f"for a missing skeleton"
        )
    if not np.isfinite(joints).all():
        frame = int(np.argwhere(~np.isfinite(joints))[0, 0])
        raise EdgeError(f"the skeleton has a joint that is not finite, first in frame {frame}")
    return joints


def check_inertial(inertial: Entries) -> np.ndarray:
    """Return the inertial samples of a recording as (N, 6) float32."""
    samples = check_samples(inertial)
    gravity_g = float(np.median(np.linalg.norm(samples[:, :3], axis=1)))
    if not _GRAVITY_G[0] <= gravity_g <= _GRAVITY_G[1]:
        raise EdgeError(
            f"the inertial samples have accelerations of {gravity_g:.2f} in the median; about 1 is expected\n"
            f"  Give them in g (m/s2 divided by 9.81) and with gravity in them"
        )
    return samples


def check_samples(inertial: Entries) -> np.ndarray:
    """Return some inertial samples, so few perhaps that their mean says nothing, as (N, 6) float32."""
    samples = _numbers(inertial, "the inertial samples are")
    if samples.ndim != 2 or samples.shape[1] != 6 or len(samples) == 0:
        raise EdgeError(
            f"inertial samples of shape {samples.shape} were given; (N, 6) is expected (acceleration x y z in g, "
            f"angular velocity x y z in degrees/s), or None for a missing sensor"
        )
    if not np.isfinite(samples).all():
        first = int(np.argwhere(~np.isfinite(samples))[0, 0])
        raise EdgeError(f"the inertial samples have a value that is not finite, first in sample {first}")
    return samples


def check_track(modality: str, track: Track) -> Track:
    """Return a track with its entries and times checked."""
    entries = check_entries(modality, track.values)
    return Track(entries, check_times(track.time_s, len(entries), modality))


def check_times(time_s: Any, count: int, modality: str) -> np.ndarray:
    """Return the times of a track's entries as (count,) float64 seconds."""
    times = np.asarray(time_s, np.float64)
    if times.shape != (count,):
        raise EdgeError(f"{modality}: times of shape {times.shape} were given; one for each of {count} is expected")
    if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise EdgeError(f"{modality}: times that do not increase were given; seconds in their order are expected")
    if not 0 <= times[0] < _LONGEST_S:
        raise EdgeError(
            f"{modality}: times from {times[0]:.6g} to {times[-1]:.6g} s were given; seconds since the recording began "
            f"are expected"
        )
    return times


def _numbers(values: Entries, what: str) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):  # becomes infinite, which is refused where it is looked at
            return np.asarray(values, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise EdgeError(f"{what} not an array of numbers: {error}") from None
