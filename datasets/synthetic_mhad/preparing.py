"""Many recordings: written in the authors' raw layout, or prepared for training."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from datasets import utd_mhad
from datasets.errors import DatasetError
from datasets.synthetic_mhad.motions import MOTIONS
from datasets.synthetic_mhad.recording import Task, write_recording
from datasets.utd_mhad import SUBJECTS, RecordingId
from datasets.workers import Workers, num_cores

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

# Raise it with every change of what the recordings show, so that no dataset of before is taken for one of now.
VERSION = 1

FULL_SIZE = (480, 640)
FOLDERS = ("RGB", "Depth", "Skeleton", "Inertial")
MIN_SIDE = 32
_PREPARED = "prepared.json"


@dataclass(frozen=True)
class Selection:
    """Which recordings: subjects, actions, trials 1..trials, colour size (height, width), seed."""

    subjects: tuple[int, ...]
    actions: tuple[int, ...]
    trials: int
    size: tuple[int, int]
    seed: int

    @property
    def ids(self) -> list[RecordingId]:
        """The recordings in the authors' order."""
        trials = range(1, self.trials + 1)
        return [RecordingId(*key) for key in itertools.product(self.actions, self.subjects, trials)]


def select(subjects: Iterable[int], actions: Iterable[int], trials: int, size: tuple[int, int], seed: int) -> Selection:
    """Return the selection.

    Raises:
      DatasetError: for a subject, action, number of trials, size or seed that cannot be.
    """
    subjects, actions = tuple(sorted(set(subjects))), tuple(sorted(set(actions)))
    for what, given, known in (("subjects", subjects, SUBJECTS), ("actions", actions, range(1, len(MOTIONS) + 1))):
        unknown = [number for number in given if number not in known]
        if unknown or not given:
            raise DatasetError(f"{what} {unknown or 'none'} given; some of {known[0]}..{known[-1]} expected")
    if trials < 1:
        raise DatasetError(f"trials {trials} given; at least 1 expected")
    if seed < 0:
        raise DatasetError(f"seed {seed} given; 0 or more expected")
    if len(size) != 2 or min(size) < MIN_SIDE or any(side % 4 for side in size):
        raise DatasetError(f"size {size} given; height and width of at least {MIN_SIDE}, multiples of 4, expected")
    if 4 * size[0] < 3 * size[1]:
        raise DatasetError(
            f"size {size} given; height at least 3/4 of the width expected, or the depth camera cuts off the feet"
        )
    return Selection(subjects, actions, trials, (size[0], size[1]), seed)


def write(
    raw_dir: str | Path,
    *,
    subjects: Iterable[int] = SUBJECTS,
    actions: Iterable[int] = range(1, len(MOTIONS) + 1),
    trials: int = 4,
    size: tuple[int, int] = FULL_SIZE,
    seed: int = 0,
    progress: bool = True,
    num_workers: int | None = None,
) -> None:
    """Write synthetic recordings in the authors' raw layout: RGB, Depth, Skeleton and Inertial folders.

    The same arguments give the same bytes, on any number of workers. A recording shows the same motion at
    any size and whichever others are written with it.

    Args:
      raw_dir: a folder that is new, or has none of these four in it.
      subjects: some of 1 to 8.
      actions: some of 1 to 27.
      trials: number of trials of each action by each subject.
      size: (height, width) of the colour pictures; the depth pictures are half of it.
      seed: of subjects, motions and rooms.
      progress: whether to draw a progress bar.
      num_workers: number of processes; 1 works in this process, None takes one a core.

    Raises:
      DatasetError: for arguments that cannot be, a folder that is in use, or a file that cannot be written.
    """
    selection = select(subjects, actions, trials, size, seed)
    raw_dir = Path(raw_dir).expanduser()
    used = [name for name in FOLDERS if (raw_dir / name).exists()]
    if used:
        raise DatasetError(f"raw_dir {raw_dir} already has {', '.join(used)}; give a new folder or remove them")
    tasks = [Task(key, raw_dir, selection.size, selection.seed) for key in selection.ids]
    try:
        for name in FOLDERS:
            (raw_dir / name).mkdir(parents=True)
        with Workers(num_workers or num_cores(), progress) as workers:
            for _ in workers.map("Recording", write_recording, tasks):
                pass
    except OSError as error:
        raise DatasetError(f"cannot write the recordings to {raw_dir}: {error}") from error


def prepare(
    data_dir: str | Path,
    *,
    subjects: Iterable[int] = SUBJECTS,
    actions: Iterable[int] = range(1, len(MOTIONS) + 1),
    trials: int = 4,
    size: tuple[int, int] = FULL_SIZE,
    seed: int = 0,
    progress: bool = True,
    num_workers: int | None = None,
) -> tfds.core.DatasetBuilder:
    """Return the prepared dataset of synthetic recordings; makes it where that has not been done yet.

    The raw recordings go through the builder of `datasets.utd_mhad`, like the real ones, and are removed
    afterwards.

    Args:
      data_dir: where prepared datasets are kept.
      subjects, actions, trials, size, seed, progress, num_workers: as for `write`.

    Returns:
      A builder to read from: `builder.as_data_source("s1+s3")`, one split a subject.

    Raises:
      DatasetError: for arguments that cannot be, or a full disk.
    """
    # TFDS takes seconds to load; whoever only writes raw recordings does without.
    import tensorflow_datasets as tfds

    from datasets.locking import locked
    from datasets.utd_mhad.utd_mhad_dataset_builder import Builder

    selection = select(subjects, actions, trials, size, seed)
    folder = Path(data_dir).expanduser() / "synthetic_mhad" / _fingerprint(selection, str(Builder.VERSION))
    try:
        with locked(folder):
            prepared = _read_prepared(folder)
            if prepared is None:
                prepared = _make(folder, selection, progress, num_workers)
                _note_prepared(folder, prepared)
    except OSError as error:
        raise DatasetError(f"cannot prepare the dataset in {folder}: {error}") from error
    return tfds.builder_from_directory(prepared)


def _make(folder: Path, selection: Selection, progress: bool, num_workers: int | None) -> Path:
    """Write and convert the recordings; return the prepared dataset's folder, below `folder`."""
    raw_dir = folder / "raw"
    shutil.rmtree(raw_dir, ignore_errors=True)  # of a run that was killed
    try:
        write(raw_dir, **vars(selection), progress=progress, num_workers=num_workers)
        builder = utd_mhad.prepare(
            raw_dir, folder, expected=frozenset(selection.ids), num_workers=num_workers, progress=progress
        )
    finally:
        shutil.rmtree(raw_dir, ignore_errors=True)
    return Path(builder.data_path)


def _fingerprint(selection: Selection, builder_version: str) -> str:
    parts = [VERSION, builder_version, *(str(value) for value in vars(selection).values())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def _read_prepared(folder: Path) -> Path | None:
    """Return the prepared dataset's folder that was noted down, None where there is none."""
    note = folder / _PREPARED
    if not note.exists():
        return None
    prepared = folder / json.loads(note.read_text())["path"]
    return prepared if prepared.exists() else None


def _note_prepared(folder: Path, prepared: Path) -> None:
    unfinished = folder / f".{_PREPARED}.part"
    unfinished.write_text(json.dumps({"path": os.path.relpath(prepared, folder)}))
    os.replace(unfinished, folder / _PREPARED)
