"""The recordings that a run was trained and tested on, as clips: for parity, calibration and accuracy."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Protocol

from ml_collections import ConfigDict

from hartx.data import Clip, eval_clips, open_recordings, window_s


@dataclass(frozen=True)
class Entry:
    """A recording that can be loaded as a clip."""

    name: str
    subject: int
    label: int


class Clips(Protocol):
    """Where export takes clips from."""

    def entries(self, side: str) -> list[Entry]:
        """Return what there is on a side, "train" or "test"."""

    def load(self, side: str, names: Sequence[str] | None = None) -> Iterator[Clip]:
        """Yield the clips of a side: those of some recordings, or all of them."""

    def window_s(self) -> float:
        """Return the seconds that one clip spans."""


class RunClips:
    """The clips of a run's own recordings, one centre view of each, as the device would make them."""

    def __init__(self, config: ConfigDict) -> None:
        self._config = config.copy_and_resolve_references()
        self._config.clip.views = 1
        self._recordings = open_recordings(self._config)

    def entries(self, side: str) -> list[Entry]:
        """Return what there is on a side, "train" or "test"."""
        found = [self._recordings.source[index] for index in self._recordings.indices(side)]
        return [Entry(recording.name, recording.subject, recording.label) for recording in found]

    def load(self, side: str, names: Sequence[str] | None = None) -> Iterator[Clip]:
        """Yield the clips of a side: those of some recordings, or all of them."""
        recordings = self._recordings
        if names is not None:
            chosen = set(names)
            kept = tuple(i for i in getattr(recordings.sides, side) if recordings.ids[i].name in chosen)
            sides = dataclasses.replace(recordings.sides, **{side: kept})
            recordings = dataclasses.replace(recordings, sides=sides)
        yield from eval_clips(self._config, side, recordings)

    def window_s(self) -> float:
        """Return the seconds that one clip spans."""
        return window_s(self._config, self._recordings)


def choose_stratified(entries: Sequence[Entry], count: int) -> list[Entry]:
    """Return `count` recordings spread evenly over the classes and, within a class, over the subjects.

    Nothing is drawn at random: the same recordings in any order give the same choice. All of them are
    returned if there are no more than `count`.
    """
    by_class: dict[int, dict[int, list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for entry in sorted(entries, key=lambda entry: entry.name):
        by_class[entry.label][entry.subject].append(entry)
    classes = [_in_turn([subjects[s] for s in sorted(subjects)]) for _, subjects in sorted(by_class.items())]
    return _in_turn(classes)[:count]


def _in_turn(groups: Sequence[Sequence[Entry]]) -> list[Entry]:
    """Return the first of each group, then the second of each, and so on."""
    return [entry for row in zip_longest(*groups) for entry in row if entry is not None]
