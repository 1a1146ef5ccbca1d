"""How long a clip takes in each engine that works here, beside PyTorch on the same video network.

python main.py --config=configs/rgb.py --config.num_epochs=1 --workdir=runs/full    # or any run of that network
python -m export --workdir=runs/full --bundle=bundles/full --formats=onnx-fp32,onnx-int8,openvino-int8
python tests/benchmarks/bench_engines.py --bundle=bundles/full [--torch] [--rounds=30] [--json=FILE]
python tests/benchmarks/bench_engines.py --table=A.json,B.json [--output=docs/quantization.md]

Everything takes turns in one run, one clip at a time, on all cores, and medians are compared. `--torch` adds PyTorch
(float32 and bfloat16, traced and optimised for inference): the 3D ResNet-18 of 64 channels on the bundle's video, in an
environment of its own (`--torch_env`, kept; else a temporary one). `--table` measures nothing: it writes what earlier
runs have left in their JSON into the document, between <!-- engines:speed --> and <!-- /engines:speed -->.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from rich.console import Console
from rich.table import Table

from edge.bench import pick
from edge.bundle import Bundle, read_bundle
from edge.engines.choice import Choice
from edge.engines.processor import cpu_field
from edge.measure import ClipInput, InputChoice, make_input
from edge.recognizer import ActionRecognizer
from hartx.blocks import with_blocks
from hartx.files import write_text
from tests.benchmarks.torch_worker import TORCH, torch_environment, torch_worker
from tests.benchmarks.turns import Step, take_turns


def engine_steps(bundle: Bundle) -> dict[str, Step]:
    """Return a run of each engine and precision that works here, by name, all on the same random clip."""
    clip = make_input(bundle, InputChoice())
    choices, _ = pick(bundle, "all", "all")
    return {name: engine_step(bundle, choice, clip) for name, choice in choices.items()}


def engine_step(bundle: Bundle, choice: Choice, clip: ClipInput) -> Step:
    """Return a run of an engine alone that gives its seconds."""
    recognizer = ActionRecognizer.from_bundle(str(bundle.path), choice.entry.name, choice.precision, warmup=0)
    inputs, _ = recognizer.prepare(clip.frames, clip.skeleton, clip.inertial)

    def step() -> float:
        started = time.perf_counter()
        recognizer.engine.run(inputs)
        return time.perf_counter() - started

    return step


def report(bundle: Bundle, times: Mapping[str, list[float]]) -> dict[str, Any]:
    """Return the results as plain values."""
    return {
        "model": bundle.model,
        "inputs": {modality: list(spec.shape) for modality, spec in bundle.specs.items()},
        "processor": cpu_field("model name"),
        "cores": len(os.sched_getaffinity(0)),
        "torch": TORCH,
        "median_ms": {name: 1000 * statistics.median(seconds) for name, seconds in times.items()},
        "times_ms": {name: [1000 * second for second in seconds] for name, seconds in times.items()},
    }


def print_report(values: Mapping[str, Any]) -> None:
    """Print a row for each, the fastest first."""
    medians = values["median_ms"]
    fastest = min(medians.values())
    table = Table("engine", "median, ms", "of the fastest", "from, ms", "to, ms")
    for name, median in sorted(medians.items(), key=lambda item: item[1]):
        each = values["times_ms"][name]
        table.add_row(name, f"{median:.1f}", f"{median / fastest:.1f}x", f"{min(each):.1f}", f"{max(each):.1f}")
    Console().print(f"{values['model']}, {values['inputs']}, {values['cores']} cores of {values['processor']}")
    Console().print(table)


def as_markdown(measured: Sequence[Mapping[str, Any]]) -> str:
    """Return medians, and in brackets how many times as long as the fastest, a column for each run of this program."""
    names = sorted(measured[0]["median_ms"], key=measured[0]["median_ms"].__getitem__)
    heads = [" and ".join(_size(shape) for shape in values["inputs"].values()) for values in measured]
    lines = ["| | " + " | ".join(f"{head}, ms" for head in heads) + " |", "|---|" + "---:|" * len(heads)]
    for name in names:
        cells = []
        for values in measured:
            medians = values["median_ms"]
            ratio = medians[name] / min(medians.values()) if name in medians else None
            cells.append("" if ratio is None else f"{medians[name]:.1f} ({ratio:.1f})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    rounds = ", ".join(str(len(next(iter(values["times_ms"].values())))) for values in measured)
    machine = f"{measured[0]['cores']} cores of {measured[0]['processor']}"
    return "\n".join([*lines, "", f"- {machine}; {measured[0]['torch']}; runs of each: {rounds}"])


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape[:-1]))


def write_table(measured: Sequence[Mapping[str, Any]], output: Path) -> None:
    """Write the table of several results into a document."""
    write_text(output, with_blocks(output.read_text(), "engines", ["speed"], lambda *_: as_markdown(measured)))


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--bundle", help="with --torch of a network that reads colour video alone")
    what.add_argument("--table", metavar="FILES", help="results (--json) to write as a table, with commas between them")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs" / "quantization.md", help="of --table")
    parser.add_argument("--torch", action="store_true", help="compare with PyTorch, too")
    parser.add_argument("--torch_env", type=Path, help="folder of the environment for PyTorch")
    parser.add_argument("--rounds", type=int, default=30, help="runs of each that count (30)")
    parser.add_argument("--warmup", type=int, default=5, help="runs of each that do not (5)")
    parser.add_argument("--json", type=Path, help="file for the results")
    args = parser.parse_args()
    if args.table:
        write_table([json.loads(Path(name).read_text()) for name in args.table.split(",")], args.output)
        return
    bundle = read_bundle(args.bundle)
    if args.torch and list(bundle.specs) != ["rgb"]:
        parser.error(
            f"--torch was given with a bundle that reads {bundle.reads}; one of colour video alone is expected"
        )
    with ExitStack() as stack:
        steps = engine_steps(bundle)
        if args.torch:
            spec = bundle.specs["rgb"]
            setting = {"task": "predict", "width": 64, "batch": 1, "frames": spec.num_frames, "size": spec.crop}
            folder = args.torch_env or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            python = torch_environment(folder)
            for dtype in ("float32", "bfloat16"):
                steps[f"PyTorch {dtype}"] = stack.enter_context(torch_worker(python, {**setting, "dtype": dtype}))
        values = report(bundle, take_turns(steps, args.warmup, args.rounds))
    print_report(values)
    if args.json:
        args.json.write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    main()
