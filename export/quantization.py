"""Write the tables of docs/quantization.md anew from what bundles say of themselves; the text around them stays.

python -m export.sensitivity --bundle=bundles/a --workdir=runs/a
python -m export.quantization --bundles=bundles/a,bundles/b --output=docs/quantization.md

A table stands between two lines, and shows the bundles that the first one names, by their folders, or all given:

    <!-- quantization:accuracy a b -->
    <!-- /quantization:accuracy -->

Tables: accuracy, calibrators, layers, sensitivity. They come from bundle.json, export.json, calibration.json and
sensitivity.json alone: nothing is measured here.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge.arguments import CommandParser
from edge.errors import EdgeError
from export.errors import ExportError
from export.quantization_tables import KINDS, Facts, choose, read_facts
from hartx.blocks import read_document, with_blocks
from hartx.errors import HartxError
from hartx.files import write_text


def write_tables(bundles: list[Path], output: Path) -> None:
    """Write a document's tables anew; nothing is written if anything is absent.

    Raises:
      ExportError: if two bundles have one name, or one has nothing for a table.
      EdgeError: if a bundle is damaged.
      HartxError: if there is no such document, or for markers that are not as they should be.
    """
    document = read_document(output)
    facts: dict[str, Facts] = {}
    for bundle in bundles:
        found = read_facts(bundle)
        if found.name in facts:
            raise ExportError(
                f"two of the bundles are named {found.name!r}; they are told apart by their folders' names"
            )
        facts[found.name] = found

    def written(kind: str, names: list[str]) -> str:
        return KINDS[kind](choose(kind, names, facts))

    write_text(output, with_blocks(document, "quantization", KINDS, written))


def _folders(text: str) -> list[Path]:
    if not all(name.strip() for name in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} was given; folders with commas between them are expected")
    return [Path(name.strip()) for name in text.split(",")]


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = CommandParser(
        prog="python -m export.quantization", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundles", type=_folders, required=True, metavar="FOLDERS", help="with commas between them")
    parser.add_argument(
        "--output", type=Path, default=Path("docs/quantization.md"), metavar="FILE", help="default: %(default)s"
    )
    args = parser.parse_args(argv)
    try:
        write_tables(args.bundles, args.output)
    except (ExportError, EdgeError, HartxError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(args.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
