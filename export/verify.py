"""Check a bundle: hashes, structure, placement rules, metadata, and how close it is to the trained model.

python -m export.verify --bundle=bundles/a
python -m export.verify --bundle=bundles/a --workdir=runs/a --raw_dir=UTD-MHAD
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from datasets.errors import DatasetError
from edge.arguments import CommandParser
from export.errors import ExportError
from hartx.errors import HartxError

if TYPE_CHECKING:
    from export.checks import Check

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
    from export.verification import verify
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
