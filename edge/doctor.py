"""Say what this device has, which engines work on it, and what to install.

    python -m edge.doctor
    python -m edge.doctor --json

Needs nothing but Python. Each engine runs a small model in a process of its own, so that one that crashes is only
reported. Exit code 0: recordings can be recognised here; 1: something is missing for it, which is then said.
"""

from __future__ import annotations

import json
import platform
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Optional, Sequence

from edge.arguments import CommandParser
from edge.device import Device, describe_device
from edge.engines import CPU, ENGINES, INTEL_GPU, NVIDIA_GPU, EngineEntry, what_device_lacks
from edge.process import last_words, run_python

_GIB = 1 << 30
_TIMEOUT_S = 300  # onnxruntime-tensorrt builds an engine
_NEEDED = ("numpy", "cv2", "rich")
_INSTALL_NEEDED = "pip install -r edge/requirements.txt"


@dataclass(frozen=True)
class Finding:
    """Whether a package or an engine works.

    Attributes:
      name: its name.
      works: whether it does.
      version: of its package; None if it is not there.
      why: what is wrong; None if it works.
      install: what to do about it; None if it works, or nothing can be done on this device.
      doubts: what it may compute wrong on this device.
    """

    name: str
    works: bool
    version: Optional[str]
    why: Optional[str]
    install: Optional[str]
    doubts: Sequence[str] = ()


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command and return its exit code."""
    parser = CommandParser(prog="python -m edge.doctor", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    args = parser.parse_args(argv)
    device = describe_device()
    packages = [check_package(name) for name in _NEEDED]
    ready = all(package.works for package in packages)
    engines = [check_engine(entry, device) for entry in ENGINES] if ready else []
    works = any(engine.works for engine in engines)
    if args.json:
        print(json.dumps(as_json(device, packages, engines, works), indent=2))
    else:
        print(as_text(device, packages, engines, works))
    return 0 if works else 1


def check_package(name: str) -> Finding:
    """Return whether a package can be imported, in a process of its own."""
    code = f"import {name}; from importlib.metadata import version\n"
    code += f"print(getattr({name}, '__version__', None) or version('{name}'))"  # rich says it in its metadata alone
    done = run_python("-c", code, timeout_s=_TIMEOUT_S)
    if done.returncode == 0:
        return Finding(name, True, done.stdout.strip() or None, None, None)
    return Finding(name, False, None, _said(done), _INSTALL_NEEDED)


def check_engine(entry: EngineEntry, device: Device) -> Finding:
    """Return whether an engine runs a small model here, in a process of its own."""
    reason = what_device_lacks(entry)
    if reason is not None:
        return Finding(entry.name, False, None, reason, _install(entry, device))
    try:
        done = run_python("-m", "edge.engines.probe", entry.name, timeout_s=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return Finding(entry.name, False, None, f"it did not answer within {_TIMEOUT_S} s", None)
    if done.returncode != 0:
        return Finding(entry.name, False, None, _said(done), _install(entry, device))
    found = json.loads(done.stdout.splitlines()[-1])
    return Finding(entry.name, **found, install=None if found["works"] else _install(entry, device))


def _said(done: Any) -> str:
    """Return why a process ended badly, in one line."""
    if done.returncode < 0:
        return f"it crashes: {signal.Signals(-done.returncode).name}"
    return last_words(done)


def _install(entry: EngineEntry, device: Device) -> Optional[str]:
    """Return what to install to get an engine; None if this device is none for it."""
    if entry.runs_on == NVIDIA_GPU and device.gpu is None:
        return None
    if entry.runs_on == INTEL_GPU and "Intel" not in (device.processor or ""):
        return None
    return entry.install


def as_json(device: Device, packages: List[Finding], engines: List[Finding], works: bool) -> Dict[str, Any]:
    """Return all that was found as plain values."""
    return {
        "works": works,
        "python": platform.python_version(),
        "device": asdict(device),
        "packages": [asdict(package) for package in packages],
        "engines": [asdict(engine) for engine in engines],
    }


def as_text(device: Device, packages: List[Finding], engines: List[Finding], works: bool) -> str:
    """Return all that was found for people to read."""
    lines = [f"{name:<10}{value}" for name, value in _device_lines(device)]
    lines += ["", "packages", *(_line(package) for package in packages)]
    if engines:
        notes = {entry.name: f"on the {entry.runs_on}: {entry.note}" for entry in ENGINES}
        lines += ["", 'engines, in the order in which "auto" tries them']
        for engine in engines:
            more = [notes[engine.name], *(f"careful: {doubt}" for doubt in engine.doubts)] if engine.works else []
            lines += [_line(engine), *(f"    {text}" for text in more)]
    todo: Dict[str, List[str]] = {}
    for found in [*packages, *engines]:
        if found.install:
            todo.setdefault(found.install, []).append(found.name)
    if todo:
        lines += ["", "to install, if wanted" if works else "to install"]
        lines += [f"  {', '.join(names)}: {install}" for install, names in todo.items()]
    lines += ["", _verdict(packages, engines)]
    return "\n".join(lines)


def _device_lines(device: Device) -> List[Any]:
    jetson = device.l4t and f"L4T {device.l4t}, JetPack {device.jetpack or 'of unknown number'}"
    memory = None
    if device.memory_bytes is not None and device.free_bytes is not None:
        memory = f"{device.memory_bytes / _GIB:.1f} GiB, {device.free_bytes / _GIB:.1f} GiB of it free"
    processor = f"{device.processor or device.machine}, {device.machine}, {device.cpus} CPUs to use"
    return [
        ("board", device.board or "does not name itself"),
        ("system", device.system),
        ("Jetson", jetson or "no (there is no /etc/nv_tegra_release)"),
        ("processor", processor),
        ("", "fast arithmetic: " + (" ".join(device.fast_arithmetic) or "none that is known here")),
        ("memory", memory or "unknown"),
        ("GPU", device.gpu or device.no_gpu),
        *([("", device.gpu_driver)] if device.gpu_driver else []),
        ("Python", f"{platform.python_version()}, {sys.executable}"),
    ]


def _line(found: Finding) -> str:
    state = "works" if found.works else "no"
    return f"  {found.name:<22}{state:<7}" + ((found.version or "").split("-")[0] if found.works else found.why or "")


def _verdict(packages: List[Finding], engines: List[Finding]) -> str:
    missing = [package.name for package in packages if not package.works]
    if missing:
        return f"Not ready: {' and '.join(missing)} cannot be imported. Install that first, then ask again."
    working = [engine.name for engine in engines if engine.works]
    if not working:
        return f"Not ready: no engine works. The least that does is ONNX Runtime on the {CPU}: {_INSTALL_NEEDED}"
    return f"Ready, with {', '.join(working)}. How fast each is: python edge/bench.py --bundle=FOLDER --compare"


if __name__ == "__main__":
    sys.exit(main())
