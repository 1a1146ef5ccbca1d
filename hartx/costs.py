"""What training a run costs: seconds and memory, added up over its starts, in WORKDIR/costs.json."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from hartx.files import write_json

_FILE = "costs.json"
_STATUS = Path("/proc/self/status")
_NOTHING = {"training_s": 0.0, "peak_memory_bytes": 0}


def peak_memory_bytes() -> int:
    """Return the largest resident memory that this process ever had."""
    if _STATUS.is_file():
        fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024  # it says kB and means KiB
    # Where there is no /proc. It begins at the memory of whoever started the process, a sweep for instance.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def read_costs(workdir: Path) -> dict[str, Any]:
    """Return training_s and peak_memory_bytes of the run in `workdir` so far."""
    path = workdir / _FILE
    return json.loads(path.read_text()) if path.exists() else dict(_NOTHING)


class Stopwatch:
    """Measures from here on what one start of a run costs, on top of the starts before.

    `keep` is called with every checkpoint: what a killed start did after its last one is not counted.
    Memory is that of this process, without worker processes of the data pipeline.
    """

    def __init__(self, workdir: Path) -> None:
        self._workdir = workdir
        self._before = read_costs(workdir)
        self._started = time.perf_counter()

    def keep(self) -> None:
        """Write WORKDIR/costs.json."""
        values = {
            "training_s": round(self._before["training_s"] + time.perf_counter() - self._started, 1),
            "peak_memory_bytes": max(self._before["peak_memory_bytes"], peak_memory_bytes()),
        }
        write_json(self._workdir / _FILE, values)
