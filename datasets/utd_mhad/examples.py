"""Arrays of a recording to the record that is stored.

Colour frames become JPEG files, shrunk to what 224 pixel crops need. Depth stays as it is: the box
around all that is not background, as 16-bit PNG files. Everything has time stamps, because frames of
different modalities belong together by time, not by index.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from datasets.utd_mhad.layout import Problem, Recording
from datasets.utd_mhad.readers import NUM_INERTIAL, NUM_JOINTS, DamagedFile, Video, read

RGB_SHORT_SIDE = 256
JPEG_QUALITY = 90
KINECT_RATE_HZ = 30.0  # depth and skeletons
INERTIAL_RATE_HZ = 50.0  # nominal

# Run-length coding alone: a quarter smaller than the default at this level, and no slower.
_PNG_OPTIONS = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)


def find_damage(recording: Recording) -> list[Problem]:
    """Return what is wrong with the content of a recording's files; decodes all of them."""
    problems = []
    for modality, file in recording.files.items():
        try:
            read(file, modality)
        except DamagedFile as error:
            problems.append(Problem(file.label, str(error)))
    return problems


def make_example(recording: Recording) -> dict[str, Any]:
    """Return the record of a recording as `Builder.info.features` describes it.

    Raises:
      DamagedFile: if a file cannot be decoded.
    """
    raw = {modality: read(file, modality) for modality, file in recording.files.items()}
    return {
        "name": recording.id.name,
        "action": recording.id.action - 1,
        "subject": recording.id.subject,
        "trial": recording.id.trial,
        "rgb": encode_rgb(raw.get("rgb", Video([], 1.0))),
        "depth": encode_depth(raw.get("depth", np.zeros((0, 0, 0), np.uint16))),
        "skeleton": _with_rate("joints", raw.get("skeleton", np.zeros((0, NUM_JOINTS, 3), np.float32))),
        "inertial": _inertial(raw),
    }


def encode_rgb(video: Video) -> dict[str, Any]:
    """Return JPEG files of a video's frames, the shorter side at most `RGB_SHORT_SIDE` pixels."""
    return {"frames": [encode_frame(f) for f in video.frames], "time_s": _times(len(video.frames), video.rate_hz)}


def encode_frame(frame: np.ndarray) -> bytes:
    """Return the JPEG file of one (H, W, 3) uint8 RGB frame, the shorter side at most `RGB_SHORT_SIDE` pixels."""
    return _encode(".jpg", _shrink(frame)[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))


def encode_depth(depth: np.ndarray) -> dict[str, Any]:
    """Return PNG files of the foreground's box in (T, H, W) uint16 depth frames; all else is 0."""
    foreground = np.asarray(depth.any(axis=0))
    rows, columns = np.flatnonzero(foreground.any(axis=1)), np.flatnonzero(foreground.any(axis=0))
    top, left = (rows[0], columns[0]) if len(rows) else (0, 0)
    boxes = depth[:, top : rows[-1] + 1, left : columns[-1] + 1] if len(rows) else depth
    return {
        "frames": [_encode(".png", box, _PNG_OPTIONS) for box in boxes],
        "time_s": _times(len(depth), KINECT_RATE_HZ),
        "origin": np.array([top, left], np.int32),
        "size": np.array(depth.shape[1:], np.int32),
    }


def _inertial(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the inertial samples, spread evenly over the recording.

    Their number does not fit the sensor's nominal rate (2.4 to 3.2 samples a depth frame were counted
    in place of 1.7), but the authors cut all modalities to the same action.
    """
    samples = raw.get("inertial", np.zeros((0, NUM_INERTIAL), np.float32))
    if "depth" in raw or "skeleton" in raw:
        duration_s = len(raw["depth"] if "depth" in raw else raw["skeleton"]) / KINECT_RATE_HZ
    elif "rgb" in raw:
        duration_s = len(raw["rgb"].frames) / raw["rgb"].rate_hz
    else:
        duration_s = len(samples) / INERTIAL_RATE_HZ
    return {
        "samples": samples,
        "time_s": _times(len(samples), len(samples) / duration_s if duration_s else 1.0),
    }


def _with_rate(name: str, values: np.ndarray) -> dict[str, Any]:
    return {name: values, "time_s": _times(len(values), KINECT_RATE_HZ)}


def _times(count: int, rate_hz: float) -> np.ndarray:
    return (np.arange(count) / rate_hz).astype(np.float32)


def _shrink(frame: np.ndarray) -> np.ndarray:
    scale = RGB_SHORT_SIDE / min(frame.shape[:2])
    if scale >= 1:
        return frame
    height, width = (max(RGB_SHORT_SIDE, round(side * scale)) for side in frame.shape[:2])
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)


def _encode(ending: str, image: np.ndarray, options: tuple[int, ...]) -> bytes:
    done, data = cv2.imencode(ending, np.ascontiguousarray(image), options)
    if not done:
        raise RuntimeError(f"OpenCV cannot write a {ending} file of shape {image.shape}")
    return data.tobytes()
