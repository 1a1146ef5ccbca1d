"""The last seconds of a stream, kept as the network reads them.

A window lasts `duration_s` and has `frames` instants, one every `duration_s / frames`, on a grid that begins with the
first frame. Each instant takes the first frame at or after it, so a source of any rate, and one that drops frames,
gives clips of the length that the network was trained for; and a window ends with a frame that has just arrived.

A frame is preprocessed once, when it arrives, into a ring of `frames` places; frames between two instants are not
touched. For a prediction the ring is copied once, into the order of time. (A network wants the channels before the
frames, so a ring cannot be handed over as it lies.) Of depth the part that is done once is thinning: where the
square around the person lies depends on the whole window.

Joints and inertial samples are kept as they come and interpolated over the same span of time.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any, Deque, Dict, Mapping, Optional, Tuple

import numpy as np

from edge.bundle import Bundle
from edge.errors import EdgeError
from edge.preprocess import (
    VIDEO_MODALITIES,
    DepthSpec,
    VideoSpec,
    crop_clip,
    prepare_clip,
    prepare_video,
    thin_depth,
)
from edge.sampling import Track


class ColourRing:
    """The newest prepared colour frames, (3, T, H, W) float32."""

    def __init__(self, spec: VideoSpec) -> None:
        frames, height, width, channels = spec.shape
        self._spec = spec
        self._ring = np.zeros((channels, frames, height, width), np.float32)

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        """Return an (H, W, 3) uint8 RGB frame as it is kept."""
        return prepare_video([frame], self._spec)[0].transpose(2, 0, 1)

    def put(self, place: int, prepared: np.ndarray) -> None:
        """Keep a prepared frame at one of the T places."""
        self._ring[:, place] = prepared

    def read(self, first: int, out: np.ndarray) -> None:
        """Write the frames into (3, T, H, W), the one at place `first` before the others."""
        behind = self._ring.shape[1] - first
        out[:, :behind] = self._ring[:, first:]
        out[:, behind:] = self._ring[:, :first]


class DepthRing:
    """The newest thinned depth frames, (T, H, W) uint16 millimetres."""

    def __init__(self, spec: DepthSpec) -> None:
        self._spec = spec
        self._ring = np.zeros((spec.num_frames, 0, 0), np.uint16)

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        """Return an (H, W) uint16 depth frame as it is kept."""
        return thin_depth([frame], self._spec)[0]

    def put(self, place: int, prepared: np.ndarray) -> None:
        """Keep a thinned frame at one of the T places; one of another size empties the others."""
        if prepared.shape != self._ring.shape[1:]:
            self._ring = np.zeros((len(self._ring), *prepared.shape), np.uint16)
        self._ring[place] = prepared

    def read(self, first: int, out: np.ndarray) -> None:
        """Write the pictures of the person into (1, T, crop, crop), the one at place `first` before the others."""
        out[0] = crop_clip(np.concatenate((self._ring[first:], self._ring[:first])), self._spec)


class RecentEntries:
    """Joints or inertial samples of the last seconds, with their times."""

    def __init__(self) -> None:
        self._entries: Deque[Tuple[float, np.ndarray]] = deque()

    def add(self, time_s: float, values: np.ndarray) -> None:
        """Take an entry; one that is not later than the last one is left out.

        Raises:
          EdgeError: if it is not of the last one's shape.
        """
        if self._entries and values.shape != self._entries[-1][1].shape:
            raise EdgeError(f"an entry of {values.shape} was given after one of {self._entries[-1][1].shape}")
        if not self._entries or time_s > self._entries[-1][0]:
            self._entries.append((time_s, values))

    def newest(self, start_s: float) -> Optional[np.ndarray]:
        """Return the last entry if it is not before `start_s`."""
        return self._entries[-1][1] if self._entries and self._entries[-1][0] >= start_s else None

    def track(self, start_s: float) -> Optional[Track]:
        """Return what lies after `start_s`, and one entry before it to interpolate from; None if nothing does."""
        while len(self._entries) > 1 and self._entries[1][0] <= start_s:
            self._entries.popleft()
        if not self._entries or self._entries[-1][0] < start_s:
            return None
        times, values = zip(*self._entries)
        return Track(np.stack(values), np.array(times))


class SlidingWindow:
    """The newest window of a stream, for one bundle.

    Args:
      bundle: says what is read, and how long a window is.
      stride: instants from one prediction to the next, at least 1.
    """

    def __init__(self, bundle: Bundle, stride: int) -> None:
        window = bundle.window
        self.stride = stride
        self.step_s = window.duration_s / window.frames
        self._frames, self._duration_s = window.frames, window.duration_s
        self._video: Any = None
        self._others: Dict[str, RecentEntries] = {}
        self._inputs: Dict[str, np.ndarray] = {}
        self._names = {entry.modality: entry.name for entry in bundle.inputs}
        self._specs: Dict[str, Any] = {}
        self._video_modality = bundle.video_modality
        for entry in bundle.inputs:
            self._inputs[entry.name] = np.zeros((1, *entry.shape), np.float32)
            if entry.modality in VIDEO_MODALITIES:
                if entry.spec.num_frames != window.frames:
                    raise EdgeError(
                        f"{bundle.path}: the window has {window.frames} frames and the video input "
                        f"{entry.spec.num_frames}; as many are expected\n  Export the bundle again"
                    )
                self._video = ColourRing(entry.spec) if entry.modality == "rgb" else DepthRing(entry.spec)
            else:
                self._others[entry.modality] = RecentEntries()
                self._specs[entry.modality] = entry.spec
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame begins a new grid."""
        self._origin_s: Optional[float] = None
        self._time_s = -math.inf
        self._newest = -1
        self._predicted: Optional[int] = None
        self._picture: Optional[np.ndarray] = None
        self._picture_at = 0  # the instant of it
        for modality in self._others:
            self._others[modality] = RecentEntries()

    def breaks(self, time_s: float) -> bool:
        """Return whether what follows is another scene: nothing of a whole window before `time_s` was seen.

        So it is where a source's clock was set back, as that of a camera that was plugged in again.
        """
        return self._origin_s is not None and not -self.step_s <= time_s - self._time_s <= self._duration_s

    def add(self, time_s: float, frame: Optional[np.ndarray]) -> bool:
        """Take the newest frame; return whether it was sampled.

        Args:
          time_s: when it was taken, later than the one before.
          frame: (H, W, 3) uint8 RGB or (H, W) uint16 depth, as the bundle reads; None if there is no video: the
            instants go on with the last one, and without after a window.
        """
        if self._origin_s is None:
            self._origin_s = time_s
        newest = math.floor((time_s - self._origin_s) / self.step_s + 1e-6)
        self._time_s = time_s
        if newest <= self._newest:
            return False
        if frame is not None and self._video is not None:
            self._picture, self._picture_at = self._video.prepare(frame), newest
        if self._picture is not None:
            for instant in range(max(self._newest + 1, newest - self._frames + 1), newest + 1):
                self._video.put(instant % self._frames, self._picture)
        self._newest = newest
        return True

    def add_entry(self, modality: str, time_s: float, values: np.ndarray) -> None:
        """Take joints (20 or 25, 3) in metres, or an inertial sample (6,)."""
        self._others[modality].add(time_s, values)

    @property
    def joints(self) -> Optional[np.ndarray]:
        """The newest skeleton, (20 or 25, 3) in metres; None if there is none in the window."""
        skeletons = self._others.get("skeleton")
        return skeletons.newest(self._time_s - self._duration_s) if skeletons else None

    @property
    def due(self) -> bool:
        """Whether the window is full and `stride` instants have passed since the last one that was taken."""
        full = self._newest >= self._frames - 1
        return full and (self._predicted is None or self._newest - self._predicted >= self.stride)

    @property
    def span(self) -> Tuple[float, float]:
        """Start and stop of the newest window in seconds. Its last instant is half a step before the stop."""
        assert self._origin_s is not None
        stop_s = self._origin_s + (self._newest + 0.5) * self.step_s
        return stop_s - self._duration_s, stop_s

    def empty(self) -> Mapping[str, np.ndarray]:
        """Return the network's inputs by name, all zeros."""
        return {name: np.zeros_like(array) for name, array in self._inputs.items()}

    def take(self) -> Tuple[Mapping[str, np.ndarray], Tuple[str, ...], int]:
        """Return the network's inputs by name, the missing modalities, and the instants since the last window.

        The arrays are valid until the next call. For the first window the instants are `stride`.

        Raises:
          EdgeError: if an entry does not fit the bundle: skeletons of 25 joints where it reads 20, say.
        """
        span = self.span
        tracks = {modality: entries.track(span[0]) for modality, entries in self._others.items()}
        given = {modality: track for modality, track in tracks.items() if track is not None}
        missing = [modality for modality in self._specs if modality not in given]
        if given:
            try:
                prepared = prepare_clip(given, self._specs, span=span)
            except ValueError as error:
                raise EdgeError(str(error)) from error
            for modality, array in prepared.items():
                self._inputs[self._names[modality]][0] = array
        else:
            for modality in self._specs:
                self._inputs[self._names[modality]][:] = 0
        if self._video_modality is not None:
            video = self._inputs[self._names[self._video_modality]]
            if self._picture is not None and self._newest - self._picture_at < self._frames:
                self._video.read((self._newest + 1) % self._frames, video[0])
            else:
                video[:] = 0
                missing.insert(0, self._video_modality)
        since = self.stride if self._predicted is None else self._newest - self._predicted
        self._predicted = self._newest
        return self._inputs, tuple(missing), since
