"""The report of many predictions: a file of JSON lines that a later run goes on with.

The first line says which bundle it is of; each other line is one recording. A line is there as soon as it is known,
so a run that was stopped or killed has lost at most the recording it was at. The next run keeps the predictions
whose files have not changed and makes the others that it is given, those that failed among them, again. Rows of
recordings that it is not given stay.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from edge.bundle import BUNDLE_FILE, sha256_of
from edge.drawn import TIMELINE_SUFFIX, VIDEO_SUFFIX, note_drawn, read_drawn
from edge.errors import EdgeError
from edge.files import replace_text, written
from edge.items import Item
from edge.recognizer import ActionRecognizer

REPORT_FILE = "report.jsonl"
_DRAWN = ("video", "timeline")
NOT_SHOWN = ("places", "files")  # of a row: what only a later run needs


class Report:
    """The rows of a report, in a folder.

    Args:
      folder: made if it is not there.
      recognizer: whose bundle, precision and engine the report is of.
      settings: options that change what is predicted or written; a report of others is not gone on with.
      items: the recordings of this run.

    Raises:
      EdgeError: if the folder cannot be written, or holds a report of another bundle or with other settings.
    """

    def __init__(
        self, folder: Path, recognizer: ActionRecognizer, settings: Mapping[str, Any], items: Sequence[Item]
    ) -> None:
        self._path = folder / REPORT_FILE
        head = {
            "bundle_sha256": sha256_of(recognizer.bundle.path / BUNDLE_FILE),
            "model": recognizer.bundle.model,
            "precision": recognizer.precision,
            "engine": recognizer.engine.name,
            "settings": dict(settings),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            given = {_name(item): item for item in items}
            there = self._read(head)
            self._drawn = {Path(row[key]).stem: name for name, row in there.items() for key in _DRAWN if row.get(key)}
            self._drawn.update(read_drawn(folder))
            self._rows = {}
            for name, row in there.items():
                if name not in given:
                    self._rows[name] = row
                elif self._holds(row, given[name]):
                    self._rows[name] = {**row, **self._drawn_here(row)}
            self._rewrite(head)
            self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115  # closed by close
        except OSError as error:
            where = folder if folder.exists() and not folder.is_dir() else self._path
            raise EdgeError(f"{where} cannot be written: {_reason(where, error)}") from None

    def _read(self, head: Mapping[str, Any]) -> Dict[str, Dict[str, Any]]:
        """Return the rows that are there, by recording."""
        if not self._path.is_file():
            return {}
        lines = [_parse(line) for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines()]
        found = lines[0] if lines else None
        if found is None or "bundle_sha256" not in found:
            raise EdgeError(f"{self._path} is no report of this command\n  Give another --output, or remove the file")
        different = [name for name in head if found.get(name) != head[name]]
        if different:
            was, now = found.get(different[0]), head[different[0]]
            raise EdgeError(
                f"{self._path} was made with {_difference(different[0], was, now)}\n"
                f"  Give another --output, or remove the file"
            )
        return {_name_of_row(row): row for row in lines[1:] if row is not None}

    def _holds(self, row: Mapping[str, Any], item: Item) -> bool:
        """Return whether a row is a prediction of a recording as its files are, and what was drawn is still there."""
        drawn = self._drawn_here(row).values()
        return "error" not in row and row.get("files") == stamps(item) and all(map(os.path.exists, drawn))

    def _drawn_here(self, row: Mapping[str, Any]) -> Dict[str, str]:
        """Return the files that were drawn of a recording where they are by now, as this run writes their names."""
        return {key: str(self._path.with_name(Path(row[key]).name)) for key in _DRAWN if row.get(key)}

    def _rewrite(self, head: Mapping[str, Any]) -> None:
        """Leave out half a last line and the rows that are made again."""
        lines = [json.dumps(row) for row in (head, *self._rows.values())]
        replace_text(self._path, "\n".join(lines) + "\n")

    def done(self, item: Item) -> Optional[Dict[str, Any]]:
        """Return the row of a recording that was made before."""
        return self._rows.get(_name(item))

    def start_drawing(self, item: Item, name: str) -> None:
        """Note what is about to be drawn, after a check that it takes the place of nothing else.

        Args:
          item: the recording.
          name: of its own files, in the report's folder.

        Raises:
          EdgeError: if a file is there that shows another recording, or that was not drawn here at all.
        """
        folder, of, shows = self._path.parent, _name(item), self._drawn.get(name)
        for path in (folder / (name + suffix) for suffix in (VIDEO_SUFFIX, TIMELINE_SUFFIX)):
            if path.exists() and shows is None:
                raise EdgeError(f"{path} is there already and was not drawn here; give another --output, or move it")
            if path.exists() and shows != of:
                raise EdgeError(f"{path} shows another recording; give another --output, or move it")
        if shows != of:
            note_drawn(folder, name, of)
            self._drawn[name] = of

    def add(self, row: Mapping[str, Any]) -> None:
        """Write a row; it is there at once.

        Raises:
          EdgeError: if that fails, as on a full disk.
        """
        with written(self._path):
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file; errors are those of `add`."""
        with written(self._path):
            self._file.close()


def stamps(item: Item) -> List[List[int]]:
    """Return size and time of change of each file of a recording, by which a changed one is noticed."""
    found = [os.stat(name) if os.path.exists(name) else None for name in item.files]
    return [[entry.st_size, entry.st_mtime_ns] if entry else [] for entry in found]


def places(item: Item) -> List[Optional[str]]:
    """Return where clip, skeleton and inertial file of a recording are, wherever the command was started.

    Links are followed to the folder of a file, not from its own name to another: what it leads to may change.
    """
    return [name and _place(name) for name in (item.clip, item.skeleton, item.inertial)]


def _place(name: str) -> str:
    return os.path.join(os.path.realpath(os.path.dirname(name) or os.curdir), os.path.basename(name))


def _name(item: Item) -> str:
    """Return what tells one recording from another: its files, however they were written."""
    return json.dumps(places(item))


def _name_of_row(row: Mapping[str, Any]) -> str:
    """Return `_name` of the recording of a row; one that does not say where the files are is seen from here."""
    return (
        json.dumps(row["places"]) if "places" in row else _name(Item(*map(row.get, ("clip", "skeleton", "inertial"))))
    )


def _parse(line: str) -> Optional[Dict[str, Any]]:
    try:
        values = json.loads(line)
    except ValueError:  # half a line: the process was killed while it wrote
        return None
    return values if isinstance(values, dict) else None


def _difference(name: str, was: Any, now: Any) -> str:
    """Return what is different between two heads; of settings, those that are."""
    if not (isinstance(was, dict) and isinstance(now, dict)):
        return f"another {name}: {was}, now {now}"
    changed = sorted(key for key in {*was, *now} if was.get(key) != now.get(key))
    return f"other {name}: " + ", ".join(f"{key} {was.get(key)}, now {now.get(key)}" for key in changed)


def _reason(path: Path, error: OSError) -> str:
    return "it is a file, no folder" if path.is_file() and isinstance(error, FileExistsError) else str(error.strerror)
