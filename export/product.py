"""What the maker of a format is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from export.calibration import Calibration
from export.clips import Clips
from export.formats import Options
from export.head import Head
from export.inputs import ModelInput
from export.parity import Compute
from export.steps import Steps
from hartx.run import Run


@dataclass(frozen=True)
class Product:
    """A model in one format.

    Attributes:
      content: what stands in its file.
      compute: the model as it stands there, run on this machine: inputs by name to its output.
      check: what it was held against, and what came out.
      details: what else is worth keeping, for `export.json`.
      onnx: the model, where it is one of ONNX.
      calibration: what int8 scales come from.
      beside: what stands in further files that belong to it, by their names.
    """

    content: bytes
    compute: Compute
    check: str
    details: Mapping[str, Any] = field(default_factory=dict)
    onnx: onnx.ModelProto | None = None
    calibration: Calibration | None = None
    beside: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Size of all its files."""
        return len(self.content) + sum(map(len, self.beside.values()))


@dataclass(frozen=True)
class Job:
    """What is to be exported.

    Attributes:
      run: the trained model.
      inputs: what it reads.
      clips: its recordings.
      options: what the user asked for.
      head: what comes out.
      reference: the trained model, head and all, run by JAX.
      checked: a few training clips on which formats are held against the trained model.
      versions: of what makes the bundle.
      steps: where to say what is being done.
      named: whether the user named the formats, and did not leave the choice to us.
      products: what has been made so far, by the name of the format.
    """

    run: Run
    inputs: tuple[ModelInput, ...]
    clips: Clips
    options: Options
    head: Head
    reference: Compute
    checked: Sequence[Mapping[str, np.ndarray]]
    versions: Mapping[str, str]
    steps: Steps
    named: bool
    products: dict[str, Product]

    def base(self) -> onnx.ModelProto:
        """Return the float32 graph, which is made first."""
        model = self.products["onnx-fp32"].onnx
        assert model is not None
        return model
