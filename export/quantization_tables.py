"""Tables of docs/quantization.md, as Markdown, from the JSON files of bundles."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.bundle import BUNDLE_FILE, read_bundle, sha256_of
from export.bundle import CALIBRATION_FILE, EXPORT_FILE, SENSITIVITY_FILE
from export.calibrator_choice import FLOAT
from export.errors import ExportError
from export.sensitivity_report import decibel
from hartx.blocks import markdown_table
from hartx.errors import suggestion


@dataclass(frozen=True)
class Facts:
    """What a bundle says of itself.

    Attributes:
      name: of its folder.
      bundle: `bundle.json`.
      export: `export.json`.
      calibration: `calibration.json`; None without layers in int8.
      sensitivity: `sensitivity.json`; None if it was not measured.
    """

    name: str
    bundle: Mapping[str, Any]
    export: Mapping[str, Any]
    calibration: Mapping[str, Any] | None
    sensitivity: Mapping[str, Any] | None

    @property
    def weights_alone(self) -> bool:
        """Whether the int8 model has its weights in int8 and no layer that computes in it."""
        return self.calibration is None and "onnx-int8" in self.export.get("exports", {})


def read_facts(folder: Path) -> Facts:
    """Return what a bundle says of itself.

    Raises:
      EdgeError: if it is no bundle or damaged.
      ExportError: if its sensitivity was measured on other models.
    """
    read_bundle(folder)
    found = {name: _read(folder / name) for name in (EXPORT_FILE, CALIBRATION_FILE, SENSITIVITY_FILE)}
    sensitivity = found[SENSITIVITY_FILE]
    for precision, digest in (sensitivity or {}).get("models", {}).items():
        if sha256_of(folder / f"model.{precision}.onnx") != digest:
            raise ExportError(
                f"{folder / SENSITIVITY_FILE} was measured on other models than the bundle's\n"
                f"  Measure again: python -m export.sensitivity --bundle={folder} --workdir=RUN"
            )
    bundle = json.loads((folder / BUNDLE_FILE).read_text())
    name = folder.resolve().name
    return Facts(name, bundle, found[EXPORT_FILE] or {}, found[CALIBRATION_FILE], sensitivity)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text()) if path.exists() else None
    except ValueError as error:
        raise ExportError(f"{path} cannot be read as JSON: {error}") from None


def choose(kind: str, names: Sequence[str], every: Mapping[str, Facts]) -> list[Facts]:
    """Return the bundles that a table shows: the named ones in their order, or all that have layers for it.

    Raises:
      ExportError: if a named one was not given.
    """
    for name in names:
        if name not in every:
            raise ExportError(
                f"the text shows a bundle {name!r}, which is not among --bundles ({', '.join(every)})"
                + suggestion(name, every)
            )
    fit = [facts for facts in every.values() if kind == "accuracy" or not facts.weights_alone]
    return [every[name] for name in names] or fit


def accuracy(chosen: Sequence[Facts]) -> str:
    """Return a row for each format of each bundle: size, accuracy, and whether it differs from float32."""
    columns = (
        "bundle", "format", "MB", "of fp32", "top-1", "clips", "side", "points against fp32", "lost", "gained",
        "McNemar p",
    )  # fmt: skip
    rows = []
    for facts in chosen:
        exports = facts.export.get("exports", {})
        base = exports.get("onnx-fp32")
        if base is None:
            raise ExportError(f"the bundle {facts.name!r} has no {EXPORT_FILE} with onnx-fp32\n  Export it again")
        rows += [_accuracy_row(facts.name, name, entry, base) for name, entry in exports.items()]
    return markdown_table(columns, rows, left=2)


def _accuracy_row(bundle: str, name: str, entry: Mapping[str, Any], base: Mapping[str, Any]) -> list[str]:
    top1, exact, test = entry["top1"], base["top1"], entry.get("mcnemar")
    size = entry["size_bytes"]
    points = "" if entry is base or top1 is None else f"{100 * (top1 - exact):+.2f}"
    tested = ("", "", "")
    if test is not None:
        tested = (str(test["only_other_right"]), str(test["only_this_right"]), f"{test['p_value']:.3g}")
    return [
        f"`{bundle}`",
        f"`{name}`",
        f"{size / 1e6:.2f}",
        f"{size / base['size_bytes']:.1%}",
        "-" if top1 is None else f"{top1:.2%}",
        str(entry["clips"]),
        entry["split"],
        points,
        *tested,
    ]


def calibrators(chosen: Sequence[Facts]) -> str:
    """Return a row for each way to a range that each bundle's export compared, on the held-out subject's clips."""
    columns = ("bundle", "ranges by", "held-out subject", "clips", "top-1", "NLL", "")
    rows = []
    for facts in chosen:
        calibration = _needed(facts, facts.calibration, CALIBRATION_FILE, "python -m export --formats=...,onnx-int8")
        found = calibration["candidates"]
        if found is None:
            note = "named by the user; nothing was compared"
            rows.append([f"`{facts.name}`", calibration["estimator"], "", "", "", "", note])
            continue
        trained_on = " (trained on)" if found["network_was_trained_on_it"] else ""
        subject = f"{found['held_out_subject'] or 'a fifth'}{trained_on}"
        for name, score in found["scores"].items():
            note = "chosen" if name == calibration["estimator"] else "no int8" if name == FLOAT else ""
            measured = (f"{score['top1']:.2%}", f"{score['nll']:.5f}")
            rows.append([f"`{facts.name}`", name, subject, str(found["held_out_clips"]), *measured, note])
    return markdown_table(columns, rows, left=2)


def layers(chosen: Sequence[Facts]) -> str:
    """Return a row for each layer that a bundle keeps in float though int8 has a kernel for it, and why."""
    rows = []
    for facts in chosen:
        calibration = _needed(facts, facts.calibration, CALIBRATION_FILE, "python -m export --formats=...,onnx-int8")
        found = calibration.get("layers") or {"int8": [], "float": {}}
        count = f"{len(found['int8'])} of {len(found['int8']) + len(found['float'])}"
        kept = [(f"`{name}`", why) for name, why in found["float"].items()]
        rows += [[f"`{facts.name}`", count, name, why] for name, why in kept or [("none", "")]]
    return markdown_table(("bundle", "layers in int8", "in float", "why"), rows, left=4)


def sensitivity(chosen: Sequence[Facts]) -> str:
    """Return a row for each layer of each bundle, the most sensitive first, and one for all of them together."""
    columns = ("bundle", "in int8", "SQNR, dB", "KL, nats", "top-1", "NLL", "parameters", "MACs")
    rows, measured = [], ""
    for facts in chosen:
        found = _needed(facts, facts.sensitivity, SENSITIVITY_FILE, "python -m export.sensitivity --bundle=...")
        bundle, exact = f"`{facts.name}`", found["float"]
        for name, entry in found["layers"].items():
            shares = (f"{entry['parameter_share']:.1%}", f"{entry['mac_share']:.1%}")
            rows.append([bundle, f"`{name}`", *_losses(entry), *shares])
        rows.append([bundle, "all of these", *_losses(found["int8"]), "", ""])
        rows.append([bundle, "none", "", "", f"{exact['top1']:.2%}", f"{exact['nll']:.5f}", "", ""])
        subjects = ", ".join(map(str, found["subjects"]))
        measured += f"- `{facts.name}`: {len(found['clips'])} training clips (subjects {subjects}); ranges by "
        measured += f"{found['estimator']}\n"
    return markdown_table(columns, rows, left=2) + "\n" + measured


def _losses(entry: Mapping[str, Any]) -> list[str]:
    return [decibel(entry["sqnr_db"]), f"{entry['kl']:.2g}", f"{entry['top1']:.2%}", f"{entry['nll']:.5f}"]


def _needed(facts: Facts, values: Mapping[str, Any] | None, name: str, command: str) -> Mapping[str, Any]:
    if values is None:
        raise ExportError(f"the bundle {facts.name!r} has no {name}\n  Make it: {command}")
    return values


KINDS: dict[str, Callable[[Sequence[Facts]], str]] = {
    "accuracy": accuracy,
    "calibrators": calibrators,
    "layers": layers,
    "sensitivity": sensitivity,
}
