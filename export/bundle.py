"""Writing a bundle: the whole folder or nothing. `edge.bundle` reads it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge.bundle import BUNDLE_FILE, FORMAT_VERSION, MAX_DROP_FIELD, read_bundle, sha256_of
from edge.errors import EdgeError
from edge.preprocess import spec_to_dict, window_frames
from export.accuracy import Accuracy, McNemar
from export.errors import ExportError
from export.formats import Format, Options
from export.head import Head
from export.inputs import ModelInput
from hartx.run import Run, config_digest

CALIBRATION_FILE = "calibration.json"
MODEL_CARD_FILE = "model_card.md"
EXPORT_FILE = "export.json"

# Field of `export.json`, see `bundle_sha256`.
BUNDLE_HASH = "bundle_sha256"

# Written later, by `export.sensitivity`; not among the hashes of bundle.json, which stays as it was exported.
SENSITIVITY_FILE = "sensitivity.json"


@dataclass(frozen=True)
class Export:
    """One format of a bundle, and how its making went.

    Attributes:
      format: its row of the table.
      seconds: that it took to make and to check.
      size_bytes: of its files.
      check: what it was held against, and what came out.
      accuracy: how often it is right.
      mcnemar: whether that differs from the float32 format; None for that one itself, or without clips.
      details: what else its maker found, for `export.json`.
    """

    format: Format
    seconds: float
    size_bytes: int
    check: str
    accuracy: Accuracy
    mcnemar: McNemar | None
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Description:
    """What `bundle.json` says besides the files' sizes and hashes.

    Attributes:
      model: the experiment's name.
      created: ISO 8601 time.
      run: which run it was made from, see `identify`.
      inputs: what the model reads.
      labels: names of the classes.
      window_s: seconds that one prediction sees.
      head: what comes out.
      options: what the user asked for.
      exports: the formats.
      versions: package to version.
    """

    model: str
    created: str
    run: dict[str, Any]
    inputs: tuple[ModelInput, ...]
    labels: tuple[str, ...]
    window_s: float
    head: Head
    options: Options
    exports: tuple[Export, ...]
    versions: dict[str, str]


def identify(run: Run) -> dict[str, Any]:
    """Return what tells one run from another: a hash of what its config computes, and its step."""
    return {"config_sha256": config_digest(run.config), "step": run.step}


def check_target(bundle: Path, run: Run) -> None:
    """Check that a bundle may be written at a path: nothing is there, or a bundle of the same run.

    Raises:
      ExportError: if something else is there, which is not touched, or nothing can be written there.
    """
    if bundle.name in ("", ".."):
        raise ExportError(f"--bundle={bundle} was given; a folder of its own is expected, bundles/a for example")
    target = bundle.resolve()  # where it is a link, what it leads to is exchanged
    folder = next(parent for parent in target.parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ExportError(f"--bundle={bundle} was given, but {folder} is not a writable folder")
    if os.path.ismount(target):
        raise ExportError(f"--bundle={bundle} is a disk of its own, which cannot be exchanged; give a folder on it")
    if not bundle.exists() or (bundle.is_dir() and not any(bundle.iterdir())):
        return
    try:
        there = json.loads((bundle / BUNDLE_FILE).read_text())
        digest = there["run"]["config_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ExportError(
            f"{bundle} exists and is not a bundle; it is left alone\n  Give another --bundle, or remove it"
        ) from None
    if digest != identify(run)["config_sha256"]:
        raise ExportError(
            f"{bundle} was made from another run ({there.get('model')}, {there.get('created')}); it is left alone\n"
            "  Give another --bundle, or remove that one"
        )


@contextmanager
def staged(bundle: Path) -> Iterator[Path]:
    """Give a folder to write a bundle's files into; it becomes the bundle when all went well.

    Until then the bundle that was there stays as it is. The folder lies beside it under a name of its own
    (`.NAME.partial`), so that a rename is all that is left to do; what an interrupted export left there is
    removed by the next one.

    Raises:
      ExportError: if the disk is full or the folder cannot be written.
    """
    bundle = bundle.resolve()  # where it is a link, what it leads to is exchanged
    partial = bundle.with_name(f".{bundle.name}.partial")
    replaced = bundle.with_name(f".{bundle.name}.replaced")
    try:
        _recover(bundle, replaced)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        _sync(partial)
        if bundle.exists():
            bundle.rename(replaced)
        partial.rename(bundle)
        shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        _recover(bundle, replaced)
        kept = "the one that was there is unchanged" if bundle.exists() else "nothing was left behind"
        raise ExportError(f"the bundle {bundle} cannot be written: {error.strerror or error}; {kept}") from error
    finally:
        _recover(bundle, replaced)
        shutil.rmtree(partial, ignore_errors=True)


def _recover(bundle: Path, replaced: Path) -> None:
    """Put back the old bundle where the exchange with the new one was interrupted half-way."""
    if replaced.exists() and not bundle.exists():
        replaced.rename(bundle)
    shutil.rmtree(replaced, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Wait until the files are on the disk: some file systems only then say that it is full."""
    for path in folder.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def write_description(folder: Path, description: Description) -> None:
    """Write `export.json` and `bundle.json` for the files in a folder, and read all of it as the device will.

    The former has a hash of the latter, which lists its own: what is changed in either is found.

    `max_drop_points`, where the user gave `--max_drop`, is what `export.tensorrt` lets a smaller precision lose.

    Format version 2 came with `output.is` and a fixed batch: a reader of version 1 would take a softmax twice.

    Raises:
      ExportError: if the device would refuse it.
    """
    batch = description.options.batch or "batch"
    files = {path.name: _entry(path) for path in folder.iterdir()}
    frames = window_frames({entry.modality: entry.spec for entry in description.inputs})
    values = {
        "format_version": FORMAT_VERSION,
        "model": description.model,
        "created": description.created,
        "run": description.run,
        "inputs": [_describe_input(entry, batch) for entry in description.inputs],
        "output": {
            "name": description.head.output,
            "is": description.head.output,
            "shape": [batch, len(description.labels)],
            "dtype": "float32",
        },
        "window": {"frames": frames, "stride": max(1, frames // 2), "duration_s": description.window_s},
        "temperature": description.head.temperature,
        "labels": list(description.labels),
        "precisions": {
            entry.format.precision: {
                "file": entry.format.file,
                "size_bytes": entry.size_bytes,
                **asdict(entry.accuracy),
            }
            for entry in description.exports
            if entry.format.precision is not None
        },
        "files": files,
        "versions": description.versions,
    }
    if description.options.max_drop is not None:
        values[MAX_DROP_FIELD] = description.options.max_drop
    made = folder / EXPORT_FILE
    made.write_text(json.dumps({**report(description), BUNDLE_HASH: bundle_sha256(values)}, indent=1) + "\n")
    values["files"] = dict(sorted({**files, EXPORT_FILE: _entry(made)}.items()))
    (folder / BUNDLE_FILE).write_text(json.dumps(values, indent=1) + "\n")
    try:
        read_bundle(folder)
    except EdgeError as error:
        raise ExportError(f"the device would refuse this bundle: {error}") from error


def _entry(path: Path) -> dict[str, Any]:
    return {"sha256": sha256_of(path), "size_bytes": path.stat().st_size}


def bundle_sha256(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of what `bundle.json` says, but for its entry of `export.json`, where this stands."""
    files = {name: entry for name, entry in values["files"].items() if name != EXPORT_FILE}
    return hashlib.sha256(json.dumps({**values, "files": files}, sort_keys=True).encode()).hexdigest()


def report(description: Description) -> dict[str, Any]:
    """Return what `export.json` says of the formats: what was asked for, and how the making of each format went."""
    return {
        "options": asdict(description.options),
        "exports": {
            entry.format.name: {
                "file": entry.format.file,
                "size_bytes": entry.size_bytes,
                "seconds": round(entry.seconds, 1),
                "check": entry.check,
                **asdict(entry.accuracy),
                "mcnemar": None if entry.mcnemar is None else asdict(entry.mcnemar),
                **entry.details,
            }
            for entry in description.exports
        },
    }


def _describe_input(entry: ModelInput, batch: int | str) -> dict[str, Any]:
    return {
        "name": entry.name,
        "modality": entry.modality,
        "shape": [batch, *entry.shape],
        "layout": entry.layout,
        "dtype": "float32",
        "preprocess": spec_to_dict(entry.spec),
    }
