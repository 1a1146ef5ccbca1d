"""The recordings that a run was trained and tested on, as clips: for parity, calibration and accuracy."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Protocol

from export.errors import ExportError
from hartx.data import Clip, eval_clips, open_recordings, window_s
from hartx.run import Run, check_testable, fingerprint, read_record

# Where scales may come from. The validation subject of a run is one of those whom the protocol gives to training.
CALIBRATION_SIDES = ("train", "validation")


@dataclass(frozen=True)
class Entry:
    """A recording that can be loaded as a clip."""

    name: str
    subject: int
    label: int


class Clips(Protocol):
    """Where export takes clips from."""

    def entries(self, side: str) -> list[Entry]:
        """Return what there is on a side, "train", "validation" or "test"."""

    def load(self, side: str, names: Sequence[str] | None = None) -> Iterator[Clip]:
        """Yield the clips of a side: those of some recordings, or all of them."""

    def window_s(self) -> float:
        """Return the seconds that one clip spans."""


class RunClips:
    """The clips of a run's own recordings, one centre view of each, as the device would make them.

    Raises:
      ExportError: if the run was trained on others than those that are there now.
      HartxError: if they cannot be read, or are of other actions.
      datasets.errors.DatasetError: if they cannot be prepared.
    """

    def __init__(self, run: Run) -> None:
        self._config = run.config.copy_and_resolve_references()
        self._config.clip.views = 1
        self._recordings = open_recordings(self._config)
        check_trained_on(run.workdir, self._recordings.names("train"))
        check_testable(run.workdir, self._config, self._recordings)  # the order of the labels is that of the outputs
        self._entries: dict[str, list[Entry]] = {}  # labels are in the recordings, which may be slow to read

    def entries(self, side: str) -> list[Entry]:
        """Return what there is on a side, "train", "validation" or "test"."""
        if side not in self._entries:
            found = (self._recordings.source[index] for index in self._recordings.indices(side))
            self._entries[side] = [Entry(recording.name, recording.subject, recording.label) for recording in found]
        return list(self._entries[side])

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


def check_trained_on(workdir: Path, names: Sequence[str]) -> None:
    """Check that the recordings of the training side are those that a run was trained on.

    With some of them gone, scales would come from the others, and a protocol that draws would draw anew and put
    recordings that the run is tested on among those it was trained on.

    Args:
      workdir: the run, whose `run.json` has the hash of their names.
      names: those of the training side, in its order.

    Raises:
      ExportError: if they are others.
    """
    if fingerprint(names) != read_record(workdir)["train_recordings"]:
        raise ExportError(
            f"the {len(names)} training recordings found are not those that the run in {workdir} was trained on: "
            "some are missing, or there are more\n"
            "  Put the recordings of config.dataset.raw_dir back as they were"
        )


def load_for_calibration(clips: Clips, side: str, chosen: Sequence[Entry]) -> Iterator[Clip]:
    """Yield the clips of chosen recordings, all of them and nothing else, never one of the test side.

    Raises:
      ExportError: if one of them belongs to the test side, is not on `side`, or has no clip.
    """
    if side not in CALIBRATION_SIDES:
        raise ExportError(
            f"clips of the {side} side were asked for; calibration takes {' or '.join(CALIBRATION_SIDES)}"
        )
    test, there = ({entry.name for entry in clips.entries(s)} for s in ("test", side))
    wanted = {entry.name for entry in chosen}
    if tested := sorted(wanted & test):
        raise ExportError(f"{_some(tested)} on the test side; calibration clips must come from training subjects")
    if unknown := sorted(wanted - there):
        raise ExportError(f"{_some(unknown)} not among the recordings of the {side} side")
    missing = set(wanted)
    for clip in clips.load(side, sorted(wanted)):
        if clip.name not in wanted:
            raise ExportError(f"recording {clip.name} was read for calibration without being chosen")
        missing.discard(clip.name)
        yield clip
    if missing:
        raise ExportError(
            f"calibration clips are missing: {_some(sorted(missing))} chosen but cannot be loaded\n"
            "  Put the recordings of config.dataset.raw_dir back as they were"
        )


def _some(names: Sequence[str]) -> str:
    """Return the first names and how many more there are, with a verb."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more} {'are' if len(names) > 1 else 'is'}"


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
