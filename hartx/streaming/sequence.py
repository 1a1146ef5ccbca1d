"""Recordings of one subject -> one continuous sequence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.sampling import Track, common_span
from hartx.data import Recordings
from hartx.data.source import Recording
from hartx.errors import HartxError


@dataclass(frozen=True)
class Instance:
    """One recording in a sequence: its action lasts from `start_s` to `stop_s`."""

    start_s: float
    stop_s: float
    action: str
    name: str
    index: int  # of the recording, in the dataset's source


@dataclass(frozen=True)
class ContinuousSequence:
    """All recordings of a subject, one after the other, with rests between them.

    Attributes:
      subject: who.
      duration_s: with the rests before the first and after the last.
      instances: in order of time.
      tracks: modality to one track over the whole sequence.
    """

    subject: int
    duration_s: float
    instances: tuple[Instance, ...]
    tracks: dict[str, Track]


@dataclass(frozen=True)
class JoinedFrames(Sequence[np.ndarray]):
    """Frames of several recordings as one sequence; decoded when they are asked for."""

    parts: Sequence[Any]
    places: Sequence[tuple[int, int]]  # of each frame: which part, which entry of it

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]  # no slices
        part, entry = self.places[index]
        return self.parts[part][entry]


def join_tracks(tracks: Sequence[Track], instances: Sequence[Instance], rest_s: float) -> Track:
    """Return the tracks of one modality as one, each moved to the start of its instance.

    Entries beyond an instance's end are left out. Arrays need nothing for the rests: `edge.sampling.interpolate`
    goes in a straight line from the last entry to the next one. Of frames the last one stays, and the first one
    of the next recording is shown from the middle of the rest on.
    """
    inside = [
        np.flatnonzero(track.time_s < instance.stop_s - instance.start_s - 1e-6)  # 1.6 - 1.0 is more than 0.6
        for track, instance in zip(tracks, instances, strict=True)
    ]
    times = [i.start_s + track.time_s[kept] for i, track, kept in zip(instances, tracks, inside, strict=True)]
    if all(isinstance(track.values, np.ndarray) for track in tracks):
        values = [np.asarray(track.values)[kept] for track, kept in zip(tracks, inside, strict=True)]
        return Track(np.concatenate(values), np.concatenate(times))
    inside = [np.append(kept[0], kept) for kept in inside]
    times = [np.append(time_s[0] - rest_s / 2, time_s) for time_s in times]
    places = [(part, int(entry)) for part, kept in enumerate(inside) for entry in kept]
    return Track(JoinedFrames([track.values for track in tracks], places), np.concatenate(times))


def join_recordings(
    recordings: Sequence[Recording], indices: Sequence[int], labels: Sequence[str], rest_s: float
) -> ContinuousSequence:
    """Return recordings of one subject as a sequence, in the given order.

    Args:
      recordings: at least one. Each lasts as long as all of its tracks do.
      indices: of the recordings, in the dataset's source.
      labels: names of the actions.
      rest_s: seconds between two recordings, before the first and after the last.
    """
    instances: list[Instance] = []
    now_s = rest_s
    for recording, index in zip(recordings, indices, strict=True):
        stop_s = now_s + common_span(recording.tracks)[1]
        instances.append(Instance(now_s, stop_s, labels[recording.label], recording.name, index))
        now_s = stop_s + rest_s
    tracks = {
        modality: join_tracks([recording.tracks[modality] for recording in recordings], instances, rest_s)
        for modality in recordings[0].tracks
    }
    return ContinuousSequence(recordings[0].subject, now_s, tuple(instances), tracks)


def sequences_of_side(recordings: Recordings, side: str, rest_s: float, seed: int) -> list[ContinuousSequence]:
    """Return a sequence for each subject of a side (train, validation, test), its recordings in a drawn order.

    The order depends on the seed, the subject and the names of the subject's recordings alone.

    Raises:
      HartxError: if the side is empty.
    """
    by_subject: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for index in recordings.indices(side):
        recording = recordings.source[index]
        by_subject[recording.subject].append((recording.name, index))
    if not by_subject:
        raise HartxError(
            f"there are no recordings on the {side} side of this run; give --side={_other_side(recordings)}, "
            "or a run whose protocol leaves some there"
        )
    sequences = []
    for subject, named in sorted(by_subject.items()):
        order = np.random.default_rng([seed, subject]).permutation(len(named))
        indices = [sorted(named)[i][1] for i in order]
        chosen = [recordings.source[index] for index in indices]
        sequences.append(join_recordings(chosen, indices, recordings.labels, rest_s))
    return sequences


def _other_side(recordings: Recordings) -> str:
    return next(side for side in ("test", "validation", "train") if recordings.indices(side))
