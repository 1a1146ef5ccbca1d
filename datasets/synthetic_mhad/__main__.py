"""Write synthetic recordings: `python -m datasets.synthetic_mhad --raw_dir=OUT`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from datasets.errors import DatasetError
from datasets.synthetic_mhad.motions import MOTIONS
from datasets.synthetic_mhad.preparing import FULL_SIZE, select, write
from datasets.utd_mhad import SUBJECTS


def numbers(text: str) -> list[int]:
    """Return the numbers of a list such as 1,3,5-8."""
    out: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        out += range(int(first), int(last or first) + 1)
    return out


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    out = argparse.ArgumentParser(
        prog="python -m datasets.synthetic_mhad",
        description="Write synthetic recordings of the 27 UTD-MHAD actions in the raw layout of the authors: "
        "RGB/*_color.avi, Depth/*_depth.mat, Skeleton/*_skeleton.mat, Inertial/*_inertial.mat. "
        "Training with no raw_dir makes such recordings by itself; this is for looking at them.",
        epilog="example: python -m datasets.synthetic_mhad --raw_dir=synthetic --trials=1 --size 96 128",
    )
    out.add_argument("--raw_dir", required=True, help="folder to write to, new or without these four folders")
    out.add_argument("--subjects", type=numbers, default=list(SUBJECTS), metavar="LIST", help="default 1-8")
    out.add_argument(
        "--actions", type=numbers, default=list(MOTIONS), metavar="LIST", help="such as 1,3,5-8; default 1-27"
    )
    out.add_argument("--trials", type=int, default=4, help="trials of each action by each subject, default 4")
    out.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=FULL_SIZE,
        metavar=("HEIGHT", "WIDTH"),
        help="of the colour pictures in pixels, depth is half of it; default 480 640",
    )
    out.add_argument("--seed", type=int, default=0, help="the same seed gives the same bytes; default 0")
    out.add_argument("--num_workers", type=int, default=None, help="processes, default one a core")
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parser().parse_args(arguments)
    try:
        selection = select(options.subjects, options.actions, options.trials, tuple(options.size), options.seed)
        write(**vars(options))
    except DatasetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{len(selection.ids)} recordings in {options.raw_dir}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
