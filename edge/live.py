"""Watch a camera, a network stream or a file, and say which actions are seen.

    python -m edge.live --bundle=bundles/a --source=0
    python -m edge.live --bundle=bundles/a --source=CLIP.mp4 --record=OUT.mp4 --jsonl=events.jsonl

A file is played at its own rate, as if it came from a camera; with --every_frame as fast as it goes, and nothing is
dropped. SIGINT (Ctrl-C) and SIGTERM end it properly.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Optional, Sequence

from rich.console import Console

from edge.annotate import annotate
from edge.arguments import CommandParser, positive_float, some_name, some_path
from edge.bundle import Window
from edge.command import add_model_options, run_command
from edge.events import Ended, Notice, Started, StreamEvent, as_dict
from edge.files import check_not_read
from edge.interrupt import StopRequest, stop_on_signals
from edge.outputs import LONGEST_PAUSE_S, Display, JsonLines, LookRecorder
from edge.recognizer import ActionRecognizer
from edge.runtime import Look
from edge.stream_options import add_stream_options, stream_options
from edge.summary import StreamSummary

MEDIAPIPE = "mediapipe"


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command and return its exit code."""
    args = _parser().parse_args(argv)
    with stop_on_signals() as stop:
        return run_command(lambda: _run(args, stop))


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="python -m edge.live", description=__doc__.split("\n")[0])
    add_model_options(parser, "a precision the bundle has (default: what the engine runs best)")
    parser.add_argument("--source", metavar="WHAT", help="number of a camera (or /dev/video0), rtsp://..., or a file")
    parser.add_argument("--skeleton", metavar="FILE", help=f"skeletons that go with the source, or {MEDIAPIPE}")
    parser.add_argument("--inertial", metavar="FILE", help="inertial samples that go with the source")
    parser.add_argument("--frame_rate", type=positive_float, metavar="HZ", help="of a file, instead of its own")
    parser.add_argument("--skeleton_rate", type=positive_float, metavar="HZ", help="instead of the file's own")
    parser.add_argument("--inertial_rate", type=positive_float, metavar="HZ", help="which no file tells")
    parser.add_argument("--every_frame", action="store_true", help="read a file as fast as it goes, drop nothing")
    add_stream_options(parser)
    parser.add_argument("--display", action="store_true", help="show it in a window; q, Esc or closing it ends")
    parser.add_argument("--show_skeleton", action="store_true", help="draw the skeleton, too")
    parser.add_argument(
        "--record",
        type=some_path,
        metavar="FILE",
        help=f"write the annotated video (.mp4, .mkv, .avi), without pauses of over {LONGEST_PAUSE_S:.0f} s",
    )
    parser.add_argument(
        "--jsonl", type=some_name, metavar="FILE", help="write all events, a JSON object a line; - is stdout"
    )
    return parser


def _run(args: argparse.Namespace, stop: StopRequest) -> int:
    console = Console(stderr=args.jsonl == "-", highlight=False, soft_wrap=True)
    options = stream_options(args)
    jsonl = Path(args.jsonl) if args.jsonl else None
    check_not_read([args.record, jsonl], [args.source, args.skeleton, args.inertial])
    recognizer = ActionRecognizer.from_bundle(args.bundle, args.engine, args.precision, args.threads, cpus=args.cpus)
    console.print(f"{args.bundle}: {recognizer.bundle.model}, {recognizer.why}", markup=False)
    summary = StreamSummary()
    with ExitStack() as stack:
        viewer = _Viewer(args, summary, stop, stack)
        skeleton = _skeleton(args.skeleton, stack)
        events = recognizer.stream(
            args.source,
            skeleton,
            args.inertial,
            frame_rate_hz=args.frame_rate,
            skeleton_rate_hz=args.skeleton_rate,
            inertial_rate_hz=args.inertial_rate,
            real_time=not args.every_frame,
            options=options,
            on_frame=viewer.look,
            stop=stop,
        )
        # Only now: a camera that is not there leaves no file.
        lines = stack.enter_context(closing(JsonLines(args.jsonl))) if args.jsonl else None
        for event in stack.enter_context(closing(events)):  # type: ignore[type-var]
            summary.add(event)
            _say(console, event)
            if lines:
                lines.write(as_dict(event))
    for table in summary.tables():
        console.print(table)
    if summary.predictions == 0 and summary.frames and not stop.is_set():
        _say_too_short(args, summary.frames, viewer.seen_s, recognizer.bundle.window)
    return 0


def _say_too_short(args: argparse.Namespace, frames: int, seconds: float, window: Window) -> None:
    """Say on stderr, whatever goes to stdout, why nothing was recognised of a recording, and what to do."""
    print(
        f"{args.source or args.skeleton or args.inertial}: nothing could be recognised: {frames} frames in "
        f"{seconds:.1f} s do not fill a window of {window.frames} frames in {window.duration_s:.1f} s; "
        f"python -m edge.predict takes a recording of any length",
        file=sys.stderr,
    )


def _skeleton(given: Optional[str], stack: ExitStack) -> Any:
    if given != MEDIAPIPE:
        return given
    from edge.mediapipe_skeleton import MediaPipeSkeleton  # an optional package

    return stack.enter_context(closing(MediaPipeSkeleton()))


class _Viewer:
    """Shows and records the frames that are looked at.

    Attributes:
      seen_s: seconds from the beginning of the source to the last of them.
    """

    seen_s = 0.0

    def __init__(self, args: argparse.Namespace, summary: StreamSummary, stop: StopRequest, stack: ExitStack) -> None:
        self._summary, self._stop, self._show_skeleton = summary, stop, args.show_skeleton
        self._recorder = stack.enter_context(closing(LookRecorder(args.record))) if args.record else None
        self._display = stack.enter_context(closing(Display())) if args.display else None

    def look(self, look: Look) -> None:
        self._summary.saw_frame(time.perf_counter())
        self.seen_s = look.frame.time_s
        if self._display is None and self._recorder is None:
            return
        picture = annotate(look, self._summary.frame_rate_hz, self._show_skeleton)
        if self._recorder is not None:
            self._recorder.write(look, picture)
        if self._display is not None and self._display.show(picture):
            self._stop.set()


def _say(console: Console, event: StreamEvent) -> None:
    """Write what begins and ends, and what happened to the source, as lines for people."""
    if isinstance(event, Started):
        console.print(f"{event.time_s:8.1f} s  {event.action} begins, {event.confidence:.0%} sure", markup=False)
    elif isinstance(event, Ended):
        lasted_s = event.stop_s - event.start_s
        console.print(f"{event.time_s:8.1f} s  {event.action} ended after {lasted_s:.1f} s", markup=False)
    elif isinstance(event, Notice):
        when = "       -" if event.time_s is None else f"{event.time_s:8.1f}"
        console.print(f"{when} s  {event.text}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
