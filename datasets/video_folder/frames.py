"""A video file to the record that is stored: JPEG frames and their times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np

from datasets.errors import DatasetError
from datasets.utd_mhad.examples import encode_frame
from datasets.video_folder.layout import Clip

Kept = TypeVar("Kept")

_RIGHT_ANGLES = (90, 180, 270)


class DamagedClip(DatasetError):
    """A file is not a video that can be decoded to its end."""


def find_damage(clip: Clip) -> str | None:
    """Return what is wrong with a clip, None if nothing is; decodes all of it."""
    try:
        _decode(clip.path, lambda frame: None)
    except DamagedClip as error:
        return f"{clip.name}: {error}"
    return None


def make_example(clip: Clip) -> dict[str, Any]:
    """Return the record of a clip as `Builder.info.features` describes it.

    Raises:
      DamagedClip: if it cannot be decoded.
    """
    # One frame at a time: a minute of whole ones would fill the memory.
    frames, time_s = _decode(clip.path, lambda frame: encode_frame(_upright(frame)))
    rgb = {"frames": frames, "time_s": time_s}
    return {"name": clip.name, "action": clip.action, "subject": clip.subject, "rgb": rgb}


def _decode(path: Path, keep: Callable[[av.VideoFrame], Kept]) -> tuple[list[Kept], np.ndarray]:
    """Return what is kept of each frame of a file, and their times in seconds from the first.

    Raises:
      DamagedClip: if it cannot be decoded to its end, has no frames, or does not tell their times.
    """
    kept: list[Kept] = []
    told: list[float | None] = []
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # clips are converted side by side
            for frame in container.decode(stream):
                kept.append(keep(frame))
                told.append(frame.time)
            rate = stream.average_rate
    except (av.error.FFmpegError, OSError, IndexError) as error:
        said = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise DamagedClip(f"cannot be decoded ({said})") from error
    if not kept:
        raise DamagedClip("holds no frames")
    # Frames come as they are shown. Where a file tells but when they are decoded (H.264 in AVI), that is in disorder.
    times = [time for time in told if time is not None]
    if len(times) == len(kept):
        return kept, (np.sort(times) - min(times)).astype(np.float32)
    if not rate:
        raise DamagedClip("does not tell when its frames are shown")
    return kept, (np.arange(len(kept)) / float(rate)).astype(np.float32)


def _upright(frame: av.VideoFrame) -> np.ndarray:
    """Return the (H, W, 3) RGB picture as a player shows it: phones store it lying and say how it is to be turned."""
    picture = frame.to_ndarray(format="rgb24")
    turned = int(frame.rotation) % 360
    return np.rot90(picture, turned // 90) if turned in _RIGHT_ANGLES else picture
