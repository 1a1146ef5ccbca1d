"""Skeletons and inertial samples that go with the frames of a stream.

A feed is asked once for each frame that is looked at, and gives what is new. It never waits: what is not there is
missing, the others go on, and the prediction says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Mapping, Optional, Protocol, Tuple

import numpy as np

from edge.checks import check_entries, check_skeleton, check_track
from edge.errors import EdgeError
from edge.media import Recording, read_inertial, read_skeleton
from edge.sampling import Track, regular_track
from edge.sources import ArraySource, Frame

# A skeleton of a frame: joints (20, 3) or (25, 3) in metres in an order of `edge.joints`; None if nobody is seen.
SkeletonFunction = Callable[[Optional[np.ndarray], float], Optional[np.ndarray]]


class Feed(Protocol):
    """Joints or inertial samples, as time goes on."""

    def read(self, frame: Frame) -> Iterable[Tuple[float, np.ndarray]]:
        """Return the entries that are new with a frame, with their times in seconds since the stream began."""


class TrackFeed:
    """A recording: it gives what lies between the frame before and this one."""

    def __init__(self, track: Track) -> None:
        self._track = track
        self._next = 0

    def read(self, frame: Frame) -> Iterator[Tuple[float, np.ndarray]]:
        stop = int(np.searchsorted(self._track.time_s, frame.time_s + 1e-6, side="right"))
        for index in range(self._next, stop):
            yield float(self._track.time_s[index]), self._track.values[index]
        self._next = stop


class FunctionFeed:
    """A function that finds the skeleton in a frame: (image, time in seconds) -> joints or None."""

    def __init__(self, function: SkeletonFunction) -> None:
        self._function = function

    def read(self, frame: Frame) -> Iterator[Tuple[float, np.ndarray]]:
        joints = self._function(frame.image, frame.time_s)
        if joints is not None:
            yield frame.time_s, check_skeleton(np.asarray(joints)[None])[0]


def read_given(modality: str, given: Any) -> Any:
    """Return what a file holds, if "skeleton" or "inertial" was given as a file; a track is checked, others stay."""
    if isinstance(given, Track):
        return check_track(modality, given)
    if not isinstance(given, (str, Path)):
        return given
    return read_skeleton(given) if modality == "skeleton" else read_inertial(given)


def make_feed(modality: str, given: Any, rate_hz: Optional[float], duration_s: Optional[float]) -> Feed:
    """Return the feed of "skeleton" or "inertial" for what a caller gave.

    Args:
      modality: which of both.
      given: a recording, an array (T, J, 3) or (N, 6), a track, a feed, or (of skeletons) a function.
      rate_hz: of an array or a recording that does not know it: entries per second.
      duration_s: seconds of the source, over which what has no rate is spread; None if that is not known.

    Raises:
      EdgeError: for anything else, an array that does not fit, or one without a rate where it is needed.
    """
    if isinstance(given, Recording):
        given, rate_hz = given.values, rate_hz or given.rate_hz
    if isinstance(given, Track):
        return TrackFeed(given)
    if hasattr(given, "read"):
        feed: Feed = given
        return feed
    if callable(given) and modality == "skeleton":
        return FunctionFeed(given)
    if callable(given):
        raise EdgeError("a function was given for inertial samples; an array, a track or a feed is expected")
    values = check_entries(modality, given)
    if rate_hz is None and duration_s is None:
        raise EdgeError(f"{modality}: entries without a rate were given; give {modality}_rate_hz (--{modality}_rate)")
    return TrackFeed(regular_track(values, rate_hz or len(values) / float(duration_s or 1)))


def clock_of(given: Mapping[str, Any], rates_hz: Mapping[str, Optional[float]], real_time: bool) -> ArraySource:
    """Return the source of a stream without video: a clock that ticks with the skeletons, or else the samples.

    Raises:
      EdgeError: if neither has entries and a rate.
    """
    without_rate = ""
    for modality in ("skeleton", "inertial"):
        value: Any = given.get(modality)
        rate_hz = rates_hz.get(modality)
        if isinstance(value, Recording):
            value, rate_hz = value.values, rate_hz or value.rate_hz
        if isinstance(value, Track):  # from its beginning on, though its first entry may be late
            rate_hz = 1 / (value.duration_s - float(value.time_s[-1]))
            return ArraySource(None, rate_hz, count=round(value.duration_s * rate_hz), real_time=real_time)
        if value is None or not hasattr(value, "__len__"):
            continue
        if rate_hz is None:
            without_rate = without_rate or modality
            continue
        return ArraySource(None, rate_hz, count=len(value), real_time=real_time)
    if without_rate:
        raise EdgeError(f"{without_rate}: its rate is not known; give {without_rate}_rate_hz (--{without_rate}_rate)")
    raise EdgeError("there is no source, and no skeletons or inertial samples that could go on without one")
