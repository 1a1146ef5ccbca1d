"""Power and GPU load of a Jetson, from tegrastats (part of JetPack) or jetson-stats (`pip install jetson-stats`).

Elsewhere there is neither, and nothing is measured. Not run on a Jetson by us: the lines that tegrastats writes were
taken from NVIDIA's documentation, and jetson-stats is called by its documented names (version 4).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Protocol

from edge.errors import EdgeError

_INTERVAL_MS = 100
# What a board draws in all. AGX boards name no such rail; there the rails are in the JSON only.
_TOTAL_RAILS = ("VDD_IN", "VIN", "POM_5V_IN")
_RAIL = re.compile(r"\b([A-Z][A-Z0-9_]*) (\d+)(?:mW)?/(\d+)(?:mW)?(?= |$)")
_GPU_LOAD = re.compile(r"\bGR3D_FREQ (\d+)%")


@dataclass(frozen=True)
class Reading:
    """Power and load at one instant.

    Attributes:
      rails_mw: name of a supply rail to milliwatts.
      total_mw: what the board draws in all; None if no rail says so.
      gpu_percent: load of the GPU in [0, 100]; None if it was not told.
    """

    rails_mw: Mapping[str, float]
    total_mw: Optional[float]
    gpu_percent: Optional[float]


@dataclass(frozen=True)
class PowerUse:
    """Means over a stretch of time; None for what was not measured.

    Attributes:
      source: "tegrastats" or "jetson-stats".
      samples: number of readings.
      total_mw: what the board drew in all.
      gpu_percent: load of the GPU in [0, 100].
      rails_mw: name of a supply rail to milliwatts.
    """

    source: str
    samples: int
    total_mw: Optional[float]
    gpu_percent: Optional[float]
    rails_mw: Mapping[str, float]


class Meter(Protocol):
    """Reads power and load while something else runs."""

    source: str

    def start(self) -> None:
        """Begin."""

    def stop(self) -> List[Reading]:
        """End, and return the readings since the beginning."""


def parse_tegrastats(line: str) -> Reading:
    """Return what one line of tegrastats says."""
    rails = {name: float(now) for name, now, _ in _RAIL.findall(line)}
    load = _GPU_LOAD.search(line)
    total = next((rails[name] for name in _TOTAL_RAILS if name in rails), None)
    return Reading(rails, total, float(load.group(1)) if load else None)


class Tegrastats:
    """The program tegrastats, a line every 100 ms."""

    source = "tegrastats"

    def __init__(self, program: str) -> None:
        self._program = program

    def start(self) -> None:
        self._lines: List[str] = []
        command = [self._program, "--interval", str(_INTERVAL_MS)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self._lines.extend(self._process.stdout)

    def stop(self) -> List[Reading]:
        self._process.terminate()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return [parse_tegrastats(line) for line in self._lines if line.strip()]


class JetsonStats:
    """jetson-stats, whose service must be running."""

    source = "jetson-stats"

    def __init__(self, jtop: Any) -> None:
        self._jtop = jtop

    def start(self) -> None:
        self._readings: List[Reading] = []
        self._service = self._jtop(interval=_INTERVAL_MS / 1000)
        self._service.attach(self._note)
        try:
            self._service.start()
        except Exception as error:  # JtopException, which older versions do not export
            raise EdgeError(f"jetson-stats cannot be read: {error}\n  sudo systemctl restart jtop.service") from error

    def _note(self, service: Any) -> None:
        power = service.power
        rails = {name: float(rail["power"]) for name, rail in power["rail"].items()}
        loads = [float(gpu["status"]["load"]) for gpu in service.gpu.values()]
        self._readings.append(Reading(rails, float(power["tot"]["power"]), max(loads) if loads else None))

    def stop(self) -> List[Reading]:
        self._service.close()
        return self._readings


def find_meter() -> Optional[Meter]:
    """Return what measures power here; None if nothing does."""
    program = shutil.which("tegrastats")
    if program is not None:
        return Tegrastats(program)
    try:
        from jtop import jtop
    except ImportError:
        return None
    return JetsonStats(jtop)


def measure_power(meter: Meter, work: Callable[[], Any]) -> Optional[PowerUse]:
    """Return the mean power and load while something runs; None if the meter gave no reading.

    Args:
      meter: from `find_meter`.
      work: what runs; it should take some seconds.
    """
    meter.start()
    try:
        work()
    finally:
        readings = meter.stop()
    if not readings:
        return None
    names = {name for reading in readings for name in reading.rails_mw}
    rails: Dict[str, float] = {}
    for name in sorted(names):
        values = [reading.rails_mw[name] for reading in readings if name in reading.rails_mw]
        rails[name] = sum(values) / len(values)
    total = _mean([reading.total_mw for reading in readings])
    return PowerUse(meter.source, len(readings), total, _mean([reading.gpu_percent for reading in readings]), rails)


def _mean(values: List[Optional[float]]) -> Optional[float]:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
