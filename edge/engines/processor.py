"""What /proc/cpuinfo says about the processor. Linux only; elsewhere nothing is known."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import FrozenSet, Optional

CPUINFO = Path("/proc/cpuinfo")
_X86 = ("x86_64", "AMD64", "i686", "x86")
_VNNI = ("avx512_vnni", "avx_vnni")


def cpu_field(*names: str) -> Optional[str]:
    """Return the value of the first field with one of these names; None if there is none."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    fields = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in fields if key.strip() in names), None)


def cpu_flags() -> FrozenSet[str]:
    """Return the names of the instruction sets that the processor has; none if that is not known."""
    return frozenset((cpu_field("flags", "Features") or "").split())


def sums_int8_exactly() -> bool:
    """Return whether the processor is known to add products of int8 without overflow, as OpenVINO uses it.

    x86 without VNNI adds pairs of products in 16 bits, which saturates where activations and weights are large.
    """
    return platform.machine() not in _X86 or not cpu_flags().isdisjoint(_VNNI)
