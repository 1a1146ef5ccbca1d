"""Which raw files are there, and whether they are the ones that should be.

The authors ship four folders, each as a zip too. People unpack them in all ways, so files are known by
their names alone: folders may be nested, named or cased anyhow, and what is not unpacked is read from
the zips.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import zipfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from datasets.errors import DatasetError
from datasets.utd_mhad.recordings import MODALITIES, NAME_PATTERN, FileName, RecordingId, parse_name

_RAW_ENDINGS = (".avi", ".mat")
_RECORDING_LIKE = re.compile(r"a\d+_s\d+", re.IGNORECASE)


@functools.lru_cache(maxsize=8)
def _open_archive(path: Path) -> zipfile.ZipFile:
    # Kept open: reading the directory of a zip of 861 files costs 10 ms, as much as reading one of them.
    return zipfile.ZipFile(path)


@dataclass(frozen=True)
class RawFile:
    """One file of the raw data, in a folder or in a zip.

    Attributes:
      path: the file, or the zip that holds it.
      member: its name in the zip, "" for a file in a folder.
      label: what people are shown, relative to the raw folder.
      size_bytes: its size, unpacked.
    """

    path: Path
    member: str
    label: str
    size_bytes: int

    @property
    def name(self) -> str:
        """The file's own name, without folders."""
        return PurePosixPath(self.member).name if self.member else self.path.name

    def read(self) -> bytes:
        """Return the content.

        Raises:
          OSError, zipfile.BadZipFile, zlib.error: if it cannot be read or fails its checksum.
        """
        return _open_archive(self.path).read(self.member) if self.member else self.path.read_bytes()


@dataclass(frozen=True)
class Recording:
    """One recording and the raw file of each of its modalities."""

    id: RecordingId
    files: dict[str, RawFile]


