"""The table of pruned runs, as Markdown: printed, or written anew in a document; the text around it stays.

python -m hartx.pruning.table runs/depth_video_pruned runs/rgb_pruned
python -m hartx.pruning.table runs/depth_video_pruned --output=docs/quantization.md

In the document it stands between two lines:

    <!-- pruning:runs -->
    <!-- /pruning:runs -->
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hartx import config as configs
from hartx.blocks import markdown_table, read_document, with_blocks
from hartx.command import run_command
from hartx.errors import HartxError
from hartx.files import write_text
from hartx.pruning.record import read_plan, top1_change

_MARKER = "<!-- pruning:runs"
COLUMNS = ("run", "protocol", "parameters", "GFLOPs", "float32 weights, MB", "top-1", "recordings")


def row(workdir: Path) -> list[str]:
    """Return the cells of a pruned run that was evaluated: before, after and change in each column.

    Raises:
      HartxError: if the run prunes no other or was not evaluated.
    """
    plan, config = read_plan(workdir), configs.load(workdir)
    if "after" not in plan:
        raise HartxError(f"{workdir} was not evaluated yet; finish it: python main.py --workdir={workdir}")
    before, after = plan["before"], plan["after"]
    return [
        f"`{config.name}`, seed {config.seed}",
        config.protocol,
        _cell(before, after, "parameters", 1.0, ",.0f"),
        _cell(before, after, "flops", 1e9, ".3f"),
        _cell(before, after, "weights_bytes", 1e6, ".2f"),
        _accuracy(plan),
        str(after["clips"]),
    ]


def table(workdirs: Sequence[Path]) -> str:
    """Return the whole Markdown table of some pruned runs, in their order, ending with a line break."""
    return markdown_table(COLUMNS, map(row, workdirs), left=2)


def write_table(workdirs: Sequence[Path], output: Path) -> Path:
    """Write the table of a document anew and return the document; nothing is written if anything is absent.

    Raises:
      HartxError: as `row`, or if there is no such document, or no table of this kind in it.
    """
    text = read_document(output)
    if _MARKER not in text:
        raise HartxError(
            f"{output} has no place for the table; {_MARKER} --> and <!-- /pruning:runs -->, each on its own line, "
            "are expected"
        )

    def written(_: str, names: list[str]) -> str:
        if names:
            raise HartxError(f"<!-- pruning:runs {' '.join(names)} --> was given; the runs are those of the command")
        return table(workdirs)

    write_text(output, with_blocks(text, "pruning", ("runs",), written))
    return output


def _cell(before: dict[str, Any], after: dict[str, Any], field: str, scale: float, form: str) -> str:
    old, new = before[field], after[field]
    return f"{old / scale:{form}} → {new / scale:{form}} ({new / old - 1:+.1%})"


def _accuracy(plan: dict[str, Any]) -> str:
    change = top1_change(plan)
    if change is None:
        return "-"
    return f"{plan['before']['top1']:.2%} → {plan['after']['top1']:.2%} ({100 * change:+.2f} points)"


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m hartx.pruning.table", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workdirs", type=Path, nargs="+", metavar="RUN", help="folder of a finished pruned run")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the document; default: the table is printed")
    args = parser.parse_args(argv)
    if args.output is None:
        return run_command(lambda: print(table(args.workdirs), end=""))
    return run_command(lambda: print(write_table(args.workdirs, args.output)))


if __name__ == "__main__":
    sys.exit(main())
