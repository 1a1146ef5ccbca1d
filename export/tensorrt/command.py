"""What the command does, top to bottom."""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import Any, Dict, List, Mapping, Tuple

import numpy as np

from edge.bundle import Bundle, read_bundle
from edge.engines.cuda import Cuda
from edge.engines.engine_record import ENGINE_FILE, read_record
from edge.engines.tensorrt import Runner, make_logger
from edge.errors import EdgeError
from export.tensorrt import trtexec
from export.tensorrt.builder import build_engine, find_tensorrt, has_int8
from export.tensorrt.choose import Candidate, Choice, check_finite, choose, judge, make_inputs, time_in_turns
from export.tensorrt.plan import Build, Plan, Wish, make_plan
from export.tensorrt.record import TIMING_CACHE_FILE, write_engine
from export.tensorrt.versions import release_of

_WARMUP = 20


@dataclass(frozen=True)
class Built:
    """An engine, serialised, and the seconds it took to build."""

    build: Build
    engine: bytes
    build_s: float


@dataclass(frozen=True)
class Device:
    """What engines are built with and run on: the tensorrt module, its logger, the GPU."""

    trt: Any
    logger: Any
    cuda: Cuda


def run(args: argparse.Namespace) -> None:
    """Do what the command line says.

    Raises:
      EdgeError: if it cannot be done.
    """
    bundle = read_bundle(args.bundle)
    wish = Wish(args.precision, args.calibrator, args.max_batch, args.max_drop)
    version = args.tensorrt_version or find_tensorrt().__version__
    plan = make_plan(bundle, version, wish)
    for line in describe(plan, _by_name(wish)):
        print(line)
    if plan.tool == "trtexec":
        print(f"\nRun this on the device, in {bundle.path}:\n")
        timings = TIMING_CACHE_FILE if plan.timing_cache else None
        print("\n\n".join(trtexec.command(build, ENGINE_FILE, timings) for build in plan.builds))
        return
    if args.dry_run:
        return
    device = open_device(version)
    if args.check:
        check(bundle, device, args.iterations)
    else:
        make(bundle, plan, wish, device, args.iterations)


def describe(plan: Plan, by_name: bool) -> List[str]:
    """Return a plan as lines for people; `by_name`: the engine is kept whatever it loses."""
    release = release_of(plan.tensorrt_version)
    lines = [f"TensorRT {plan.tensorrt_version} ({release.found_in}), by {plan.tool}"]
    for build in plan.builds:
        rows = {
            build.precision: build.why,
            "source": f"{build.source}, opset {build.opset} of at most {release.max_opset}",
            "network": " ".join(build.network_flags) or "no flags",
            "builder": " ".join(build.builder_flags) or "no flags",
            "scales": "calibration.json, by IInt8EntropyCalibrator2" if build.calibrated else "those of the file",
            "sha256": build.source_sha256,
        }
        if build.otherwise is not None:
            rows["otherwise"] = f"{build.otherwise.source}, builder {' '.join(build.otherwise.builder_flags)}"
        if not build.profiles:
            rows["batch"] = "fixed by the file"
        for entry in build.profiles:
            rows[entry.name] = f"{_shape(entry.minimum)} to {_shape(entry.maximum)}, tuned for {_shape(entry.optimum)}"
        lines += [f"  {name:<10}{text}" for name, text in rows.items()]
    lines.append(f"  timing cache: {'kept for the next build' if plan.timing_cache else 'none'}")
    rule = "what was asked for" if by_name else f"the fastest that loses at most {plan.max_drop:g} points of top-1"
    lines.append(f"  kept: {rule}")
    return lines + [f"  note: {note}" for note in plan.notes]


