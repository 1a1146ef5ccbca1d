"""Which layers INT8 hurts: each alone in int8, all others in float, on recordings of the run's training subjects.

python -m export.sensitivity --bundle=bundles/a --workdir=runs/a
python -m export.sensitivity --bundle=bundles/a --workdir=runs/a --raw_dir=UTD-MHAD --clips=27
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from datasets.errors import DatasetError
from edge.arguments import CommandParser, positive_int
from edge.errors import EdgeError
from export.errors import ExportError
from hartx.errors import HartxError

# Four of each of the 27 actions, one of each subject of cross_subject.
CLIPS = 108

_EPILOG = """\
Prints a table, the most sensitive layer first, and writes sensitivity.json and sensitivity.png into the bundle.
bundle.json does not list them, so that it stays as it was exported; a new export removes them. The names are those
that python -m export --keep_float takes.

SQNR: energy of the float model's logits over that of their change by int8, in decibel: 20 dB is a tenth of the
amplitude, 40 dB a hundredth. KL: how far the probabilities are from the float model's, in nats. Each layer is run on
each clip, on a CPU in float arithmetic that gives int8's values, so this takes a while: layers + 2 times the clips.
What was stopped goes on where it was, if the models and the clips are the same.
"""


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m export.sensitivity",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", type=Path, required=True, metavar="FOLDER", help="the bundle, with onnx-int8 in it")
    parser.add_argument(
        "--workdir",
        type=Path,
        required=True,
        metavar="RUN",
        help="the run that it was made from: whose subjects trained",
    )
    parser.add_argument("--raw_dir", metavar="FOLDER", help="where the run's recordings are now, if they were moved")
    parser.add_argument(
        "--clips",
        type=positive_int,
        default=CLIPS,
        metavar="N",
        help="training clips to measure on, spread over the actions and subjects (default: %(default)s)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = _parser().parse_args(argv)
    # Imported here, so that --help and a mistyped flag answer at once.
    from rich.console import Console

    from export import sensitivity_report
    from export.clips import RunClips
    from export.contents import read
    from export.sensitivity_measure import PARTIAL_FILE, check_int8, measure
    from hartx.run import load_run

    try:
        contents = read(args.bundle)
        check_int8(contents)  # before recordings are opened, which may take a while
        if not os.access(args.bundle, os.W_OK):
            raise ExportError(f"{args.bundle} cannot be written, where the result goes")
        run = load_run(args.workdir)
        if args.raw_dir is not None:
            run.config.dataset.raw_dir = args.raw_dir
        found = measure(contents, run, RunClips(run), args.clips)
        Console().print(sensitivity_report.table(found))
        for path in sensitivity_report.write(args.bundle, found):
            print(path)
        contents.path(PARTIAL_FILE).unlink(missing_ok=True)
    except (ExportError, EdgeError, HartxError, DatasetError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.filename or args.bundle} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
