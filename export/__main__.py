"""Export a finished run as a bundle for the device."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from pathlib import Path

from datasets.errors import DatasetError
from edge.arguments import CommandParser, points, positive_int
from edge.errors import EdgeError
from export import formats
from export.errors import ExportError
from export.estimators import AUTO, ESTIMATORS
from hartx.errors import HartxError, suggestion

_EPILOG = f"""\
A bundle is one folder and all the device needs: the models, calibration.json (where ranges of values were
measured for int8), calibration.cache (the same scales for TensorRT), bundle.json, export.json (how the export
went) and model_card.md. Each model is compared with
the trained one on recordings before anything is written; ranges come from training recordings only.

formats:
{formats.as_text()}

  python -m export --workdir=runs/a --bundle=bundles/a --formats=onnx-fp32,onnx-fp16,stablehlo --softmax
  python -m export.verify --bundle=bundles/a --workdir=runs/a
  python -m export.sensitivity --bundle=bundles/a --workdir=runs/a
  python -m edge.predict --bundle=bundles/a CLIP.avi
"""


def _formats(text: str) -> tuple[formats.Format, ...]:
    try:
        return formats.parse(text)
    except ExportError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _opset(text: str) -> int:
    if not text.isdecimal() or int(text) not in formats.OPSETS:
        first, last = formats.OPSETS[0], formats.OPSETS[-1]
        raise argparse.ArgumentTypeError(f"{text!r} was given; a whole number from {first} to {last} is expected")
    return int(text)


def _batch(text: str) -> int | None:
    if text == "dynamic":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} was given; dynamic or a whole number from 1 is expected")
    return int(text)


def _patterns(text: str) -> tuple[str, ...]:
    patterns = tuple(pattern.strip() for pattern in text.split(","))
    if not all(patterns):
        raise argparse.ArgumentTypeError(f"{text!r} was given; patterns with commas between them are expected")
    return patterns


def _calibrator(text: str) -> str:
    names = (AUTO, *ESTIMATORS)
    if text not in names:
        near = suggestion(text, names)
        raise argparse.ArgumentTypeError(f"{text!r} was given; one of {', '.join(names)} is expected{near}")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="python -m export",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workdir", type=Path, required=True, metavar="RUN", help="folder of the finished run")
    parser.add_argument("--bundle", type=Path, required=True, metavar="FOLDER", help="the bundle to write")
    parser.add_argument("--raw_dir", metavar="FOLDER", help="where the run's recordings are now, if they were moved")
    parser.add_argument(
        "--formats",
        type=_formats,
        metavar="LIST",
        help=f"of {','.join(formats.BY_NAME)}, see below; default: {','.join(formats.DEFAULT)}, the latter only where "
        "the model has a use for it (3D convolutions)",
    )
    defaults = formats.Options()
    parser.add_argument(
        "--opset",
        type=_opset,
        default=defaults.opset,
        metavar="N",
        help="version of ONNX's operators, 13 to 21: 13 for TensorRT 8.2 (default: %(default)s)",
    )
    parser.add_argument(
        "--batch",
        type=_batch,
        default=defaults.batch,
        metavar="N|dynamic",
        help="clips that the model takes at a time; the device's recogniser gives one (default: dynamic)",
    )
    parser.add_argument(
        "--softmax",
        action="store_true",
        help="put the fitted temperature and a softmax into the model, whose output is then probabilities",
    )
    parser.add_argument(
        "--calibration_clips",
        type=positive_int,
        default=defaults.calibration_clips,
        metavar="N",
        help="training clips on which ranges of values are measured, spread over the actions (default: %(default)s)",
    )
    parser.add_argument(
        "--calibrator",
        type=_calibrator,
        default=defaults.calibrator,
        metavar="NAME",
        help=f"how a tensor's range follows from its values: {', '.join(ESTIMATORS)}; default: {AUTO}, the one whose "
        "int8 model is most accurate on a training subject that the ranges did not come from",
    )
    parser.add_argument(
        "--keep_float",
        type=_patterns,
        default=defaults.keep_float,
        metavar="PATTERNS",
        help="layers that stay in float in the int8 model, by the names that python -m export.sensitivity shows: "
        "node_Conv_20,node_Conv_4? for example",
    )
    parser.add_argument(
        "--max_drop",
        type=points,
        default=defaults.max_drop,
        metavar="POINTS",
        help="points of top-1 that int8 may lose against float on a training subject that the ranges did not come "
        "from; layers return to float, the most sensitive first, until it holds; kept in the bundle, where "
        "python -m export.tensorrt reads it (default: no limit)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = _parser().parse_args(argv)
    options = formats.Options(
        **{field.name: getattr(args, field.name) for field in dataclasses.fields(formats.Options)}
    )
    logging.getLogger("jax2onnx").setLevel(logging.ERROR)
    # Imported here, so that --help and a mistyped flag answer at once.
    from export.clips import RunClips
    from export.exporter import check_target, export
    from export.steps import Steps
    from hartx.run import load_run

    try:
        chosen = args.formats or [formats.BY_NAME[name] for name in formats.DEFAULT]
        formats.check_options(chosen, options)
        formats.check_packages(chosen)
        run = load_run(args.workdir)
        if args.raw_dir is not None:
            run.config.dataset.raw_dir = args.raw_dir
        check_target(args.bundle, run)  # before recordings are opened, which may take a while
        export(run, RunClips(run), args.bundle, args.formats, options, Steps())
    except (ExportError, EdgeError, HartxError, DatasetError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; a bundle is written at the end, as a whole", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
