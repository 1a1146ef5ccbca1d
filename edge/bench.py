"""Measure what a bundle costs on this machine.

    python edge/bench.py --bundle=bundles/a --precision=int8 --json=bench.json
    python edge/bench.py --bundle=bundles/a --compare              # every engine and precision that works here

All that is compared is measured in one run, taking turns, the engine alone beside the whole recogniser. Decoding is not
part of it: the clip is in memory. Loading and memory are measured in a process of its own for each row.
"""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    # Run by its path: Python put this folder first on the path, where a module of ours could stand before
    # a package of the same name. The folder above is what `import edge` needs.
    _here = Path(__file__).resolve().parent
    sys.path[:] = [str(_here.parent)] + [entry for entry in sys.path if Path(entry).resolve() != _here]

import argparse
import json
import os
import platform
import time
from dataclasses import asdict
from importlib import import_module
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import cv2
import numpy as np

from edge.arguments import CommandParser, positive_float, positive_int, some_path
from edge.bench_table import as_text
from edge.bundle import Bundle, read_bundle
from edge.cold_start import ColdStart, measure_cold_start
from edge.command import add_model_options, run_command
from edge.engines import ENGINES, EngineOptions
from edge.engines.choice import Choice, choose, find_engine, runnable_precisions, what_lacks
from edge.engines.processor import cpu_field
from edge.errors import EdgeError
from edge.files import check_not_read, replace_text
from edge.measure import ClipInput, InputChoice, Times, make_input, measure_times, percentiles
from edge.measure_stream import measure_stream
from edge.power import Meter, find_meter, measure_power
from edge.preprocess import window_frames
from edge.recognizer import ActionRecognizer

_ALL, _AUTO = "all", "auto"

# How long a stream is measured unless --seconds says.
_STREAM_S = 20.0


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command and return its exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.size and _inputs(args).files:
        parser.error("--size applies to random frames only; it does not go with --clip, --skeleton or --inertial")
    if not args.stream and (args.rate or args.seconds or args.stride):
        parser.error("--rate, --seconds and --stride apply to streams only; give --stream, too")
    if args.compare and (args.engine, args.precision) != (_AUTO, _AUTO):
        parser.error("--compare is --engine=all --precision=all; it does not go with either")
    return run_command(lambda: _run(args))


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="edge/bench.py", description=__doc__.split("\n")[0])
    add_model_options(parser, "one, several (fp32,int8) or all; the same goes for --engine")
    parser.add_argument("--compare", action="store_true", help="all engines that work here, all precisions")
    parser.add_argument("--stream", action="store_true", help="each also as a stream, from decoded frame to event")
    parser.add_argument("--rate", type=positive_float, metavar="HZ", help="of the stream's camera (30), or its sensor")
    parser.add_argument("--seconds", type=positive_float, metavar="S", help="that each stream lasts (20)")
    parser.add_argument("--stride", type=positive_int, help="of the stream (half a window)")
    parser.add_argument("--warmup", type=positive_int, default=10, help="iterations that do not count (10)")
    parser.add_argument("--iterations", type=positive_int, default=100, help="iterations that do (100)")
    parser.add_argument("--size", type=_size, metavar="WxH", help="of random frames (640x480, depth 320x240)")
    parser.add_argument("--clip", metavar="FILE", help="a recording instead of random frames")
    parser.add_argument("--skeleton", metavar="FILE", help="its skeletons")
    parser.add_argument("--inertial", metavar="FILE", help="its inertial samples")
    parser.add_argument(
        "--power_s", type=positive_float, default=5.0, help="seconds of each power measurement, on a Jetson (5)"
    )
    parser.add_argument("--json", metavar="FILE", type=some_path, help="write the result here, too")
    return parser


def _size(text: str) -> Tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} was given; a width and a height like 640x480 are expected")
    return positive_int(width), positive_int(height)


def _inputs(args: argparse.Namespace) -> InputChoice:
    return InputChoice(args.size, args.clip, args.skeleton, args.inertial)


