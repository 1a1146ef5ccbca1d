"""Prepare a folder of clips for training. Training does the same by itself on first use."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from datasets import video_folder
from datasets.errors import DatasetError

_EPILOG = """\
example: python -m datasets.video_folder --raw_dir=clips
  clips/wave/one.mp4          a folder a class, or
  clips/wave/anna/one.mp4     in it a folder a person, so that nobody who trains is tested
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m datasets.video_folder",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--raw_dir", type=Path, required=True, help="the folder with the clips")
    parser.add_argument(
        "--data_dir", type=Path, help="where prepared datasets are kept (TFDS_DATA_DIR or ~/tensorflow_datasets)"
    )
    parser.add_argument("--allow_partial", action="store_true", help="leave out clips that are damaged")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    import tensorflow_datasets as tfds  # takes a second; --help does not wait for it

    data_dir = arguments.data_dir or Path(tfds.core.constants.DATA_DIR)
    try:
        builder = video_folder.prepare(arguments.raw_dir, data_dir, allow_partial=arguments.allow_partial)
    except DatasetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    count = sum(split.num_examples for split in builder.info.splits.values())
    print(f"{count} clips, {builder.info.dataset_size / 1e6:.1f} MB, in {builder.data_dir}")
    print("  classes: " + ", ".join(f"{action} {clips}" for action, clips in builder.info.metadata["clips"].items()))
    people = ", ".join(f"{number} {person}" for number, person in builder.info.metadata["people"].items())
    print("  people: " + (people or "the folders do not tell; split at random: --config.protocol=random80:0"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
