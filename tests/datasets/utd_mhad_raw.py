"""Small raw recordings in the authors' layout, for the tests of datasets.utd_mhad."""

from __future__ import annotations

import io
from collections.abc import Collection
from itertools import product
from pathlib import Path

import av
import cv2
import numpy as np
import scipy.io

from datasets.utd_mhad import MODALITIES, RecordingId

EXPECTED = frozenset(RecordingId(*key) for key in product((1, 2), (1, 2), (1, 2)))
FILES = {
    "rgb": "RGB/{}_color.avi",
    "depth": "Depth/{}_depth.mat",
    "skeleton": "Skeleton/{}_skeleton.mat",
    "inertial": "Inertial/{}_inertial.mat",
}


def rng_of(recording: RecordingId) -> np.random.Generator:
    return np.random.default_rng(tuple(recording))


def num_frames(recording: RecordingId) -> int:
    return 3 + recording.action + recording.trial


def depth_of(recording: RecordingId) -> np.ndarray:
    """(H, W, T) uint16, with some foreground in the middle."""
    depth = np.zeros((24, 32, num_frames(recording)), np.uint16)
    depth[5:19, 8 : 12 + recording.action] = rng_of(recording).integers(
        0, 4000, (14, 4 + recording.action, depth.shape[2])
    )
    depth[5, 8] = depth[18, 11 + recording.action] = 65535
    return depth


def skeleton_of(recording: RecordingId) -> np.ndarray:
    """(20, 3, T) float64."""
    return rng_of(recording).normal(size=(20, 3, num_frames(recording)))


def inertial_of(recording: RecordingId) -> np.ndarray:
    """(N, 6) float64."""
    return rng_of(recording).normal(size=(3 * num_frames(recording), 6))


def rgb_of(recording: RecordingId) -> np.ndarray:
    """(T, H, W, 3) uint8, smooth as pictures are."""
    rows, columns = np.mgrid[0:48, 0:64]
    ramp = np.stack([4 * rows, 3 * columns, np.full_like(rows, 40 * recording.action)], axis=-1)
    return np.stack([np.roll(ramp, 4 * t, axis=0) for t in range(num_frames(recording) // 2)]).astype(np.uint8)


def avi(frames: np.ndarray, rate: int = 15) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="avi") as container:
        stream = container.add_stream("mjpeg", rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.bit_rate = "yuvj444p", 10_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def mat(**variables: object) -> bytes:
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, variables, do_compression=True)
    return buffer.getvalue()


def content(recording: RecordingId, modality: str) -> bytes:
    if modality == "rgb":
        return avi(rgb_of(recording))
    if modality == "depth":
        return mat(d_depth=depth_of(recording))
    if modality == "skeleton":
        return mat(d_skel=skeleton_of(recording))
    return mat(d_iner=inertial_of(recording))


def raw_path(raw_dir: Path, recording: RecordingId, modality: str) -> Path:
    return raw_dir / FILES[modality].format(recording.name)


def write_raw(
    raw_dir: Path,
    recordings: Collection[RecordingId] = EXPECTED,
    modalities: Collection[str] = MODALITIES,
) -> Path:
    for recording, modality in product(recordings, modalities):
        path = raw_path(raw_dir, recording, modality)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(recording, modality))
    return raw_dir


def decode_depth(entry: dict) -> np.ndarray:
    """Return (H, W, T) uint16, as in the raw file, of a prepared record's depth."""
    frames = np.zeros((len(entry["frames"]), *entry["size"]), np.uint16)
    top, left = entry["origin"]
    for frame, file in zip(frames, entry["frames"], strict=True):
        box = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
        frame[top : top + box.shape[0], left : left + box.shape[1]] = box
    return np.moveaxis(frames, 0, -1)
