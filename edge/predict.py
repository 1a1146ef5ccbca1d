"""Name the action in recordings.

    python -m edge.predict --bundle=bundles/a CLIP.avi --skeleton=CLIP_skeleton.mat --inertial=CLIP_inertial.mat
    python -m edge.predict --bundle=bundles/a FOLDER --skeleton=FOLDER --output=OUT --visualize

For several clips give --skeleton and --inertial once for each, in the same order; files in folders belong together
by their names. A clip that cannot be read is reported and the others go on; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from edge.arguments import CommandParser, positive_float, some_path
from edge.bundle import Bundle
from edge.command import add_model_options, report, run_command
from edge.errors import EdgeError
from edge.interrupt import Stopped, StopRequest, stop_on_signals
from edge.items import Item, items_of_folders, output_names
from edge.outputs import LONGEST_PAUSE_S
from edge.recognizer import ActionRecognizer
from edge.recording import predict_files, video_modality
from edge.report import NOT_SHOWN, REPORT_FILE, Report, places, stamps
from edge.runtime import StreamOptions
from edge.stream_options import add_stream_options, stream_options
from edge.visualize import visualize

_BAR_WIDTH = 30
_TASK = TaskID(0)
_NO_TIMELINE = "no timeline: shorter than a window"


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command and return its exit code."""
    parser = _parser()
    args = parser.parse_intermixed_args(argv)  # CLIP --skeleton=... CLIP --skeleton=...
    if args.visualize and not args.output:
        parser.error("--visualize writes files; say where: --output=FOLDER")
    files = None if _names_folders(parser, args) else _items(parser, args)
    with stop_on_signals() as stop:
        return run_command(lambda: _run(args, files, stop))


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="python -m edge.predict", description=__doc__.split("\n")[0])
    parser.add_argument(
        "clips",
        nargs="*",
        metavar="CLIP",
        help="video, or depth as .npy or *_depth.mat, as the bundle reads it; or one folder of these",
    )
    parser.add_argument(
        "--skeleton", action="append", default=[], metavar="FILE", help=".npy, .txt, .csv, *_skeleton.mat, or a folder"
    )
    parser.add_argument(
        "--inertial", action="append", default=[], metavar="FILE", help=".npy, *_inertial.mat, or a folder"
    )
    add_model_options(parser, "a precision the bundle has (default: what the engine runs best)")
    parser.add_argument("--frame_rate", type=positive_float, metavar="HZ", help="instead of the file's own")
    parser.add_argument("--skeleton_rate", type=positive_float, metavar="HZ", help="instead of the file's own")
    parser.add_argument("--inertial_rate", type=positive_float, metavar="HZ", help="which no file tells")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of text")
    parser.add_argument("--output", type=some_path, metavar="FOLDER", help="write a report there, and go on with one")
    parser.add_argument(
        "--visualize",
        action="store_true",
        help="watch each as a stream, write annotated videos (without pauses of over "
        f"{LONGEST_PAUSE_S:.0f} s) and timelines, too",
    )
    add_stream_options(parser)
    return parser


def _names_folders(parser: argparse.ArgumentParser, args: argparse.Namespace) -> bool:
    """Return whether folders were given; one at most of each kind then."""
    lists = (args.clips, args.skeleton, args.inertial)
    if any(not name for names in lists for name in names):
        parser.error("an empty name was given; is a variable of the shell not set?")
    if not any(Path(name).is_dir() for names in lists for name in names):
        return False
    if max(map(len, lists)) > 1:
        parser.error("of folders, one for the clips, one --skeleton and one --inertial are expected")
    return True


def _items(parser: argparse.ArgumentParser, args: argparse.Namespace) -> List[Item]:
    files = {"clips": args.clips, "skeletons": args.skeleton, "inertial files": args.inertial}
    counts = {what: len(names) for what, names in files.items() if names}
    if not counts:
        parser.error("give at least one CLIP, --skeleton or --inertial")
    if len(set(counts.values())) > 1:
        given = " and ".join(f"{count} {what}" for what, count in counts.items())
        parser.error(f"{given} were given; one each is expected")
    count = max(counts.values())
    return [Item(*names) for names in zip(*(names or [None] * count for names in files.values()))]


def _run(args: argparse.Namespace, files: Optional[List[Item]], stop: StopRequest) -> int:
    options = stream_options(args)
    if options != StreamOptions() and not args.visualize:
        raise EdgeError(
            "--stride, --smoothing, --threshold and --release say how a stream is watched; give --visualize, too"
        )
    recognizer = ActionRecognizer.from_bundle(
        args.bundle, args.engine, args.precision, args.threads, cpus=args.cpus, warmup=0
    )
    if not args.json:
        print(f"{args.bundle}: {recognizer.bundle.model}, {recognizer.why}")
    items = files if files is not None else _items_of_folders(args, recognizer.bundle)
    batch = Batch(args, recognizer, options, stop)
    with ExitStack() as stack:
        if args.output:
            batch.report = stack.enter_context(
                closing(Report(args.output, recognizer, _settings(args, options), items))
            )
        bar = stack.enter_context(_progress(len(items) if files is None else None))
        for item, name in zip(items, output_names(items) if args.visualize else [""] * len(items)):
            if stop.is_set():
                break
            bar.update(_TASK, description=item.key)
            batch.handle(item, name, whole_text=files is not None)
            bar.advance(_TASK)
    if files is None and not args.json:
        print(batch.counts(len(items)))
    return 128 + stop.signal if stop.signal else int(batch.failed > 0)


