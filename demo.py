"""The whole way on small synthetic recordings: train, test, export, predict, bench. `make demo` runs it.

It types the commands a user would type, shows them, and ends with what they measured.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

WORKDIR = Path("runs/demo")
BUNDLE = Path("bundles/demo")
DATA = Path("runs/data")
RAW = Path("runs/demo_recording")
NAME = "a1_s2_t1"  # a swipe by a subject that the network was not trained on
RECORDING = ("--subjects=2", "--actions=1", "--trials=1", "--size", "96", "128")

console = Console()


def run(*arguments: str, quiet: bool = False) -> str:
    """Run a command of the project with this interpreter; return what it printed if it is `quiet`."""
    console.print(f"\n[bold]$ python {' '.join(arguments)}[/bold]", soft_wrap=True, highlight=False)
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE if quiet else None, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout or ""


def main() -> None:
    """Run the commands and print the table."""
    started = time.monotonic()
    bench_json = WORKDIR / "bench.json"
    run("main.py", "--config=configs/fusion.py:demo", f"--config.dataset.data_dir={DATA}", f"--workdir={WORKDIR}")
    run("-m", "export", f"--workdir={WORKDIR}", f"--bundle={BUNDLE}")
    shutil.rmtree(RAW, ignore_errors=True)  # of a demo before this one
    run("-m", "datasets.synthetic_mhad", f"--raw_dir={RAW}", *RECORDING)
    clip, skeleton = RAW / f"RGB/{NAME}_color.avi", RAW / f"Skeleton/{NAME}_skeleton.mat"
    predict = ("-m", "edge.predict", f"--bundle={BUNDLE}", str(clip), f"--skeleton={skeleton}")
    run(*predict)
    prediction = json.loads(run(*predict, "--json", quiet=True))
    run("edge/bench.py", f"--bundle={BUNDLE}", "--precision=all", f"--json={bench_json}")
    show(prediction, json.loads(bench_json.read_text()), time.monotonic() - started)


def show(prediction: dict, bench: dict, seconds: float) -> None:
    """Print what the commands measured."""
    report = json.loads((WORKDIR / "report.json").read_text())
    bundle = json.loads((BUNDLE / "bundle.json").read_text())
    low, high = report["interval95"]
    table = Table(title=f"hartx demo, {seconds / 60:.1f} min, on synthetic recordings")
    table.add_column("what")
    table.add_column("measured", justify="right")
    table.add_row(
        f"test accuracy, {' + '.join(report['streams'])}, {report['protocol']}",
        f"{report['top1']:.1%} of {report['clips']} ({low:.1%} to {high:.1%})",
    )
    for name, entry in sorted(bundle["files"].items()):
        table.add_row(str(BUNDLE / name), f"{entry['size_bytes'] / 1e3:,.1f} kB")
    for precision, entry in bundle["precisions"].items():
        row = next(row for row in bench["rows"] if row["precision"] == precision)
        latency = row["engine_ms"]["p50"]
        table.add_row(
            f"{precision} on {row['engine']}", f"{entry['top1']:.1%} of {entry['clips']}, {latency:.2f} ms a clip"
        )
    table.add_row(f"{NAME}, seen by edge", f"{prediction['action']}, {prediction['confidence']:.0%} sure")
    table.add_row("report", str(WORKDIR / "report.json"))
    console.print(table)


if __name__ == "__main__":
    main()