def _run(args: argparse.Namespace) -> int:
    if args.json and not args.json.absolute().parent.is_dir():
        raise EdgeError(f"{args.json} cannot be written: there is no folder {args.json.parent}")
    check_not_read([args.json], [args.clip, args.skeleton, args.inertial])
    bundle = read_bundle(args.bundle)
    inputs, options = _inputs(args), EngineOptions(args.threads, args.cpus)
    clip = make_input(bundle, inputs)
    engines, precisions = (_ALL, _ALL) if args.compare else (args.engine, args.precision)
    choices, not_run = pick(bundle, engines, precisions)
    cold, failed = _start_all(args.bundle, choices, options, inputs)
    if failed and (engines != _ALL or not cold):
        raise EdgeError("\n  ".join(entry["why"] for entry in failed))
    not_run += failed
    choices = {name: choice for name, choice in choices.items() if name in cold}
    recognizers = {name: _load(args.bundle, choice, options) for name, choice in choices.items()}
    times = measure_times(recognizers, clip, args.warmup, args.iterations)
    meter = find_meter()
    rows = []
    for name, recognizer in recognizers.items():
        power, stream = _power(meter, recognizer, clip, args.power_s), _stream(args, recognizer, clip)
        summary = _summary(bundle, choices[name], name, next(iter(choices)), times)
        rows.append({**summary, **asdict(cold[name]), "power": power, "stream": stream})
    result = {
        "bundle": str(args.bundle),
        "model": bundle.model,
        "threads": args.threads,
        "cpus": args.cpus,
        "input": _describe(clip),
        "warmup": args.warmup,
        "iterations": args.iterations,
        "preprocess_ms": asdict(percentiles(times.preprocess_ms)),
        "rows": rows,
        "not_run": not_run,
        "power": meter and {"source": meter.source, "idle": _idle_power(meter, args.power_s)},
        "machine": _machine(choices),
    }
    print(as_text(result))
    if args.json:
        write_json(args.json, result)
    return 0


def _start_all(
    path: str, choices: Mapping[str, Choice], options: EngineOptions, inputs: InputChoice
) -> Tuple[Dict[str, ColdStart], List[Dict[str, str]]]:
    """Return what the start of each costs, and which ones fail, with the reason."""
    cold: Dict[str, ColdStart] = {}
    failed = []
    for name, choice in choices.items():
        try:
            cold[name] = measure_cold_start(path, choice, options, inputs)
        except EdgeError as error:
            failed.append({"engine": choice.entry.name, "precision": choice.precision, "why": str(error)})
    return cold, failed


def _stream(args: argparse.Namespace, recognizer: ActionRecognizer, clip: ClipInput) -> Any:
    """Return what a stream did, if one was asked for."""
    if not args.stream:
        return None
    return asdict(measure_stream(recognizer, clip, args.rate, args.seconds or _STREAM_S, args.stride))


def pick(bundle: Bundle, engines: str, precisions: str) -> Tuple[Dict[str, Choice], List[Dict[str, str]]]:
    """Return what is to be measured, by "engine precision", and which engines are not, with the reason.

    Args:
      bundle: the bundle.
      engines: "auto", "all", or names with commas between.
      precisions: likewise.

    Raises:
      EdgeError: if something that was named cannot be had.
    """
    choices: Dict[str, Choice] = {}
    not_run = []
    names = [entry.name for entry in ENGINES] if engines == _ALL else engines.split(",")
    lacking = {entry.name: what_lacks(entry, bundle.path) for entry in ENGINES} if engines == _ALL else {}
    for engine in names:
        reason = lacking.get(engine)
        if reason is not None:
            not_run.append({"engine": engine, "why": reason.splitlines()[0]})
            continue
        try:
            for choice in _of_engine(bundle, engine, precisions):
                choices.setdefault(f"{choice.entry.name} {choice.precision}", choice)
        except EdgeError as error:
            if engines != _ALL:
                raise
            not_run.append({"engine": engine, "why": str(error).splitlines()[0]})
    if not choices:
        reasons = "".join(f"\n  {entry['engine']}: {entry['why']}" for entry in not_run)
        raise EdgeError(f"no engine can run that here{reasons}\n  See what to install: python -m edge.doctor")
    return choices, not_run


