"""The options of a command that watches a stream."""

from __future__ import annotations

import argparse

from edge.command import positive_int
from edge.runtime import StreamOptions
from edge.streaming import StreamRule


def add_stream_options(parser: argparse.ArgumentParser) -> None:
    """Add --stride, --smoothing, --threshold and --release."""
    parser.add_argument(
        "--stride", type=positive_int, metavar="N", help="frames of a window to the next (half of them)"
    )
    parser.add_argument("--smoothing", type=positive_int, default=5, metavar="N", help="predictions to average (5)")
    parser.add_argument("--threshold", type=float, default=0.5, help="least confidence that names an action (0.5)")
    parser.add_argument("--release", type=float, help="least confidence that keeps it (0.8 of the threshold)")


def stream_options(args: argparse.Namespace) -> StreamOptions:
    """Return what `add_stream_options` read."""
    release = 0.8 * args.threshold if args.release is None else args.release
    return StreamOptions(args.stride, StreamRule(args.threshold, args.smoothing, release))
