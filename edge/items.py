"""Which recordings a command line names: files one by one, or folders whose files belong together by their names."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from edge.drawn import VIDEO_SUFFIX, read_drawn
from edge.errors import EdgeError

VIDEO_SUFFIXES = (".avi", ".mp4", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".3gp")
ARRAY_SUFFIXES = (".npy", ".mat")
SKELETON_SUFFIXES = (*ARRAY_SUFFIXES, ".txt", ".csv")
_ENDINGS = ("_color", "_rgb", "_depth", "_skeleton", "_inertial")


@dataclass(frozen=True)
class Item:
    """The files of one recording."""

    clip: Optional[str]
    skeleton: Optional[str]
    inertial: Optional[str]

    @property
    def title(self) -> str:
        """The files as a heading."""
        return " + ".join(self.files)

    @property
    def files(self) -> List[str]:
        """The files that there are."""
        return [name for name in (self.clip, self.skeleton, self.inertial) if name]

    @property
    def key(self) -> str:
        """What the names of all files of the recording begin with: `a1_s1_t1` of `a1_s1_t1_depth.mat`."""
        return _key(Path(self.files[0]))


def _key(path: Path) -> str:
    ending = next((ending for ending in _ENDINGS if path.stem.endswith(ending)), "")
    return path.stem[: len(path.stem) - len(ending)]


def items_of_folders(
    clips: Optional[str],
    skeletons: Optional[str],
    inertial: Optional[str],
    video_modality: Optional[str],
) -> List[Item]:
    """Return the recordings in folders, in the order of their names.

    Videos that were drawn of others (`edge.drawn`) are none.

    The clips name the recordings, or else the skeletons, or else the inertial samples; a recording that lacks a file
    in one of the other folders goes without it.

    Args:
      clips: folder with videos or depth files, and folders in it; None if there are none.
      skeletons: folder with skeletons.
      inertial: folder with inertial samples.
      video_modality: what the bundle reads: "rgb", "depth" or None.

    Raises:
      EdgeError: if there is no such folder, nothing in it, two files of the same name for one recording, or one file
        for two recordings.
    """
    suffixes = ARRAY_SUFFIXES if video_modality == "depth" else VIDEO_SUFFIXES
    found = [
        _find(clips, suffixes, ("_skeleton", "_inertial")),
        _find(skeletons, SKELETON_SUFFIXES, ("_color", "_rgb", "_depth", "_inertial")),
        _find(inertial, ARRAY_SUFFIXES, ("_color", "_rgb", "_depth", "_skeleton")),
    ]
    leading = next(files for files, folder in zip(found, (clips, skeletons, inertial)) if folder)
    others = [_by_key(files) if files is not leading else {} for files in found]
    items = []
    keys = Counter(map(_key, leading))
    for path in leading:
        key = _key(path)
        if keys[key] > 1 and any(key in other for other in others):
            others_file = next(other[key] for other in others if key in other)
            raise EdgeError(
                f"{keys[key]} recordings are named {key} ({path} is one), and {others_file} can belong to one of them "
                f"alone\n  Give them names of their own, or one by one"
            )
        items.append(Item(*[str(path) if files is leading else other.get(key) for files, other in zip(found, others)]))
    return items


def output_names(items: Sequence[Item]) -> List[str]:
    """Return a name for each recording's own files: its key, behind as many of its folders as tell it from the others.

    Where none does, as of two containers in one folder, its suffix does: `wave_mp4` and `wave_avi`.

    Raises:
      EdgeError: if two have the same name all the same: they are one file.
    """
    names = [item.key for item in items]
    folders = [Path(item.files[0]).absolute().parent.parts[1:] for item in items]
    for depth in range(1, max(map(len, folders), default=0) + 1):
        counts = Counter(names)
        names = [
            name if counts[name] == 1 else "_".join([*parts[-depth:], item.key])
            for name, parts, item in zip(names, folders, items)
        ]
    counts = Counter(names)
    suffixes = [Path(item.files[0]).suffix[1:] for item in items]
    names = [name if counts[name] == 1 else f"{name}_{suffix}" for name, suffix in zip(names, suffixes)]
    first: Dict[str, Item] = {}
    for name, item in zip(names, items):
        if name in first:
            raise EdgeError(
                f"{first[name].title} and {item.title} would both be written to {name}.mp4\n  Give each once"
            )
        first[name] = item
    return names


def _find(folder: Optional[str], suffixes: Sequence[str], not_ending: Sequence[str]) -> List[Path]:
    if folder is None:
        return []
    if not Path(folder).is_dir():
        raise EdgeError(f"{folder} is no folder; when one of the inputs is a folder, all of them must be")
    paths = sorted(
        path for path in Path(folder).rglob("*") if path.suffix.lower() in suffixes and os.path.isfile(str(path))
    )
    drawn = {parent: read_drawn(parent) for parent in {path.parent for path in paths}}
    paths = [path for path in paths if path.suffix != VIDEO_SUFFIX or path.stem not in drawn[path.parent]]
    paths = [path for path in paths if not path.stem.endswith(tuple(not_ending)) and not _is_hidden(path, folder)]
    if not paths:
        raise EdgeError(f"{folder} has no file that could be read; {', '.join(suffixes)} are expected")
    return paths


def _is_hidden(path: Path, folder: str) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)  # ._CLIP.mp4 of a Mac, .Trash/CLIP.mp4


def _by_key(paths: Sequence[Path]) -> Dict[str, str]:
    found: Dict[str, str] = {}
    for path in paths:
        key = _key(path)
        if key in found:
            raise EdgeError(f"{found[key]} and {path} are of the same name; one of them is expected")
        found[key] = str(path)
    return found
