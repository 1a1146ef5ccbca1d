"""Arrays that take long to compute, kept one by one in a file, so that what was stopped goes on."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hartx.files import whole

_KEY = "computed from"


class Resumable:
    """What was computed so far, by name."""

    def __init__(self, path: Path, source: Any) -> None:
        """Read what a file has; one of another source, or that is damaged, counts for nothing.

        Args:
          path: the file, .npz; it need not be there.
          source: all that the arrays are computed from, as JSON has it.
        """
        self._path = path
        self._key = np.array(json.dumps(source, sort_keys=True))
        self._arrays: dict[str, np.ndarray] = {}
        try:
            with path.open("rb") as file, np.load(file) as there:
                if there[_KEY] == self._key:
                    self._arrays = {name: there[name] for name in there.files if name != _KEY}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            pass

    def __contains__(self, name: str) -> bool:
        """Return whether an array is there."""
        return name in self._arrays

    def get(self, name: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """Return an array, computed and kept if it is not there."""
        if name not in self:
            self._arrays[name] = compute()
            with whole(self._path) as path:
                np.savez(path, **{_KEY: self._key, **self._arrays})  # type: ignore[arg-type]
        return self._arrays[name]
