"""Name the action in recordings.

    python -m edge.predict --bundle=bundles/a CLIP.avi --skeleton=CLIP_skeleton.mat --inertial=CLIP_inertial.mat

For several clips give --skeleton and --inertial once for each, in the same order. A clip that cannot be read is
reported and the others go on; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Optional, Sequence

from edge.bundle import Bundle
from edge.command import add_model_options, positive_float, report, run_command
from edge.errors import EdgeError
from edge.media import read_frames, read_inertial, read_skeleton
from edge.recognizer import ActionRecognizer, Prediction

_BAR_WIDTH = 30


@dataclass(frozen=True)
class Item:
    """The files of one recording."""

    clip: Optional[str]
    skeleton: Optional[str]
    inertial: Optional[str]

    @property
    def title(self) -> str:
        """The files as a heading."""
        return " + ".join(name for name in (self.clip, self.skeleton, self.inertial) if name)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command and return its exit code."""
    parser = _parser()
    args = parser.parse_intermixed_args(argv)  # CLIP --skeleton=... CLIP --skeleton=...
    items = _items(parser, args)
    return run_command(lambda: _run(args, items))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m edge.predict", description=__doc__.split("\n")[0])
    parser.add_argument(
        "clips",
        nargs="*",
        metavar="CLIP",
        help="video, or depth as .npy or *_depth.mat, as the bundle reads it",
    )
    parser.add_argument(
        "--skeleton", action="append", default=[], metavar="FILE", help=".npy, .txt, .csv or *_skeleton.mat"
    )
    parser.add_argument("--inertial", action="append", default=[], metavar="FILE", help=".npy or *_inertial.mat")
    add_model_options(parser, "a precision the bundle has (default: what the engine runs best)")
    parser.add_argument("--frame_rate", type=positive_float, metavar="HZ", help="instead of the file's own")
    parser.add_argument("--skeleton_rate", type=positive_float, metavar="HZ", help="instead of the file's own")
    parser.add_argument("--inertial_rate", type=positive_float, metavar="HZ", help="which no file tells")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of text")
    return parser


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


def _run(args: argparse.Namespace, items: Sequence[Item]) -> int:
    recognizer = ActionRecognizer.from_bundle(
        args.bundle, args.engine, args.precision, args.threads, cpus=args.cpus, warmup=0
    )
    if not args.json:
        print(f"{args.bundle}: {recognizer.bundle.model} in {recognizer.precision} by {recognizer.engine.name}")
    failed = False
    for item in items:
        try:
            prediction = _predict(recognizer, item, args)
        except EdgeError as error:
            failed = True
            report(error)
            outcome: Dict[str, Any] = {"error": str(error)}
        else:
            outcome = asdict(prediction)
            if not args.json:
                print("\n" + as_text(item.title, prediction))
        if args.json:
            print(json.dumps({**asdict(item), **outcome}), flush=True)
    return int(failed)


def _predict(recognizer: ActionRecognizer, item: Item, args: argparse.Namespace) -> Prediction:
    frames = read_frames(item.clip, _video_modality(recognizer.bundle, item.clip)) if item.clip else None
    skeleton = read_skeleton(item.skeleton) if item.skeleton else None
    inertial = read_inertial(item.inertial) if item.inertial else None
    return recognizer.predict(
        frames.values if frames else None,
        skeleton.values if skeleton else None,
        inertial.values if inertial else None,
        frame_rate_hz=args.frame_rate or (frames.rate_hz if frames else None),
        skeleton_rate_hz=args.skeleton_rate or (skeleton.rate_hz if skeleton else None),
        inertial_rate_hz=args.inertial_rate,
    )


def _video_modality(bundle: Bundle, clip: str) -> str:
    if bundle.video_modality is None:
        options = " ".join(f"--{modality}=FILE" for modality in bundle.specs)
        raise EdgeError(f"{clip} was given; this bundle reads {bundle.reads}, no video: give {options} instead")
    return bundle.video_modality


def as_text(title: str, prediction: Prediction) -> str:
    """Return a prediction for people to read."""
    width = max(len(score.action) for score in prediction.top5)
    lines = [title, f"  {prediction.action}, {prediction.confidence:.1%} sure"]
    for score in prediction.top5:
        bar = "#" * round(score.confidence * _BAR_WIDTH)
        lines.append(f"    {score.action:<{width}}  {score.confidence:6.1%}  {bar}".rstrip())
    lines.append(
        f"  {prediction.latency_ms:.1f} ms: reading and preprocessing {prediction.preprocess_ms:.1f}, "
        f"inference {prediction.inference_ms:.1f}"
    )
    if prediction.missing:
        lines.append(f"  without {', '.join(prediction.missing)}: fed zeros")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