def _items_of_folders(args: argparse.Namespace, bundle: Bundle) -> List[Item]:
    clips, skeletons, inertial = (names[0] if names else None for names in (args.clips, args.skeleton, args.inertial))
    if clips:
        video_modality(bundle, clips)
    return items_of_folders(clips, skeletons, inertial, bundle.video_modality)


def _settings(args: argparse.Namespace, options: StreamOptions) -> Dict[str, Any]:
    """Return what else the rows of a report depend on."""
    rates = {name: getattr(args, name) for name in ("frame_rate", "skeleton_rate", "inertial_rate")}
    return {**rates, "visualize": {**asdict(options.rule), "stride": options.stride} if args.visualize else None}


def _progress(total: Optional[int]) -> Progress:
    """Return a progress bar on stderr; none where no number of steps is given, or nobody looks."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(
        *columns,
        console=console,
        disable=total is None or not console.is_terminal,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # else what is printed would go to the bar's stderr, and not to the file
    )
    progress.add_task("", total=total)
    return progress


class Batch:
    """Predicts recordings one after the other; one that is bad is a row like the others.

    Attributes:
      report: where the rows go; None for nowhere.
      failed: recordings that could not be predicted.
      kept: recordings whose row was in the report already.
    """

    def __init__(
        self, args: argparse.Namespace, recognizer: ActionRecognizer, options: StreamOptions, stop: StopRequest
    ) -> None:
        self.report: Optional[Report] = None
        self.failed = self.kept = self.done = 0
        self._args, self._recognizer, self._options, self._stop = args, recognizer, options, stop
        self._rates_hz = {kind: getattr(args, kind + "_rate") for kind in ("frame", "skeleton", "inertial")}

    def handle(self, item: Item, name: str, whole_text: bool) -> None:
        """Predict one recording, and print and report it."""
        row = self.report.done(item) if self.report else None
        if row is not None:
            self.kept += 1
        else:
            row = {**asdict(item), "places": places(item), "files": stamps(item)}
            try:
                with self._stop.breaking_off():  # an hour of video takes minutes to read
                    row.update(asdict(predict_files(self._recognizer, item, self._rates_hz)))
                if self._args.visualize:
                    seen = self._visualize(item, name)
                    if seen is None:
                        return  # the video was broken off
                    row.update(seen)
            except Stopped:
                return
            except (EdgeError, OSError) as error:
                if self._stop.is_set():
                    return  # perhaps because of that
                row["error"] = str(error)
            if self.report:
                self.report.add(row)
        self._print(item, row, whole_text)

    def _visualize(self, item: Item, name: str) -> Optional[Dict[str, Any]]:
        if self.report:
            self.report.start_drawing(item, name)
        return visualize(self._recognizer, item, self._rates_hz, self._args.output / name, self._options, self._stop)

    def _print(self, item: Item, row: Dict[str, Any], whole_text: bool) -> None:
        self.done += 1
        self.failed += "error" in row
        if self._args.json:
            print(json.dumps({key: value for key, value in row.items() if key not in NOT_SHOWN}), flush=True)
        if "error" in row:
            report(EdgeError(row["error"]))
        elif not self._args.json:
            print("\n" + as_text(item.title, row) if whole_text else as_line(item.title, row))

    def counts(self, total: int) -> str:
        """Return how it went, for people."""
        text = f"{self.done} of {total}: {self.done - self.failed} predicted"
        text += f" ({self.kept} of them before)" if self.kept else ""
        text += f", {self.failed} could not be" if self.failed else ""
        return text + (f"; report: {self._args.output / REPORT_FILE}" if self._args.output else "")


def as_line(title: str, row: Dict[str, Any]) -> str:
    """Return a row of a report as one line for people."""
    without = f", without {', '.join(row['missing'])}" if row["missing"] else ""
    short = f" ({_NO_TIMELINE})" if row.get("video") and not row["timeline"] else ""
    return f"{row['action']}, {row['confidence']:.1%} sure{without}: {title}{short}"


def as_text(title: str, row: Dict[str, Any]) -> str:
    """Return a row of a report for people to read."""
    width = max(len(score["action"]) for score in row["top5"])
    lines = [title, f"  {row['action']}, {row['confidence']:.1%} sure"]
    for score in row["top5"]:
        bar = "#" * round(score["confidence"] * _BAR_WIDTH)
        lines.append(f"    {score['action']:<{width}}  {score['confidence']:6.1%}  {bar}".rstrip())
    lines.append(
        f"  {row['latency_ms']:.1f} ms: reading and preprocessing {row['preprocess_ms']:.1f}, "
        f"inference {row['inference_ms']:.1f}"
    )
    if row["missing"]:
        lines.append(f"  without {', '.join(row['missing'])}: fed zeros")
    for event in row.get("events", ()):
        lines.append(f"  {event['start_s']:.1f} to {event['stop_s']:.1f} s: {event['action']}")
    if row.get("video"):
        lines.append(f"  {row['video']}, {row['timeline'] or _NO_TIMELINE}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
