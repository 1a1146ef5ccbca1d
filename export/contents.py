"""A bundle as an export wrote it: more than the device needs to know."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from edge.bundle import BUNDLE_FILE, Bundle, read_bundle
from export import formats
from export.errors import ExportError
from export.formats import Format
from export.head import Head
from export.inputs import ModelInput


@dataclass(frozen=True)
class Contents:
    """A bundle as `edge` reads it, and what only an export knows of it.

    Attributes:
      bundle: as the device sees it.
      raw: `bundle.json`.
      inputs: what the models read.
      head: what comes out.
      rows: the formats whose files the bundle lists.
    """

    bundle: Bundle
    raw: dict[str, Any]
    inputs: tuple[ModelInput, ...]
    head: Head
    rows: tuple[Format, ...]

    def path(self, name: str) -> Path:
        """Return the path of a file of the bundle."""
        return self.bundle.path / name

    def read_text(self, name: str) -> str:
        """Return the contents of a text file of the bundle."""
        try:
            return self.path(name).read_text()
        except (OSError, ValueError) as error:
            raise ExportError(f"{name} cannot be read: {error}") from None

    def read_json(self, name: str) -> dict[str, Any]:
        """Return the contents of a JSON file of the bundle."""
        try:
            return json.loads(self.read_text(name))
        except ValueError as error:
            raise ExportError(f"{name} cannot be read: {error}") from None


def read(folder: Path) -> Contents:
    """Return a bundle whose files are what `bundle.json` says.

    Raises:
      EdgeError: if the device would refuse it.
      ExportError: if it lists no model of a known format, or says two things of one file.
    """
    bundle = read_bundle(folder)
    raw = json.loads((folder / BUNDLE_FILE).read_text())
    rows = tuple(row for row in formats.FORMATS if row.file in raw["files"])
    for name, precision in bundle.precisions.items():
        row = next((row for row in rows if row.precision == name and row.file == precision.path.name), None)
        if row is None:
            raise ExportError(f"precisions.{name}.file is {precision.path.name!r}, which is not a file of that format")
        sizes = [raw["files"][file]["size_bytes"] for file in (row.file, *row.beside) if file in raw["files"]]
        if precision.size_bytes != sum(sizes):
            raise ExportError(f"precisions.{name}.size_bytes is {precision.size_bytes}; its files have {sum(sizes)}")
    inputs = tuple(ModelInput(entry.name, entry.modality, entry.spec) for entry in bundle.inputs)
    return Contents(bundle, raw, inputs, Head(bundle.output == "probabilities", bundle.temperature), rows)


def load(contents: Contents, row: Format) -> onnx.ModelProto:
    """Return an ONNX model of a bundle.

    Raises:
      ExportError: if it cannot be read.
    """
    try:
        return onnx.load(contents.path(row.file))
    except Exception as error:  # protobuf's have no common class below Exception
        raise ExportError(f"it cannot be read as ONNX: {error}") from None
