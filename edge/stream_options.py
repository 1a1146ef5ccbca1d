"""The options of a command that watches a stream."""

from __future__ import annotations

import argparse
from typing import Optional

from edge.arguments import positive_int
from edge.runtime import StreamOptions
from edge.streaming import StreamRule

RULE = StreamOptions().rule
_RELEASE_SHARE = (RULE.release or 0.0) / RULE.threshold


def add_stream_options(parser: argparse.ArgumentParser) -> None:
    """Add --stride, --smoothing, --threshold and --release."""
    smoothing, threshold = RULE.smoothing, RULE.threshold
    parser.add_argument(
        "--stride", type=positive_int, metavar="N", help="frames of a window to the next (half of them)"
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
        "--release", type=float, help=f"least confidence that keeps it ({_RELEASE_SHARE} of the threshold)"
    )


def stream_options(args: argparse.Namespace) -> StreamOptions:
    """Return what `add_stream_options` read."""
    return make_stream_options(args.stride, args.smoothing, args.threshold, args.release)


def make_stream_options(
    stride: Optional[int], smoothing: int, threshold: float, release: Optional[float]
) -> StreamOptions:
    """Return these options; without a `release` it is the usual share of the threshold.

    Raises:
      EdgeError: if they do not fit together.
    """
    release = _RELEASE_SHARE * threshold if release is None else release
    return StreamOptions(stride, StreamRule(threshold, smoothing, release))
