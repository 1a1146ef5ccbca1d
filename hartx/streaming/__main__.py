"""Measure a finished run on continuous sequences: the recordings of each subject, one after the other."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

from edge.arguments import CommandParser, positive_int
from edge.streaming import RELEASE_SHARE
from hartx.command import run_command

_EPILOG = """\
Writes streaming.json, confusion_matrix.png, threshold.png and strip.png. The definitions of the metrics are in
hartx/streaming/__init__.py. Choose the threshold on the train or validation side, never on the test side:

  python -m hartx.streaming --workdir=runs/a --side=train
  python -m hartx.streaming --workdir=runs/a --threshold=0.6
"""


def _number(least: float, most: float = math.inf, above: bool = False) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = float(text)
        if not least <= value <= most or math.isinf(value) or (above and value == least):
            limits = f"a number above {least:g}" if above else f"a number from {least:g}"
            limits += f" to {most:g}" if math.isfinite(most) else ""
            raise argparse.ArgumentTypeError(f"{text} was given; {limits} is expected")
        return value

    parse.__name__ = "number"  # argparse says "invalid number value"
    return parse


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m hartx.streaming",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--workdir", type=Path, required=True, metavar="RUN", help="folder of the finished run")
    add("--side", choices=("test", "validation", "train"), default="test", help="whose recordings (default: test)")
    add(
        "--threshold",
        type=_number(0.0, 1.0),
        default=0.5,
        metavar="P",
        help="least smoothed probability that names an action; below it: none (default: %(default)s)",
    )
    add(
        "--smoothing",
        type=positive_int,
        default=5,
        metavar="N",
        help="predictions averaged at most, those whose windows overlap the newest one (default: %(default)s)",
    )
    add(
        "--release",
        type=_number(0.0, 1.0),
        metavar="P",
        help=f"least smoothed probability with which it goes on (default: {RELEASE_SHARE} of the threshold)",
    )
    add(
        "--stride",
        type=positive_int,
        metavar="N",
        help="instants from one window to the next, as of edge.live: a window has as many as frames of its video "
        "(16, or 24 of depth.py), else as steps of its first stream (default: half of them)",
    )
    add(
        "--rest_s",
        type=_number(0.0),
        default=1.0,
        metavar="S",
        help="seconds of standing still between two recordings (default: %(default)s)",
    )
    add(
        "--window_s",
        type=_number(0.0, above=True),
        metavar="S",
        help="seconds that a window sees (default: what the run was trained for)",
    )
    add("--seed", type=_count_from_0, default=0, help="draws the order of the recordings (default: %(default)s)")
    add(
        "--strip_recordings",
        type=positive_int,
        default=3,
        metavar="N",
        help="recordings in strip.png (default: %(default)s)",
    )
    add(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="where to write (default: RUN/streaming; of another side than test RUN/streaming_SIDE)",
    )
    return parser


def _count_from_0(text: str) -> int:
    return 0 if text == "0" else positive_int(text)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.release is not None and args.release > args.threshold:
        parser.error(f"--release={args.release:g} was given; at most --threshold={args.threshold:g} is expected")
    # Imported here, so that --help and a mistyped flag answer at once.
    from hartx.run import load_run, recordings_of
    from hartx.streaming.report import Settings, measure, show

    options = vars(args)
    workdir, output = options.pop("workdir"), options.pop("output")
    output = output or workdir / ("streaming" if args.side == "test" else f"streaming_{args.side}")

    def measured() -> None:
        run = load_run(workdir)
        show(measure(run, recordings_of(run), Settings(**options), output), output)

    return run_command(measured, "stopped; the report was not written")


if __name__ == "__main__":
    sys.exit(main())
