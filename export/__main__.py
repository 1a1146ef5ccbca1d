"""Export a finished run as a bundle for the device."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from datasets.errors import DatasetError
from export.errors import ExportError
from export.estimators import AUTO, ESTIMATORS
from hartx.errors import HartxError, suggestion

_EPILOG = """\
A bundle is one folder and all the device needs: model.fp32.onnx, model.int8.onnx, calibration.json,
calibration.cache (the same scales for TensorRT), bundle.json and model_card.md. The fp32 model is
compared with the trained one on recordings before anything is written; the scales of the int8 model come
from training recordings only.

  python -m export --workdir=runs/a --bundle=bundles/a
  python -m edge.predict --bundle=bundles/a CLIP.avi
"""

# Of `exporter.PRECISIONS`, which is not imported here so that --help answers at once.
_PRECISIONS = ("fp32", "int8")


def _precisions(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in _PRECISIONS:
            raise argparse.ArgumentTypeError(f"{name!r} was given; any of {', '.join(_PRECISIONS)} is expected")
    if "fp32" not in names:
        raise argparse.ArgumentTypeError("fp32 must be among them: the others are made from it")
    return names


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} was given; a whole number from 1 is expected")
    return int(text)


def _calibrator(text: str) -> str:
    names = (AUTO, *ESTIMATORS)
    if text not in names:
        near = suggestion(text, names)
        raise argparse.ArgumentTypeError(f"{text!r} was given; one of {', '.join(names)} is expected{near}")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workdir", type=Path, required=True, metavar="RUN", help="folder of the finished run")
    parser.add_argument("--bundle", type=Path, required=True, metavar="FOLDER", help="the bundle to write")
    parser.add_argument(
        "--precisions",
        type=_precisions,
        metavar="LIST",
        help="of fp32,int8; default: both, int8 only where the model has a use for it (3D convolutions)",
    )
    parser.add_argument(
        "--calibration_clips",
        type=_count,
        default=108,
        metavar="N",
        help="training clips that the int8 scales come from, spread over the actions (default: %(default)s)",
    )
    parser.add_argument(
        "--calibrator",
        type=_calibrator,
        default=AUTO,
        metavar="NAME",
        help=f"how a tensor's range follows from its values: {', '.join(ESTIMATORS)}; default: {AUTO}, the one whose "
        "int8 model is most accurate on a training subject that the ranges did not come from",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = _parser().parse_args(argv)
    logging.getLogger("jax2onnx").setLevel(logging.ERROR)
    # Imported here, so that --help and a mistyped flag answer at once.
    from export.clips import RunClips, check_trained_on
    from export.exporter import check_target, export
    from export.steps import Steps
    from hartx.run import load_run

    try:
        run = load_run(args.workdir)
        check_target(args.bundle, run)  # before recordings are opened, which may take a while
        clips = RunClips(run.config)
        check_trained_on(args.workdir, clips.entries("train"))
        export(run, clips, args.bundle, args.precisions, args.calibration_clips, Steps(), args.calibrator)
    except (ExportError, HartxError, DatasetError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; no bundle was written", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