def _of_engine(bundle: Bundle, engine: str, precisions: str) -> List[Choice]:
    if precisions != _ALL:
        return [choose(bundle, engine, precision) for precision in precisions.split(",")]
    entry = choose(bundle).entry if engine == _AUTO else find_engine(engine)
    # "auto" of an engine that is named but missing, or has nothing to run, says so.
    runnable = runnable_precisions(entry, bundle) or [_AUTO]
    return [choose(bundle, entry.name, precision) for precision in runnable]


def _load(path: str, choice: Choice, options: EngineOptions) -> ActionRecognizer:
    return ActionRecognizer.from_bundle(
        path, choice.entry.name, choice.precision, options.threads, cpus=options.cpus, warmup=0
    )


def _describe(clip: ClipInput) -> Dict[str, Any]:
    return {
        "source": clip.source,
        "frames": None if clip.frames is None else [len(clip.frames), *clip.frames[0].shape],
        "skeleton": None if clip.skeleton is None else list(clip.skeleton.shape),
        "inertial": None if clip.inertial is None else list(clip.inertial.shape),
    }


def _summary(bundle: Bundle, choice: Choice, name: str, first: str, times: Times) -> Dict[str, Any]:
    total_ms = times.total_ms[name]
    frames = window_frames(bundle.specs)
    clips_per_s = 1000 * len(total_ms) / sum(total_ms)
    return {
        "engine": choice.entry.name,
        "precision": choice.precision,
        "runs_on": choice.entry.runs_on,
        "file": choice.model_path.name,
        "size_bytes": _size_bytes(bundle, choice),
        "engine_ms": asdict(percentiles(times.engine_ms[name])),
        "added_ms": asdict(percentiles(times.added_ms[name])),
        "total_ms": asdict(percentiles(total_ms)),
        "overhead_percent": times.overhead_percent(name),
        "clips_per_s": clips_per_s,
        "frames_per_clip": frames,
        "fps": clips_per_s * frames,
        "compared_with": first,
        "times_as_fast": float(np.median(times.engine_ms[first]) / np.median(times.engine_ms[name])),
        "doubt": choice.entry.engine_class.doubts(choice.precision),
    }


def _size_bytes(bundle: Bundle, choice: Choice) -> int:
    """Return the size of all files that an engine loads; of an engine's own file what lies there."""
    if choice.entry.model_file is not None:
        return choice.model_path.stat().st_size
    return bundle.precisions[choice.precision].size_bytes


def _power(meter: Optional[Meter], recognizer: ActionRecognizer, clip: ClipInput, seconds: float) -> Any:
    """Return what one engine draws while it runs alone; None where nothing measures it."""
    if meter is None:
        return None
    inputs, _ = recognizer.prepare(clip.frames, clip.skeleton, clip.inertial)

    def work() -> None:
        stop = time.monotonic() + seconds
        while time.monotonic() < stop:
            recognizer.engine.run(inputs)

    used = measure_power(meter, work)
    return used and asdict(used)


def _idle_power(meter: Meter, seconds: float) -> Any:
    used = measure_power(meter, lambda: time.sleep(seconds))
    return used and asdict(used)


def _machine(choices: Mapping[str, Choice]) -> Dict[str, Any]:
    packages = {choice.entry.package for choice in choices.values()}
    return {
        "system": platform.platform(),
        "processor": cpu_field("model name") or platform.machine(),
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        **{package: import_module(package).__version__ for package in sorted(packages)},
    }


def write_json(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result; a reader finds the old file or the whole new one.

    Raises:
      EdgeError: if it cannot be written.
    """
    try:
        replace_text(path, json.dumps(result, indent=2, allow_nan=False) + "\n")
    except OSError as error:
        raise EdgeError(f"{path} cannot be written: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
