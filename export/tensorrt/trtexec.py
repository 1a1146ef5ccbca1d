"""A plan as a shell command, for devices whose Python is too old for the rest: JetPack 4.6 (TensorRT 8.2) has 3.6."""

from __future__ import annotations

import shlex
from typing import Iterable, Optional, Tuple

from export.tensorrt.plan import Build

# Where JetPack puts it; it is not on the path there.
_TRTEXEC = "/usr/src/tensorrt/bin/trtexec"
# Up to 8.3 trtexec gives kernels 16 MiB to work in, too few for 3D convolutions.
_WORKSPACE_MIB = 1024


def command(build: Build, engine: str, timing_cache: Optional[str] = None) -> str:
    """Return the command that builds an engine, to be run in the bundle's folder.

    Args:
      build: what is to be built.
      engine: the file to write.
      timing_cache: the file in which timings of kernels are kept for the next build; None for none.
    """
    words = [_TRTEXEC, f"--onnx={build.source}", f"--saveEngine={engine}", f"--workspace={_WORKSPACE_MIB}"]
    if timing_cache is not None:
        words.append(f"--timingCacheFile={timing_cache}")
    words += [f"--{flag.lower()}" for flag in build.builder_flags]
    if build.profiles:
        for option in ("min", "opt", "max"):
            shapes = ((p.name, {"min": p.minimum, "opt": p.optimum, "max": p.maximum}[option]) for p in build.profiles)
            words.append(f"--{option}Shapes={_shapes(shapes)}")
    return " \\\n  ".join(shlex.quote(word) for word in words)


def _shapes(shapes: Iterable[Tuple[str, Tuple[int, ...]]]) -> str:
    return ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes)
