"""PyTorch in an environment and a process of its own, which takes its turn among what is measured here."""

from __future__ import annotations

import json
import subprocess
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.turns import Step

TORCH = "torch==2.13.0"


@contextmanager
def torch_worker(python: Path, setting: dict[str, Any]) -> Iterator[Step]:
    """Give a step of `torch_resnet3d.py` with this setting; its process sleeps between the steps."""
    worker = Path(__file__).with_name("torch_resnet3d.py")
    command = [python, worker, json.dumps(setting)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None

        def step() -> float:
            print("step", file=process.stdin, flush=True)
            answer = process.stdout.readline()
            if not answer:
                raise SystemExit("error: the PyTorch process ended; its message is above")
            return float(answer)

        yield step
        process.stdin.close()


def torch_environment(folder: Path) -> Path:
    """Return the interpreter of an environment with PyTorch in it, which is made if it is not there yet."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", TORCH, "numpy"], check=True)
    return python
