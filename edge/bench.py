"""Measure what a bundle costs on this machine.

    python edge/bench.py --bundle=bundles/a --precision=int8 --json=bench.json
    python edge/bench.py --bundle=bundles/a --precision=all        # compares them in one run, taking turns

Decoding is not part of it: the clip is in memory. Times are of one clip, as `ActionRecognizer.predict`
makes it; memory and loading are measured in a process of its own for each precision.
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
from dataclasses import asdict
from importlib import import_module
from typing import Any, Dict, List, Optional, Sequence, Tuple

import cv2
import numpy as np

from edge.bundle import Bundle, read_bundle
from edge.command import add_model_options, positive_int, run_command
from edge.engines import EngineEntry, pick_engine, pick_precision
from edge.errors import EdgeError
from edge.measure import ClipInput, InputChoice, Times, make_input, measure_alone, measure_times, percentiles
from edge.recognizer import ActionRecognizer

_MIB = 1 << 20


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command and return its exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.size and _choice(args).files:
        parser.error("--size is of random frames; it does not go with --clip, --skeleton or --inertial")
    return run_command(lambda: _run(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge/bench.py", description=__doc__.split("\n")[0])
    add_model_options(parser, "one, several (fp32,int8) or all; the others are compared with the first")
    parser.add_argument("--warmup", type=positive_int, default=10, help="iterations that do not count (10)")
    parser.add_argument("--iterations", type=positive_int, default=100, help="iterations that do (100)")
    parser.add_argument("--size", type=_size, metavar="WxH", help="of random frames (640x480, depth 320x240)")
    parser.add_argument("--clip", metavar="FILE", help="a recording instead of random frames")
    parser.add_argument("--skeleton", metavar="FILE", help="its skeletons")
    parser.add_argument("--inertial", metavar="FILE", help="its inertial samples")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the result here, too")
    return parser


def _size(text: str) -> Tuple[int, int]:
    width, _, height = text.partition("x")
    return positive_int(width), positive_int(height)


def _choice(args: argparse.Namespace) -> InputChoice:
    return InputChoice(args.size, args.clip, args.skeleton, args.inertial)


def _run(args: argparse.Namespace) -> int:
    if args.json and not args.json.absolute().parent.is_dir():
        raise EdgeError(f"{args.json} cannot be written: there is no folder {args.json.parent}")
    entry = pick_engine(args.engine)
    bundle = read_bundle(args.bundle)
    choice = _choice(args)
    clip = make_input(bundle, choice)
    names = _precisions(entry, bundle, args.precision)
    alone = {name: measure_alone(args.bundle, entry.name, name, args.threads, choice) for name in names}
    recognizers = {name: ActionRecognizer.from_bundle(args.bundle, entry.name, name, args.threads) for name in names}
    times = measure_times(recognizers, clip, args.warmup, args.iterations)
    result = {
        "bundle": str(args.bundle),
        "model": bundle.model,
        "engine": entry.name,
        "threads": args.threads,
        "input": _describe(clip),
        "warmup": args.warmup,
        "iterations": args.iterations,
        "preprocess_ms": asdict(percentiles(times.preprocess_ms)),
        "precisions": {name: {**_summary(bundle, name, names[0], times), **asdict(alone[name])} for name in names},
        "machine": _machine(entry),
    }
    print(as_text(result))
    if args.json:
        write_json(args.json, result)
    return 0


def _precisions(entry: EngineEntry, bundle: Bundle, given: str) -> List[str]:
    """Return the precisions to measure, in the order given, each once."""
    if given == "all":
        runnable = [name for name in entry.precisions if name in bundle.precisions]
        return runnable or [pick_precision(entry, bundle.precisions, "auto")]
    names = [pick_precision(entry, bundle.precisions, name) for name in given.split(",")]
    return list(dict.fromkeys(names))


def _describe(clip: ClipInput) -> Dict[str, Any]:
    return {
        "source": clip.source,
        "frames": None if clip.frames is None else [len(clip.frames), *clip.frames[0].shape],
        "skeleton": None if clip.skeleton is None else list(clip.skeleton.shape),
        "inertial": None if clip.inertial is None else list(clip.inertial.shape),
    }


def _summary(bundle: Bundle, name: str, first: str, times: Times) -> Dict[str, Any]:
    inference_ms = times.inference_ms[name]
    total_ms = [a + b for a, b in zip(times.preprocess_ms, inference_ms)]
    frames = bundle.specs[bundle.video_modality or bundle.inputs[0].modality].num_frames
    clips_per_s = 1000 * len(total_ms) / sum(total_ms)
    path = bundle.precisions[name].path
    return {
        "file": path.name,
        "size_bytes": path.stat().st_size,
        "inference_ms": asdict(percentiles(inference_ms)),
        "total_ms": asdict(percentiles(total_ms)),
        "clips_per_s": clips_per_s,
        "frames_per_clip": frames,
        "fps": clips_per_s * frames,
        "compared_with": first,
        "times_as_fast": float(np.median(times.inference_ms[first]) / np.median(inference_ms)),
    }


def _machine(entry: EngineEntry) -> Dict[str, Any]:
    return {
        "system": platform.platform(),
        "processor": platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        entry.package: import_module(entry.package).__version__,
    }


def as_text(result: Dict[str, Any]) -> str:
    """Return a result for people to read; what was not measured is a dash."""
    threads, given = result["threads"] or "auto", result["input"]
    first = next(iter(result["precisions"].values()))
    return "\n".join(
        [
            f"{result['bundle']}: {result['model']}, engine {result['engine']}, threads {threads}",
            f"{result['iterations']} iterations after {result['warmup']} to warm up",
            f"input {given['source']}, frames {given['frames']}, skeleton {given['skeleton']}, "
            f"inertial {given['inertial']}",
            "",
            *_table(result),
            "",
            f"fps: frames/s at {first['frames_per_clip']} a clip, preprocessing and inference together",
            f"x: times as fast as {first['compared_with']}, medians of inference;  -: not measured",
        ]
    )


def _table(result: Dict[str, Any]) -> List[str]:
    columns = ("", "p50 ms", "p90 ms", "p99 ms", "fps", "x", "load ms", "peak MiB", "file MiB")
    rows = [columns, ("preprocessing", *_percentile_cells(result["preprocess_ms"]))]
    for name, entry in result["precisions"].items():
        cells = (
            _cell(entry["fps"]),
            _cell(entry["times_as_fast"], digits=2),
            _cell(entry["load_ms"], digits=0),
            _cell(entry["peak_memory_bytes"], _MIB, digits=0),
            _cell(entry["size_bytes"], _MIB),
        )
        rows.append((f"inference {name}", *_percentile_cells(entry["inference_ms"]), *cells))
        rows.append((f"together {name}", *_percentile_cells(entry["total_ms"])))
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(len(columns))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def _percentile_cells(values: Dict[str, Optional[float]]) -> Tuple[str, str, str]:
    return _cell(values["p50"], digits=2), _cell(values["p90"], digits=2), _cell(values["p99"], digits=2)


def _cell(value: Optional[float], unit: float = 1, digits: int = 1) -> str:
    return "-" if value is None else f"{value / unit:.{digits}f}"


def write_json(path: Path, result: Dict[str, Any]) -> None:
    """Write a result; a reader finds the old file or the whole new one.

    Raises:
      EdgeError: if it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        if temporary.exists():
            temporary.unlink()
        raise EdgeError(f"{path} cannot be written: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
