"""Python in a process of its own: a package that crashes there is only reported, and memory starts from nothing.

Standard library only.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional


def run_python(*arguments: str, timeout_s: Optional[float] = None) -> Any:
    """Return the finished process of this Python with some arguments, which finds `edge` wherever it is started.

    Raises:
      subprocess.TimeoutExpired: if it takes longer than `timeout_s`.
    """
    above = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [above, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, *arguments]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=environment)


def last_words(done: Any) -> str:
    """Return the last line that a process wrote to stderr, or its exit code if it wrote none."""
    return (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
