"""What a run costs."""

import subprocess
import sys

from hartx.costs import peak_memory_bytes


def test_memory_is_of_the_process_and_not_of_who_started_it(repository):
    ballast = b"\1" * (700 << 20)  # a sweep may be large, too
    command = [sys.executable, "-c", "from hartx.costs import peak_memory_bytes; print(peak_memory_bytes())"]
    peak = int(subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True).stdout)
    assert 2**20 < peak < len(ballast) < peak_memory_bytes()
