"""Prepare UTD-MHAD for training. Training does the same by itself on first use."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from datasets import utd_mhad
from datasets.errors import DatasetError

_EPILOG = """\
examples:
  python -m datasets.utd_mhad --raw_dir=UTD-MHAD              folders or zips, any subset of the four modalities
  python -m datasets.utd_mhad                                 downloads the zips (more than 1.1 GB) first
  python -m datasets.utd_mhad --ca_bundle=intermediate.pem    the same, trusting one more certificate
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m datasets.utd_mhad",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--raw_dir", type=Path, help="folder with the recordings as the authors publish them; downloaded if not given"
    )
    parser.add_argument(
        "--data_dir",
        type=Path,
        help="where prepared datasets are kept (TFDS_DATA_DIR or ~/tensorflow_datasets)",
    )
    parser.add_argument(
        "--allow_partial", action="store_true", help="leave out files that are damaged, missing or unexpected"
    )
    parser.add_argument("--num_workers", type=_positive, help="number of processes (default: one a core)")
    parser.add_argument("--ca_bundle", type=Path, help="PEM file with certificates to trust in the download")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} was given, 1 or more is expected")
    return number


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    import tensorflow_datasets as tfds  # takes a second; --help does not wait for it

    data_dir = arguments.data_dir or Path(tfds.core.constants.DATA_DIR)
    try:
        builder = utd_mhad.prepare(
            arguments.raw_dir,
            data_dir,
            allow_partial=arguments.allow_partial,
            num_workers=arguments.num_workers,
            ca_bundle=arguments.ca_bundle,
        )
    except DatasetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    splits = {name: split.num_examples for name, split in sorted(builder.info.splits.items())}
    print(f"{sum(splits.values())} recordings, {builder.info.dataset_size / 1e6:.0f} MB, in {builder.data_dir}")
    print("  " + ", ".join(f"{name}: {count}" for name, count in splits.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
