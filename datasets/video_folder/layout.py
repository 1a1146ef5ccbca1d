"""Which clips a folder holds, what they show, and who is in them: its folders say it.

wave/one.mp4          CLASS/CLIP
wave/anna/one.mp4     CLASS/PERSON/CLIP, all of them or none
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from datasets.errors import DatasetError

ENDINGS = (".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv")
_LAYOUT = "CLASS/CLIP, or CLASS/PERSON/CLIP for all of them"
_CLASS_CLIP, _CLASS_PERSON_CLIP = 2, 3  # parts of a clip's path
_TOO_LARGE = 2**31


@dataclass(frozen=True)
class Clip:
    """One video file.

    Attributes:
      path: the file.
      name: where it lies in the folder, such as "wave/anna/one.mp4".
      action: index of its class.
      subject: number of the person in it, from 1; 0 if the folders do not tell.
    """

    path: Path
    name: str
    action: int
    subject: int


@dataclass(frozen=True)
class Listing:
    """What a folder of clips holds.

    Attributes:
      clips: in the order of their names.
      actions: the classes.
      people: the name of each person's folder, by the person's number; empty if the folders do not tell.
      fingerprint: tells apart folders of other content, by the files' names and sizes.
    """

    clips: tuple[Clip, ...]
    actions: tuple[str, ...]
    people: dict[int, str]
    fingerprint: str


def scan(raw_dir: Path) -> Listing:
    """Return what a folder of clips holds. Files that are no videos by their ending are passed over.

    Raises:
      DatasetError: if there is no such folder, or clips do not lie in it as they should.
      OSError: if a folder cannot be read.
    """
    if not raw_dir.is_dir():
        kind = "is not a folder" if raw_dir.exists() else "does not exist"
        raise DatasetError(f"raw_dir {raw_dir} {kind}; give the folder with a folder of clips for each class")
    names = sorted(_videos(raw_dir))
    if not names:
        raise DatasetError(f"raw_dir {raw_dir} holds no clips\n  expected {_LAYOUT}, with one of {', '.join(ENDINGS)}")
    with_people = _depth(raw_dir, names) == _CLASS_PERSON_CLIP
    actions = tuple(sorted({name.parts[0] for name in names}))
    if len(actions) < 2:
        raise DatasetError(
            f"raw_dir {raw_dir} holds clips of one class, {actions[0]}; two or more are expected, "
            "each in a folder named after it"
        )
    people = _numbered({name.parts[1] for name in names}) if with_people else {}
    number_of = {person: number for number, person in people.items()}
    clips = tuple(
        Clip(
            path=raw_dir / name,
            name=str(name),
            action=actions.index(name.parts[0]),
            subject=number_of[name.parts[1]] if with_people else 0,
        )
        for name in names
    )
    lines = "\n".join(f"{clip.name} {clip.path.stat().st_size}" for clip in clips)
    return Listing(clips, actions, people, hashlib.sha256(lines.encode()).hexdigest()[:12])


def _videos(raw_dir: Path) -> Iterator[PurePosixPath]:
    visited = set()
    for folder, folders, files in os.walk(raw_dir, onerror=_raise, followlinks=True):
        real = os.path.realpath(folder)
        folders[:] = [] if real in visited else [name for name in folders if not name.startswith(".")]
        for name in files if real not in visited else ():
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                yield PurePosixPath(_told(Path(folder, name).relative_to(raw_dir).as_posix()))
        visited.add(real)


def _told(name: str) -> str:
    """Return a name that can be told to others, which is all that UTF-8 can write."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DatasetError(f"the name of {name!r} is not in UTF-8; rename it") from None
    return name


def _raise(error: OSError) -> None:
    raise error  # os.walk passes over folders that cannot be read, and their clips would be missing


def _depth(raw_dir: Path, names: Collection[PurePosixPath]) -> int:
    """Return how many parts the names have, which is the same for all.

    Raises:
      DatasetError: if it is not, or there are too many or too few.
    """
    example = {len(name.parts): str(name) for name in names}
    if len(example) > 1 or not set(example) <= {_CLASS_CLIP, _CLASS_PERSON_CLIP}:
        found = " and ".join(example[depth] for depth in sorted(example))
        raise DatasetError(f"raw_dir {raw_dir} holds {found}; {_LAYOUT} is expected")
    return next(iter(example))


def _numbered(people: Collection[str]) -> dict[int, str]:
    """Return the people by number: that of their names where each has one of its own, else in the alphabet's order.

    A telephone number or a date to the second is none: prepared recordings hold people as int32.
    """
    numbers = [re.findall(r"\d+", person) for person in sorted(people)]
    own = [int(found[0]) for found in numbers if len(found) == 1]
    if len(own) < len(people) or len(set(own)) < len(people) or not (min(own) >= 1 and max(own) < _TOO_LARGE):
        own = list(range(1, len(people) + 1))
    return dict(zip(own, sorted(people), strict=True))