@dataclass(frozen=True)
class Problem:
    """What is wrong with one raw file."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True)
class Inventory:
    """What a raw folder holds.

    Attributes:
      raw_dir: the folder.
      recordings: what was found, in order.
      problems: files that are missing, unexpected or there twice, and zips that cannot be opened. Whether
        a file's content is sound is not known yet.
      absent: subjects and modalities of which nothing is there, one sentence each; that is no fault.
      fingerprint: tells apart raw folders of other content, by the files' names and sizes. The same
        files in folders and in zips have the same fingerprint.
    """

    raw_dir: Path
    recordings: tuple[Recording, ...]
    problems: tuple[Problem, ...]
    absent: tuple[str, ...]
    fingerprint: str


def scan(raw_dir: Path, expected: Collection[RecordingId]) -> Inventory:
    """Return what a raw folder holds.

    Args:
      raw_dir: folder with the authors' folders or zips, at any depth.
      expected: the recordings that there are; a modality of a subject is to be complete or absent.

    Raises:
      DatasetError: if there is no such folder or no recording in it.
      OSError: if a folder cannot be read.
    """
    if not raw_dir.is_dir():
        kind = "is not a folder" if raw_dir.exists() else "does not exist"
        raise DatasetError(f"raw_dir {raw_dir} {kind}; give the folder with RGB, Depth, Skeleton or Inertial")
    problems: list[Problem] = []
    files = _all_files(raw_dir, problems)
    recordings = _sort_files(files, expected, problems)
    if not recordings:
        raise DatasetError(
            f"raw_dir {raw_dir} holds no recordings\n"
            f"  expected files named {NAME_PATTERN}\n"
            "  in folders or in the authors' zips (RGB.zip, Depth.zip, Skeleton.zip, Inertial.zip)\n"
            "  for clips of your own, a folder a class: --config.dataset.name=video_folder"
            + "".join(f"\n  {problem}" for problem in problems)
        )
    found = {(key.subject, modality) for key, files in recordings.items() for modality in files}
    problems += _missing(recordings, expected, found)
    return Inventory(
        raw_dir=raw_dir,
        recordings=tuple(Recording(key, recordings[key]) for key in sorted(recordings)),
        problems=tuple(problems),
        absent=tuple(_absent(expected, found)),
        fingerprint=_fingerprint(recordings, problems),
    )


# --- finding the files ----------------------------------------------------------------------------


def _all_files(raw_dir: Path, problems: list[Problem]) -> list[RawFile]:
    loose = list(_walk(raw_dir))
    unpacked = {name.modality for file in loose if (name := parse_name(file.name))}
    packed = []
    for archive in (file for file in loose if file.path.suffix.lower() == ".zip"):
        try:
            members = _members(archive)
        except (zipfile.BadZipFile, OSError) as error:
            problems.append(Problem(archive.label, f"is not a whole zip file ({error})"))
            continue
        names = [parse_name(member.name) for member in members]
        if any(names):  # otherwise it is the authors' sample code or something of the user's
            # A zip that was unpacked beside itself is not a second copy.
            packed += [
                member
                for member, name in zip(members, names, strict=True)
                if name is None or name.modality not in unpacked
            ]
    return loose + packed


def _walk(raw_dir: Path) -> Iterator[RawFile]:
    """Yield the files below a folder, in order; links to folders are followed, each folder once."""
    visited = set()
    for folder, folders, names in os.walk(raw_dir, onerror=_raise, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not _is_clutter(name))
        for name in sorted(name for name in names if not _is_clutter(name)):
            path = Path(folder, name)
            if path.is_file():
                yield RawFile(path, "", path.relative_to(raw_dir).as_posix(), path.stat().st_size)


def _raise(error: OSError) -> None:
    raise error  # os.walk passes over folders that cannot be read, and their files would count as missing


def _members(archive: RawFile) -> list[RawFile]:
    with zipfile.ZipFile(archive.path) as opened:
        return [
            RawFile(archive.path, info.filename, f"{archive.label}:{info.filename}", info.file_size)
            for info in sorted(opened.infolist(), key=lambda info: info.filename)
            if not info.is_dir() and not any(_is_clutter(p) for p in PurePosixPath(info.filename).parts)
        ]


def _is_clutter(name: str) -> bool:
    """Return whether it is what desktops leave behind: .DS_Store, ._a1_s1_t1_depth.mat, __MACOSX."""
    return name.startswith(".") or name == "__MACOSX"


# --- judging them ---------------------------------------------------------------------------------


def _sort_files(
    files: Iterable[RawFile], expected: Collection[RecordingId], problems: list[Problem]
) -> dict[RecordingId, dict[str, RawFile]]:
    recordings: dict[RecordingId, dict[str, RawFile]] = defaultdict(dict)
    for file in files:
        name = parse_name(file.name)
        if name is None:
            if file.name.lower().endswith(_RAW_ENDINGS) or _RECORDING_LIKE.match(file.name):
                problems.append(Problem(file.label, f"is unexpected, not named {NAME_PATTERN}"))
        elif name.recording not in expected:
            problems.append(Problem(file.label, _why_unexpected(name, expected)))
        elif (first := recordings[name.recording].setdefault(name.modality, file)) is not file:
            problems.append(Problem(file.label, f"is a duplicate of {first.label}"))
    return recordings


def _why_unexpected(name: FileName, expected: Collection[RecordingId]) -> str:
    for field in RecordingId._fields:
        known = sorted({getattr(recording, field) for recording in expected})
        if getattr(name.recording, field) not in known:
            return f"is unexpected, {field} {getattr(name.recording, field)} is not in {known[0]}..{known[-1]}"
    return f"is unexpected, there is no recording {name.recording.name}"


def _missing(
    recordings: dict[RecordingId, dict[str, RawFile]],
    expected: Collection[RecordingId],
    found: Collection[tuple[int, str]],
) -> Iterator[Problem]:
    for key in sorted(expected):
        for modality in MODALITIES:
            if (key.subject, modality) in found and modality not in recordings.get(key, {}):
                yield Problem(
                    f"{key.name} {modality}",
                    f"is missing, other {modality} of subject {key.subject} is there",
                )


def _absent(expected: Collection[RecordingId], found: Collection[tuple[int, str]]) -> Iterator[str]:
    subjects = sorted({key.subject for key in expected})
    there = [s for s in subjects if any((s, modality) in found for modality in MODALITIES)]
    if len(there) < len(subjects):
        yield f"nothing of subject {_listed(s for s in subjects if s not in there)}"
    for modality in MODALITIES:
        lacking = [s for s in there if (s, modality) not in found]
        if lacking == there:
            yield f"no {modality}"
        elif lacking:
            yield f"no {modality} of subject {_listed(lacking)}"


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _fingerprint(recordings: dict[RecordingId, dict[str, RawFile]], problems: Iterable[Problem]) -> str:
    lines = [
        f"{key.name} {modality} {file.name.lower()} {file.size_bytes}"
        for key, files in recordings.items()
        for modality, file in files.items()
    ]
    lines += map(str, problems)
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:12]
