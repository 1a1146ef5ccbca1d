"""Carrying a plan out with the `tensorrt` module of the device.

The module is an argument everywhere: there is none where this is written and tested, and TensorRT-RTX goes by another
name. Variables are named after TensorRT's classes (builder, network, config, ...); the test of the names we use
relies on it.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any, List, Optional

from edge.errors import EdgeError
from export.tensorrt.calibration import cache_of, make_calibrator, read_scales
from export.tensorrt.plan import Build, Plan
from export.tensorrt.record import write_file

_SHOWN_ERRORS = 5


def find_tensorrt() -> Any:
    """Return the device's tensorrt module.

    Raises:
      EdgeError: if there is none, or it cannot be loaded.
    """
    try:
        return importlib.import_module("tensorrt")
    except ImportError as error:
        raise EdgeError(
            f"TensorRT's Python module cannot be imported: {error}\n"
            f"  On a Jetson it comes with JetPack: sudo apt install nvidia-jetpack, and a virtual environment made by\n"
            f"  python3 -m venv --system-site-packages. Elsewhere: pip install -r edge/requirements-tensorrt.txt\n"
            f"  To see the plan on a machine without it: --dry_run --tensorrt_version=10.3.0"
        ) from None


def has_int8(trt: Any, logger: Any) -> bool:
    """Return whether the GPU has int8 arithmetic: the first Jetson Nano and TX2 have none."""
    builder = trt.Builder(logger)
    return bool(builder.platform_has_fast_int8)


def build_engine(trt: Any, logger: Any, plan: Plan, build: Build, bundle: Path, cache_file: Path) -> bytes:
    """Return an engine, serialised.

    Args:
      trt: the tensorrt module.
      logger: from `edge.engines.tensorrt.make_logger`.
      plan: the plan.
      build: which of its engines.
      bundle: the bundle's folder.
      cache_file: timings of kernels, read and written if the plan has a timing cache.

    Raises:
      EdgeError: if TensorRT cannot read the model or cannot build it.
    """
    logger.errors.clear()
    builder = trt.Builder(logger)
    network = builder.create_network(_bits(trt.NetworkDefinitionCreationFlag, build.network_flags))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(bundle / build.source)):
        found = [f"{error.desc()} (node {error.node()})" for error in map(parser.get_error, range(parser.num_errors))]
        raise EdgeError(_failed(f"TensorRT {plan.tensorrt_version} cannot read {bundle / build.source}", found))
    config = builder.create_builder_config()
    for flag in build.builder_flags:
        config.set_flag(getattr(trt.BuilderFlag, flag))
    profile = _add_profile(builder, config, build)
    if build.calibrated:
        calibrator = make_calibrator(trt, cache_of(read_scales(bundle, build.source_sha256), plan.tensorrt_version))
        config.int8_calibrator = calibrator  # named above too: the config does not keep it alive
        if profile is not None:
            config.set_calibration_profile(profile)
    cache = _start_timing_cache(config, cache_file) if plan.timing_cache else None
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        title = f"TensorRT {plan.tensorrt_version} cannot build {build.precision} from {bundle / build.source}"
        raise EdgeError(_failed(title, logger.errors))
    if cache is not None:
        write_file(cache_file, bytes(memoryview(cache.serialize())))
    return bytes(memoryview(serialized))


def _bits(enum: Any, names: Any) -> int:
    return sum(1 << int(getattr(enum, name)) for name in names)


def _failed(title: str, errors: List[str]) -> str:
    lines = errors[:_SHOWN_ERRORS] or ["it does not say why"]
    left = len(errors) - _SHOWN_ERRORS
    return "\n  ".join([title, *lines, *([f"and {left} more"] if left > 0 else [])])


def _add_profile(builder: Any, config: Any, build: Build) -> Optional[Any]:
    """Give the builder the range of each dynamic input; return None if there are none."""
    if not build.profiles:
        return None
    profile = builder.create_optimization_profile()
    for entry in build.profiles:
        profile.set_shape(entry.name, entry.minimum, entry.optimum, entry.maximum)
    if config.add_optimization_profile(profile) < 0:
        raise EdgeError(f"TensorRT refuses the shapes {build.profiles} for {build.source}; try another --max_batch")
    return profile


def _start_timing_cache(config: Any, cache_file: Path) -> Any:
    """Return the timing cache that a build will fill, with what an earlier one left if it fits this device."""
    known = cache_file.read_bytes() if os.path.isfile(str(cache_file)) else b""
    cache = config.create_timing_cache(known)
    # False: timings of another GPU or release are not taken; then all is timed anew.
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache
