"""From the files of one recording to its action."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from edge.bundle import Bundle
from edge.errors import EdgeError
from edge.items import Item
from edge.media import read_frames, read_inertial, read_skeleton
from edge.recognizer import ActionRecognizer, Prediction
from edge.sampling import Track


def predict_files(recognizer: ActionRecognizer, item: Item, rates_hz: Mapping[str, Optional[float]]) -> Prediction:
    """Return the action that the files of a recording show.

    Args:
      recognizer: the bundle and its engine.
      item: the files.
      rates_hz: entries per second of "frame", "skeleton" and "inertial", instead of the files' own; None: as they say.

    Raises:
      EdgeError: if a file cannot be read, or the bundle reads no such file.
    """
    frames = read_frames(item.clip, video_modality(recognizer.bundle, item.clip)) if item.clip else None
    skeleton = read_skeleton(item.skeleton) if item.skeleton else None
    inertial = read_inertial(item.inertial) if item.inertial else None
    values: Any = frames.values if frames else None
    if frames and frames.time_s is not None and not rates_hz["frame"]:
        values = Track(frames.values, frames.time_s)
    return recognizer.predict(
        values,
        skeleton.values if skeleton else None,
        inertial.values if inertial else None,
        frame_rate_hz=rates_hz["frame"] or (frames.rate_hz if frames else None),
        skeleton_rate_hz=rates_hz["skeleton"] or (skeleton.rate_hz if skeleton else None),
        inertial_rate_hz=rates_hz["inertial"],
    )


def video_modality(bundle: Bundle, clip: str) -> str:
    """Return what a bundle takes the clip for, "rgb" or "depth".

    Raises:
      EdgeError: if it reads no video.
    """
    if bundle.video_modality is None:
        options = " ".join(f"--{modality}=FILE" for modality in bundle.specs)
        raise EdgeError(f"{clip} was given; this bundle reads {bundle.reads}, no video: give {options} instead")
    return bundle.video_modality
