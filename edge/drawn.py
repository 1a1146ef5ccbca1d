"""What was drawn into a folder of results, and of which recordings: so that it is known from what others put there.

A line is written before anything is drawn and none is ever removed, so it also holds where the process was killed, the
report was removed, or the folder was moved.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict

from edge.files import written

DRAWN_FILE = ".drawn.jsonl"
VIDEO_SUFFIX, TIMELINE_SUFFIX = ".mp4", ".png"


def read_drawn(folder: Path) -> Dict[str, str]:
    """Return the names of what was drawn into a folder, each with what tells its recording from others."""
    drawn: Dict[str, str] = {}
    path = folder / DRAWN_FILE
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            values = json.loads(line)
            drawn[values["name"]] = values["of"]
        except (ValueError, KeyError, TypeError):  # half a line: the process was killed while it wrote
            continue
    return drawn


def note_drawn(folder: Path, name: str, of: str) -> None:
    """Note that something is about to be drawn.

    Raises:
      EdgeError: if that cannot be written.
    """
    path = folder / DRAWN_FILE
    with written(path), open(str(path), "a", encoding="utf-8") as file:
        file.write(json.dumps({"name": name, "of": of}) + "\n")
