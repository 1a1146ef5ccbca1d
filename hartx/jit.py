"""`jax.jit`, told what the backend is slow at by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

# XLA:CPU hands convolutions and their gradients to a library (YNNPACK) that uses one core and is slower there, too.
# An empty list of what it is handed leaves all to XLA's own. tests/benchmarks/bench_conv3d.py compares the two.
_CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}


def jit(function: Callable[..., Any], **options: Any) -> Any:
    """Return the function compiled for this process's backend; `options` are those of `jax.jit`."""
    compiler_options = _CPU_OPTIONS if jax.default_backend() == "cpu" else None
    return jax.jit(function, compiler_options=compiler_options, **options)
