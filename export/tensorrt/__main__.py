"""Build a bundle's TensorRT engine, on the device that will run it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import List, Optional

from edge.arguments import CommandParser, points, positive_int

_EPILOG = """\
Two engines are built, one in half precision and one in int8, timed in turns, and the faster one that holds
the accuracy budget is written into the bundle: the file `engine`, and `engine.json` beside it, which says
for which TensorRT, GPU and model it was made. An engine runs nowhere else.

  python -m export.tensorrt --bundle=bundles/a
  python -m export.tensorrt --bundle=bundles/a --check
  python -m export.tensorrt --bundle=bundles/a --dry_run --tensorrt_version=10.3.0   # on any machine
  python -m export.tensorrt --bundle=bundles/a --tensorrt_version=8.2                # JetPack 4.6: a trtexec command
"""


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m export.tensorrt",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", type=Path, required=True, metavar="FOLDER", help="the bundle, as export wrote it")
    parser.add_argument(
        "--precision",
        choices=("auto", "fp16", "int8"),
        default="auto",
        help="auto builds both and keeps one (default: %(default)s)",
    )
    parser.add_argument(
        "--calibrator",
        choices=("qdq", "implicit"),
        default="qdq",
        help="where int8 scales come from: the int8 model's Q/DQ nodes, or calibration.json through TensorRT's "
        "calibrator, which 11 no longer has (default: %(default)s)",
    )
    parser.add_argument("--max_batch", type=positive_int, metavar="N", help="largest batch, tuned for (default: 1)")
    parser.add_argument(
        "--max_drop",
        type=points,
        metavar="POINTS",
        help="points of top-1 that may be lost against fp32 (default: what the bundle records, or 0.5)",
    )
    parser.add_argument(
        "--iterations", type=positive_int, default=100, metavar="N", help="timed runs (default: %(default)s)"
    )
    parser.add_argument("--dry_run", action="store_true", help="print the plan and build nothing")
    parser.add_argument("--check", action="store_true", help="load and run the engine that is there, build nothing")
    parser.add_argument(
        "--tensorrt_version", metavar="X", help="plan for this release, like 10.3.0 or rtx (default: the installed one)"
    )
    return parser


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command and return its exit code."""
    args = _parser().parse_args(argv)
    # Imported here, so that --help and a mistyped flag answer at once.
    from edge.errors import EdgeError
    from export.tensorrt import command

    try:
        command.run(args)
    except EdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the engine that was there is unchanged", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
