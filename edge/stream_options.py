"""The options of a command that watches a stream."""

from __future__ import annotations

import argparse
from typing import Optional

from edge.arguments import positive_int
from edge.runtime import StreamOptions
from edge.streaming import RELEASE_SHARE, usual_rule

RULE = usual_rule()


def add_stream_options(parser: argparse.ArgumentParser) -> None:
    """Add --stride, --smoothing, --threshold and --release."""
    smoothing, threshold = RULE.smoothing, RULE.threshold
    parser.add_argument(
        "--stride", type=positive_int, metavar="N", help="instants of a window until the next prediction (half of them)"
    )
    parser.add_argument(
        "--smoothing",
        type=positive_int,
        default=smoothing,
        metavar="N",
        help=f"predictions to average at most, those whose windows overlap the newest one ({smoothing})",
    )
    parser.add_argument(
        "--threshold", type=float, default=threshold, help=f"least confidence that names an action ({threshold})"
    )
    parser.add_argument(
        "--release", type=float, help=f"least confidence with which it goes on ({RELEASE_SHARE} of the threshold)"
    )


def stream_options(args: argparse.Namespace) -> StreamOptions:
    """Return what `add_stream_options` read."""
    return make_stream_options(args.stride, args.smoothing, args.threshold, args.release)


def make_stream_options(
    stride: Optional[int], smoothing: int, threshold: float, release: Optional[float]
) -> StreamOptions:
    """Return these options; without a `release`, that of `usual_rule`.

    Raises:
      EdgeError: if they do not fit together.
    """
    return StreamOptions(stride, usual_rule(threshold, smoothing, release))
