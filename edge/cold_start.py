"""What a bundle costs before its first answer, measured in a process of its own. `edge.bench` starts it.

    python -m edge.cold_start '{"bundle": "bundles/a", "engine": "openvino", "precision": "int8", "started_s": ...}'

Prints one line of JSON. Nothing but the standard library is imported before the clock runs.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Optional

from edge.errors import EdgeError
from edge.process import last_words, run_python

if TYPE_CHECKING:
    from edge.engines import EngineOptions
    from edge.engines.choice import Choice
    from edge.measure import InputChoice

_STATUS = Path("/proc/self/status")
_PEAK_FIELD = "VmHWM:"


@dataclass(frozen=True)
class ColdStart:
    """One engine and precision in a fresh process.

    Attributes:
      load_ms: importing edge, the engine and all they need, checking the bundle, loading the model.
      first_prediction_ms: the first prediction, with no warm-up before it.
      cold_start_ms: from the start of the process to the result of the first prediction.
      peak_memory_bytes: the largest resident memory of that process; None where the system does not tell.
    """

    load_ms: float
    first_prediction_ms: float
    cold_start_ms: float
    peak_memory_bytes: Optional[int]


def measure_cold_start(path: str, choice: Choice, options: EngineOptions, inputs: InputChoice) -> ColdStart:
    """Return what one engine and precision cost in a fresh process.

    Args:
      path: the bundle's folder.
      choice: the engine and the precision.
      options: threads and CPUs.
      inputs: what is predicted.

    Raises:
      EdgeError: if the process fails, with what it said last.
    """
    order = {
        "bundle": str(path),
        "engine": choice.entry.name,
        "precision": choice.precision,
        "options": asdict(options),
        "inputs": asdict(inputs),
        "started_s": time.time(),
    }
    done = run_python("-m", "edge.cold_start", json.dumps(order))
    if done.returncode:
        engine = f"engine {choice.entry.name!r}, precision {choice.precision!r}"
        raise EdgeError(f"{engine} fails in a new process: {last_words(done)}")
    return ColdStart(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure what the command line says and print it."""
    order = json.loads(sys.argv[1])
    try:
        print(json.dumps(asdict(_measure(order))))
    except EdgeError as error:
        sys.exit(str(error).splitlines()[0])  # the last words that the process which asked will tell


def _measure(order: Dict[str, Any]) -> ColdStart:
    begin = time.perf_counter()
    from edge import ActionRecognizer

    options = order["options"]
    recognizer = ActionRecognizer.from_bundle(
        order["bundle"],
        order["engine"],
        order["precision"],
        options["threads"],
        cpus=options["cpus"] and tuple(options["cpus"]),
        warmup=0,
    )
    load_ms = (time.perf_counter() - begin) * 1000
    loaded_s = time.time()

    from edge.measure import InputChoice, make_input

    clip = make_input(recognizer.bundle, InputChoice(**order["inputs"]))
    start = time.perf_counter()
    recognizer.predict(clip.frames, clip.skeleton, clip.inertial)
    first_ms = (time.perf_counter() - start) * 1000
    return ColdStart(load_ms, first_ms, (loaded_s - order["started_s"]) * 1000 + first_ms, peak_memory_bytes())


def peak_memory_bytes() -> Optional[int]:
    """Return the largest resident memory of this process so far; None where there is no /proc.

    Not `ru_maxrss`: that one starts at the memory of whoever started the process.
    """
    return status_bytes(_PEAK_FIELD)


def status_bytes(field: str) -> Optional[int]:
    """Return a number of bytes that /proc/self/status tells, like "VmRSS:"; None where there is no /proc."""
    if not _STATUS.is_file():
        return None
    lines = (line.split() for line in _STATUS.read_text().splitlines())
    return next((int(line[1]) * 1024 for line in lines if line and line[0] == field), None)


if __name__ == "__main__":
    main()
