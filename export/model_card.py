"""The bundle's `model_card.md`: what the model is, how it was tested, what it cannot do."""

from __future__ import annotations

from typing import Any

from export.accuracy import Accuracy
from export.bundle import Description, Export
from export.calibration import Calibration

_READS = {
    "rgb": "colour video, RGB, any size",
    "depth": "depth video in millimetres, background 0",
    "skeleton": "skeletons of 20 or 25 joints in metres",
    "inertial": "a sensor on the right wrist or thigh (acceleration in g, angular velocity in degrees/s)",
}

_LIMITS = """\
## Limits

- It always answers with one of its {classes} actions, also when none of them is shown.
- It was trained on recordings of one action each{scene}. Other cameras, places and distances, several people or an
  action that goes on and on were not tested.
- The accuracy above says nothing about people who differ from those of the recordings in age, build or way
  of moving.
- A stream that is missing is given as zeros; how accuracy suffers from that was not measured here.
"""


def text(
    description: Description,
    report: dict[str, Any] | None,
    protocol: str,
    calibration: Calibration | None,
) -> str:
    """Return the text of a model card.

    Args:
      description: what the bundle says of itself.
      report: the run's evaluation report, None if it was never evaluated.
      protocol: the run's protocol.
      calibration: of the int8 model, None if there is none.
    """
    parts = [
        f"# {description.model}",
        f"Recognises {len(description.labels)} human actions from "
        f"{' and '.join(_READS[entry.modality] for entry in description.inputs)}. One prediction sees "
        f"{description.window_s:.2f} s. Exported {description.created}.",
        _inputs(description),
        _data(report, protocol),
        _accuracy(description.exports, calibration),
        _LIMITS.format(classes=len(description.labels), scene=_scene(report)).rstrip(),
        "## Actions\n\n" + ", ".join(description.labels),
        "## Made with\n\n" + ", ".join(f"{name} {version}" for name, version in description.versions.items()),
    ]
    return "\n\n".join(parts) + "\n"


def _scene(report: dict[str, Any] | None) -> str:
    """Return what is known of the place; of anybody's own clips that is nothing."""
    own = report is not None and report["dataset"] == "video_folder"
    return "" if own else ", by one person indoors, in front of a still camera"


def _inputs(description: Description) -> str:
    rows = [
        f"| `{entry.name}` | {entry.modality} | N x {' x '.join(map(str, entry.shape))} | {entry.layout} |"
        for entry in description.inputs
    ]
    head = "## Inputs\n\n| name | modality | shape (float32) | layout |\n|---|---|---|---|\n"
    count = description.options.batch
    tempered = f", with the temperature {description.head.temperature:g} in them" if description.head.softmax else ""
    return (
        head + "\n".join(rows) + f"\n\nOutput: `{description.head.output}`{tempered}, N x {len(description.labels)}. "
        f"N is {f'{count}, always' if count else 'any number of clips'}. Preprocessing is in `bundle.json`; "
        "`edge.preprocess` does it."
    )


def _data(report: dict[str, Any] | None, protocol: str) -> str:
    if report is None:
        return f"## Data\n\nProtocol: {protocol}. The run was not evaluated."
    text = f"## Data\n\n{report['dataset']}, protocol {protocol}: {report['train_clips']} recordings trained. "
    if not report["clips"]:
        return text + "There were no recordings on the test side, so its accuracy is not known."
    low, high = report["interval95"]
    subjects = ", ".join(map(str, report["test_subjects"]))
    return text + (
        f"Tested by the training program on {report['clips']} recordings (subjects {subjects}): top-1 "
        f"{report['top1']:.1%}, 95 % interval {low:.1%} to {high:.1%}; top-5 {report['top5']:.1%}; "
        f"macro F1 {report['f1_macro']:.1%}."
    )


def _accuracy(exports: tuple[Export, ...], calibration: Calibration | None) -> str:
    rows = [
        f"| {entry.format.name} | `{entry.format.file}` | {entry.size_bytes / 1e6:.2f} MB | "
        f"{percent(entry.accuracy)} | {entry.accuracy.clips} |"
        for entry in exports
    ]
    text = "## Formats\n\nMeasured with these very files, one centre clip a recording of the test side.\n\n"
    text += "| format | file | size | top-1 | clips |\n|---|---|---|---|---|\n" + "\n".join(rows)
    if calibration is None:
        in_int8 = any("int8" in entry.format.name for entry in exports)
        return text + "\n\nint8: weights are stored in it; all layers compute in float." * in_int8
    stem = " (in openvino-int8 it is in int8 as well)" if any(e.format.name == "openvino-int8" for e in exports) else ""
    return text + (
        f"\n\nint8: the 3D convolutions behind the stem, weights and activations, symmetric; ranges of activations "
        f"by {calibration.estimator} over {len(calibration.clips)} training clips (`calibration.json`). The "
        f"stem{stem}, the recurrent layers and the head are in float{_kept(calibration)}."
    )


def _kept(calibration: Calibration) -> str:
    """Return the layers that int8 has a kernel for and that are in float all the same."""
    kept = (calibration.layers or {}).get("float", {})
    return f", and so are {', '.join(kept)} (`calibration.json` says why)" if kept else ""


def percent(accuracy: Accuracy) -> str:
    """Return an accuracy for people; a dash if nothing was tested."""
    return "-" if accuracy.top1 is None else f"{accuracy.top1:.1%}"