def _shape(shape: Tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def open_device(version: str) -> Device:
    """Return TensorRT and the GPU of this device.

    Raises:
      EdgeError: if one of them is missing, or TensorRT is of another release than was named.
    """
    trt = find_tensorrt()
    if trt.__version__ != version:
        raise EdgeError(
            f"--tensorrt_version={version} was given; the installed one is {trt.__version__}\n"
            f"  Leave it out to build here, or add --dry_run to see the plan only"
        )
    return Device(trt, make_logger(trt), Cuda())


def make(bundle: Bundle, plan: Plan, wish: Wish, device: Device, iterations: int) -> None:
    """Build, time, choose, and write the engine that is kept.

    Of several builds one may fail: the others are what is chosen from.

    Raises:
      EdgeError: if no engine can be built, none may be kept, or the disk is full. What was there stays.
    """
    if not os.access(str(bundle.path), os.W_OK):
        raise EdgeError(f"{bundle.path} cannot be written, where the engine goes")
    builds = _without_hopeless_int8(plan, wish, device)
    inputs = make_inputs(builds[0].inputs)
    built: Dict[str, Built] = {}
    runners: Dict[str, Runner] = {}
    try:
        for build in builds:
            try:
                built[build.precision], runners[build.precision] = _build(bundle, plan, build, device, inputs)
            except EdgeError as error:
                if build is builds[-1] and not runners:
                    raise
                print(f"{build.precision} is left out: {error}")
        times = time_in_turns(runners, inputs, _WARMUP, iterations)
    finally:
        for runner in runners.values():
            runner.close()
    candidates = judge(bundle, times)
    choice = choose(candidates, plan.max_drop, by_name=_by_name(wish))
    kept = built[choice.kept.precision]
    plan = replace(plan, builds=tuple(built[build.precision].build for build in builds if build.precision in built))
    write_engine(bundle.path, kept.engine, _record(bundle, plan, kept, choice, candidates, built, device))
    print(f"kept {choice.why}")
    print(f"wrote {bundle.path / ENGINE_FILE}, {len(kept.engine):,} bytes; it runs on this device only")


def _by_name(wish: Wish) -> bool:
    """Return whether a precision is kept because it was named, whatever it loses: not with a budget of its own."""
    return wish.precision != "auto" and wish.max_drop is None


def _without_hopeless_int8(plan: Plan, wish: Wish, device: Device) -> List[Build]:
    """Return the builds that the GPU has arithmetic for.

    Raises:
      EdgeError: if int8 was asked for by name and the GPU has none.
    """
    wanted = any(build.precision == "int8" for build in plan.builds)
    if not (wanted and plan.asks_for_int8) or has_int8(device.trt, device.logger):
        return list(plan.builds)
    lacking = f"{device.cuda.gpu.name} (compute capability {device.cuda.gpu.compute_capability}) has no int8 arithmetic"
    if wish.precision == "int8":
        raise EdgeError(f"--precision=int8 was given; {lacking}\n  Take --precision=fp16")
    print(f"int8 is left out: {lacking}")
    return [build for build in plan.builds if build.precision != "int8"]


def _build(
    bundle: Bundle, plan: Plan, build: Build, device: Device, inputs: Mapping[str, np.ndarray]
) -> Tuple[Built, Runner]:
    """Return an engine and what runs it.

    Raises:
      EdgeError: if it cannot be built; those of `_start`.
    """
    print(f"building {build.precision} from {build.source}; this takes minutes", flush=True)
    start = time.perf_counter()
    cache_file = bundle.path / TIMING_CACHE_FILE
    try:
        engine = build_engine(device.trt, device.logger, plan, build, bundle.path, cache_file)
        build_s = time.perf_counter() - start
        print(f"{build_s:8.1f} s  {build.precision}: {len(engine):,} bytes")
        return Built(build, engine, build_s), _start(device, build.precision, engine, inputs)
    except EdgeError as error:
        if build.otherwise is None:
            raise
        print(f"{build.precision} from {build.source} is left out: {error}")
    return _build(bundle, plan, build.otherwise, device, inputs)


def _start(device: Device, precision: str, engine: bytes, inputs: Mapping[str, np.ndarray]) -> Runner:
    """Return what runs an engine.

    Raises:
      EdgeError: if it does not start, or gives numbers that are not finite.
    """
    runner = Runner(device.trt, device.logger, device.cuda, engine)
    try:
        check_finite(precision, runner, inputs)
    except EdgeError:
        runner.close()
        raise
    return runner


def _record(
    bundle: Bundle,
    plan: Plan,
    kept: Built,
    choice: Choice,
    candidates: Tuple[Candidate, ...],
    built: Mapping[str, Built],
    device: Device,
) -> Dict[str, Any]:
    """Return what is to be known of an engine."""
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "model": bundle.model,
        "tensorrt_version": plan.tensorrt_version,
        "gpu": asdict(device.cuda.gpu),
        "source": {"file": kept.build.source, "sha256": kept.build.source_sha256},
        "precision": kept.build.precision,
        "why": choice.why,
        "candidates": [
            {
                **asdict(entry),
                "build_s": round(built[entry.precision].build_s, 3),
                "size_bytes": len(built[entry.precision].engine),
            }
            for entry in candidates
        ],
        "plan": plan.to_json(),
    }


def check(bundle: Bundle, device: Device, iterations: int) -> None:
    """Load the engine that is there and run it.

    Raises:
      EdgeError: if it was not made for this device and bundle; those of `_start`.
    """
    record = read_record(bundle.path, device.trt.__version__, device.cuda.gpu)
    shapes = next(b["inputs"] for b in record["plan"]["builds"] if b["precision"] == record["precision"])
    inputs = make_inputs({name: tuple(shape) for name, shape in shapes.items()})
    runner = _start(device, record["precision"], (bundle.path / ENGINE_FILE).read_bytes(), inputs)
    try:
        times = time_in_turns({record["precision"]: runner}, inputs, _WARMUP, iterations)
    finally:
        runner.close()
    (candidate,) = judge(bundle, times)
    print(f"{bundle.path / ENGINE_FILE}: {record['precision']}, {candidate.latency_ms:.2f} ms in the median here")
