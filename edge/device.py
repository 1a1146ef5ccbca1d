"""What a device is: board, system, processor, memory, GPU. Standard library only; what is not known is None."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Tuple

from edge.engines.cuda import Cuda
from edge.engines.processor import cpu_field, cpu_flags
from edge.errors import EdgeError

_ROOT = Path("/")
_BOARD_FILES = ("proc/device-tree/model", "sys/devices/virtual/dmi/id/product_name")
_L4T_FILE = "etc/nv_tegra_release"
# Jetson Linux (L4T) by its major release. NVIDIA's archive of Jetson Linux.
_JETPACK = {32: "4", 34: "5", 35: "5", 36: "6", 38: "7"}
# What makes int8, bfloat16 or float16 fast, by the names in /proc/cpuinfo.
_FAST = (
    "avx2",
    "avx512f",
    "avx_vnni",
    "avx512_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimddp",
    "asimdhp",
    "i8mm",
)


@dataclass(frozen=True)
class Device:
    """A device.

    Attributes:
      board: what the board calls itself.
      system: operating system and release.
      l4t: release of Jetson Linux, "36.4.3"; None if this is no Jetson.
      jetpack: the JetPack that belongs to it, its first number.
      machine: architecture of the processor, "aarch64".
      processor: its name.
      cpus: number of CPUs that this process may use.
      fast_arithmetic: its instruction sets that matter here.
      memory_bytes: memory in all.
      free_bytes: memory that is available.
      gpu: name and compute capability of the NVIDIA GPU; None if there is none.
      gpu_driver: its driver, and the CUDA version it serves.
      no_gpu: why there is no NVIDIA GPU; None if there is one.
    """

    board: Optional[str]
    system: str
    l4t: Optional[str]
    jetpack: Optional[str]
    machine: str
    processor: Optional[str]
    cpus: int
    fast_arithmetic: Tuple[str, ...]
    memory_bytes: Optional[int]
    free_bytes: Optional[int]
    gpu: Optional[str]
    gpu_driver: Optional[str]
    no_gpu: Optional[str]


def describe_device(root: Path = _ROOT) -> Device:
    """Return what this device is.

    Args:
      root: where /proc, /etc and /sys are looked for.
    """
    l4t = l4t_release(_read(root / _L4T_FILE) or "")
    gpu = gpu_driver = no_gpu = None
    try:
        found = Cuda().gpu
        gpu, gpu_driver = f"{found.name}, compute capability {found.compute_capability}", found.driver
    except EdgeError as error:
        no_gpu = str(error).splitlines()[0]
    return Device(
        board=next((text for text in (_read(root / file) for file in _BOARD_FILES) if text), None),
        system=f"{platform.system()} {platform.release()}",
        l4t=l4t,
        jetpack=None if l4t is None else _JETPACK.get(int(l4t.split(".")[0])),
        machine=platform.machine(),
        processor=cpu_field("model name", "Model"),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        fast_arithmetic=tuple(name for name in _FAST if name in cpu_flags()),
        memory_bytes=_memory(root, "MemTotal"),
        free_bytes=_memory(root, "MemAvailable"),
        gpu=gpu,
        gpu_driver=gpu_driver,
        no_gpu=no_gpu,
    )


def l4t_release(text: str) -> Optional[str]:
    """Return the release that /etc/nv_tegra_release names: "35.4.1" of "# R35 (release), REVISION: 4.1, ..."."""
    match = re.match(r"# R(\d+) \(release\), REVISION: ([\d.]+)", text)
    return f"{match.group(1)}.{match.group(2)}" if match else None


def _memory(root: Path, field: str) -> Optional[int]:
    match = re.search(rf"^{field}:\s+(\d+) kB$", _read(root / "proc/meminfo") or "", re.MULTILINE)
    return int(match.group(1)) * 1024 if match else None


def _read(path: Path) -> Optional[str]:
    """Return a file's text without the zero byte that ends those of the device tree; None if there is no such file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").rstrip("\0\n ")
    except OSError:
        return None
