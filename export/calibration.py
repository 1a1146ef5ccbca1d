"""The range of each tensor that is to be quantised, measured on training clips."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from export.clips import Entry
from export.errors import ExportError
from export.inputs import ModelInput, to_feeds
from export.session import Session
from hartx.data import Clip

# Symmetric int8 uses -127..127; -128 has no counterpart.
INT8_MAX = 127


@dataclass(frozen=True)
class Calibration:
    """What the activations' scales come from.

    Attributes:
      estimator: how a range follows from the values; "max" is the largest magnitude seen.
      clips: names of the recordings, one clip of each.
      clips_per_class: class name to number of clips.
      ranges: tensor to the magnitude that becomes 127.
      model_sha256: of the float model's file in which these tensors are.
    """

    estimator: str
    clips: tuple[str, ...]
    clips_per_class: Mapping[str, int]
    ranges: Mapping[str, float]
    model_sha256: str

    def scale(self, tensor: str) -> np.float32:
        """Return the size of one int8 step of a tensor.

        A tensor that was 0 on every clip has no range; any scale keeps its zeros exact, 1 is taken.
        """
        return np.float32(self.ranges[tensor] / INT8_MAX if self.ranges[tensor] > 0 else 1.0)

    def to_json(self) -> dict[str, Any]:
        """Return the contents of `calibration.json`."""
        return {
            "estimator": self.estimator,
            "model_sha256": self.model_sha256,
            "clips": list(self.clips),
            "clips_per_class": dict(self.clips_per_class),
            "tensors": {
                name: {"range": self.ranges[name], "scale": float(self.scale(name))} for name in sorted(self.ranges)
            },
        }


def measure_ranges(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    inputs: tuple[ModelInput, ...],
    clips: Iterable[Clip],
) -> dict[str, float]:
    """Return the largest magnitude of each tensor over clips, which are read one at a time.

    Raises:
      ExportError: if a clip makes a value that is not finite.
    """
    session = Session(_with_outputs(model, tensors))
    largest = dict.fromkeys(tensors, 0.0)
    for clip in clips:
        for name, values in zip(tensors, session.run(to_feeds(inputs, [clip.inputs]), tensors), strict=True):
            magnitude = float(np.abs(values).max())
            if not np.isfinite(magnitude):
                raise ExportError(f"recording {clip.name} makes a value of {magnitude} in {name}; it cannot be scaled")
            largest[name] = max(largest[name], magnitude)
    return largest


def calibrate(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    inputs: tuple[ModelInput, ...],
    labels: tuple[str, ...],
    chosen: Sequence[Entry],
    clips: Iterable[Clip],
) -> Calibration:
    """Return the ranges of tensors over training clips.

    Args:
      model: the float model.
      tensors: names of what is to be quantised.
      inputs: what the model reads.
      labels: names of the classes.
      chosen: the recordings, from `clips.choose_stratified`.
      clips: their clips.
    """
    counts = Counter(labels[entry.label] for entry in chosen)
    return Calibration(
        estimator="max",
        clips=tuple(sorted(entry.name for entry in chosen)),
        clips_per_class={label: counts[label] for label in labels},
        ranges=measure_ranges(model, tensors, inputs, clips),
        model_sha256=hashlib.sha256(model.SerializeToString()).hexdigest(),
    )


def _with_outputs(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """Return a copy of a model that shows inner tensors as outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    shown = {output.name for output in copy.graph.output}
    copy.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in tensors if name not in shown
    )
    return copy
