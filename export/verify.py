"""Check a bundle: hashes, structure, placement rules, metadata, and how close it is to the trained model.

python -m export.verify --bundle=bundles/a
python -m export.verify --bundle=bundles/a --workdir=runs/a --raw_dir=UTD-MHAD
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from datasets.errors import DatasetError
from edge.arguments import CommandParser
from edge.errors import EdgeError
from export.errors import ExportError
from hartx.errors import HartxError

if TYPE_CHECKING:
    import numpy as np

    from export.checks import Check
    from export.clips import Clips
    from export.contents import Contents
    from export.formats import Format
    from export.parity import Compute
    from hartx.run import Run

_EPILOG = """\
Without --workdir the files are held against each other and against the rules of their formats; with it, every
format is run on recordings of the run and held against the trained model. Exit code 1 if any check fails.
"""


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m export.verify",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bundle", type=Path, required=True, metavar="FOLDER", help="the bundle")
    parser.add_argument("--workdir", type=Path, metavar="RUN", help="the run that it was made from")
    parser.add_argument("--raw_dir", metavar="FOLDER", help="where the run's recordings are now, if they were moved")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.raw_dir is not None and args.workdir is None:
        parser.error("--raw_dir says where the recordings of --workdir are; give that too")
    # Imported here, so that --help and a mistyped flag answer at once.
    from export.clips import RunClips
    from hartx.run import load_run

    try:
        run = None if args.workdir is None else load_run(args.workdir)
        if run is not None and args.raw_dir is not None:
            run.config.dataset.raw_dir = args.raw_dir
        checks = list(verify(args.bundle, run, None if run is None else RunClips(run)))
    except (ExportError, HartxError, DatasetError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 1
    _show(args.bundle, checks)
    return int(not all(check.passed for check in checks))


def verify(bundle: Path, run: Run | None, clips: Clips | None) -> Iterator[Check]:
    """Yield every check of a bundle; the first one alone if the device would refuse it.

    Args:
      bundle: its folder.
      run: the run it should have been made from; None to check the files alone.
      clips: the run's recordings.
    """
    from export import checks, int8_checks
    from export.bundle import SENSITIVITY_FILE
    from export.contents import read

    try:
        contents = read(bundle)
    except (EdgeError, ExportError) as error:
        yield checks.Check("bundle.json", "fields, sizes, hashes", False, str(error))
        return
    listed = len(contents.raw["files"])
    yield checks.Check("bundle.json", "fields, sizes, hashes", True, f"{listed} files are as they were written")
    yield checks.attempt("bundle.json", "accuracy as it was measured", lambda: checks.accuracy(contents))
    for row in contents.rows:
        yield from checks.check_format(contents, row)
    if contents.path(SENSITIVITY_FILE).exists():
        yield checks.attempt(SENSITIVITY_FILE, "of these models", lambda: int8_checks.sensitivity(contents))
    if run is not None and clips is not None:
        yield from _against_run(contents, run, clips)


def _against_run(contents: Contents, run: Run, clips: Clips) -> Iterator[Check]:
    """Yield the checks that need the trained model; the first one alone if it is another run's bundle."""
    from export import int8_checks
    from export.checks import attempt
    from export.exporter import parity_clips, trained

    from_run = attempt("bundle.json", "made from the run", lambda: same_run(contents, run))
    yield from_run
    if not from_run.passed:
        return
    if any(row.precision == "int8" for row in contents.rows) and int8_checks.has_layers(contents):
        yield attempt("calibration.json", "training recordings only", lambda: _calibration_clips(contents, clips))
    reference, chosen = trained(run, contents.inputs, contents.head), parity_clips(clips)
    for row in contents.rows:
        yield attempt(row.file, "parity with the trained model", partial(_parity, contents, row, reference, chosen))


def _parity(contents: Contents, row: Format, reference: Compute, chosen: Sequence[Mapping[str, np.ndarray]]) -> str:
    from export.checks import compute
    from export.parity import compare

    found = compare(compute(contents, row), reference, contents.inputs, chosen, row.tolerance)
    if not found.holds:
        raise ExportError(str(found))
    return str(found)


def same_run(contents: Contents, run: Run) -> str:
    """Return the step of the run that a bundle was made from.

    Raises:
      ExportError: if it was made from another one.
    """
    from export.bundle import identify

    found, expected = contents.raw.get("run"), identify(run)
    if found != expected:
        raise ExportError(f"the bundle was made from {found}; the run in {run.workdir} is {expected}")
    if contents.bundle.labels != run.labels or list(contents.bundle.specs.values()) != list(run.specs.values()):
        raise ExportError("labels or preprocessing of the bundle are not those of the run")
    return f"step {run.step}; labels and preprocessing agree"


def _calibration_clips(contents: Contents, clips: Clips) -> str:
    names = contents.read_json("calibration.json").get("clips", [])
    strange = sorted(set(names) - {entry.name for entry in clips.entries("train")})
    if strange or not names:
        raise ExportError(f"not among the run's training recordings: {', '.join(strange) or 'no clips are named'}")
    return f"{len(names)} clips"


def _show(bundle: Path, checks: list[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"bundle {bundle}")
    for column in ("file", "check", "", "found"):
        table.add_column(column, overflow="fold")
    for check in checks:
        outcome = Text("pass", "green") if check.passed else Text("FAIL", "bold red")
        table.add_row(check.subject, check.name, outcome, Text(check.note))
    console = Console()
    console.print(table)
    failed = sum(not check.passed for check in checks)
    console.print(f"{failed} of {len(checks)} checks failed" if failed else f"all {len(checks)} checks passed")


if __name__ == "__main__":
    sys.exit(main())
