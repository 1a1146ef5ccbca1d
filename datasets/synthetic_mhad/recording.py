"""One recording, as the four files of the authors' raw layout."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import scipy.io

from datasets.synthetic_mhad.inertial import measure
from datasets.synthetic_mhad.motions import MOTIONS
from datasets.synthetic_mhad.performance import DEPTH_HZ, RGB_HZ, Performance, perform
from datasets.synthetic_mhad.scene import depth_camera, render_depth, render_rgb, rgb_camera
from datasets.synthetic_mhad.subjects import draw_subject
from datasets.utd_mhad import RecordingId

# Quantiser of the MPEG-4 encoder, 1 is best; about the quality of the authors' files.
VIDEO_QUANTISER = 3
_MAT_HEADER = b"MATLAB 5.0 MAT-file, synthetic_mhad"
_MAT_HEADER_BYTES = 116


@dataclass(frozen=True)
class Task:
    """A recording to write: which one, where to, the size (height, width) of its colour pictures, the seed."""

    id: RecordingId
    raw_dir: Path
    size: tuple[int, int]
    seed: int


@dataclass(frozen=True)
class Recording:
    """What the sensors recorded, in the shapes, types and units of the authors' files.

    Attributes:
      rgb: (T / 2, H, W, 3) uint8 at 15 frames a second.
      depth: (H / 2, W / 2, T) uint16 millimetres at 30 frames a second, 0 is background.
      skeleton: (20, 3, T) float64 metres at 30 frames a second, camera's frame.
      inertial: (N, 6) float64, specific force in g, angular rate in deg/s.
    """

    rgb: np.ndarray
    depth: np.ndarray
    skeleton: np.ndarray
    inertial: np.ndarray


def rehearse(key: RecordingId, seed: int) -> Performance:
    """Return what happens in a recording, whatever the size of its pictures."""
    habit = np.random.default_rng([seed, key.subject, key.action])
    return perform(key.action, draw_subject(seed, key.subject), habit, _trial_rng(key, seed, 0))


def record(key: RecordingId, size: tuple[int, int], seed: int) -> Recording:
    """Return a recording with colour pictures of a size (height, width) and depth pictures of half of it."""
    performance = rehearse(key, seed)
    subject = draw_subject(seed, key.subject)
    height, width = size
    joints = performance.at_rate(DEPTH_HZ)
    # The lowest posture of a recording with a chair is the seated one.
    seated = joints[np.argmin(joints[:, 3, 1])] if MOTIONS[key.action].seat else None
    return Recording(
        rgb=render_rgb(
            performance.at_rate(RGB_HZ), subject, rgb_camera(height, width), _trial_rng(key, seed, 1), seated
        ),
        depth=render_depth(joints, subject, depth_camera(height // 2, width // 2), _trial_rng(key, seed, 2)),
        skeleton=np.moveaxis(joints, 0, -1),
        inertial=measure(performance.joints, key.action, len(joints), _trial_rng(key, seed, 3)),
    )


def _trial_rng(key: RecordingId, seed: int, purpose: int) -> np.random.Generator:
    """Return the random numbers of one purpose, so that no purpose depends on how many another one draws."""
    return np.random.default_rng([seed, key.subject, key.action, key.trial, purpose])


def write_recording(task: Task) -> None:
    """Write the four files of a recording; the same task gives the same bytes.

    Raises:
      OSError: if a file cannot be written; no part of that file is left.
    """
    recording, name = record(task.id, task.size, task.seed), task.id.name
    _write(task.raw_dir / "RGB" / f"{name}_color.avi", encode_video(recording.rgb, RGB_HZ))
    _write(task.raw_dir / "Depth" / f"{name}_depth.mat", encode_mat("d_depth", recording.depth))
    _write(task.raw_dir / "Skeleton" / f"{name}_skeleton.mat", encode_mat("d_skel", recording.skeleton))
    _write(task.raw_dir / "Inertial" / f"{name}_inertial.mat", encode_mat("d_iner", recording.inertial))


def _write(path: Path, data: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.part")
    try:
        unfinished.write_bytes(data)
        os.replace(unfinished, path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def encode_video(frames: np.ndarray, rate_hz: int) -> bytes:
    """Return (T, H, W, 3) uint8 RGB frames as an AVI file with MPEG-4 (XVID) video."""
    file = io.BytesIO()
    with av.open(file, "w", format="avi", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("mpeg4", rate=Fraction(rate_hz))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        codec = stream.codec_context
        codec.codec_tag = "XVID"
        codec.thread_count = 1  # the bytes must not depend on the number of cores
        codec.qmin = codec.qmax = VIDEO_QUANTISER
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def encode_mat(key: str, values: np.ndarray) -> bytes:
    """Return an array as a compressed MATLAB 5 file with one variable."""
    file = io.BytesIO()
    scipy.io.savemat(file, {key: values}, do_compression=True)
    # scipy writes the time of day into the descriptive text at the start.
    return _MAT_HEADER.ljust(_MAT_HEADER_BYTES) + file.getvalue()[_MAT_HEADER_BYTES:]
