"""The range of each tensor that is to be quantised, measured on training clips."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx

from export.clips import Clips, Entry, choose_stratified, load_for_calibration
from export.errors import ExportError
from export.estimators import INT8_MAX, estimate
from export.inputs import ModelInput, to_feeds
from export.magnitudes import BINS, Magnitudes, count_magnitudes, largest_magnitude
from export.session import Session
from hartx.data import Clip


def int8_scale(range_: float) -> np.float32:
    """Return the size of one int8 step of a tensor of some range.

    A tensor that was 0 on every clip has no range; any scale keeps its zeros exact, 1 is taken.
    """
    return np.float32(range_ / INT8_MAX if range_ > 0 else 1.0)


@dataclass(frozen=True)
class Calibration:
    """What the activations' scales come from.

    Attributes:
      estimator: how a range follows from the values, one of `export.estimators.ESTIMATORS`.
      clips: names of the recordings, one clip of each.
      clips_per_class: class name to number of clips.
      ranges: tensor to the magnitude that becomes 127.
      model_sha256: of the float model's file in which these tensors are.
      subjects: whose recordings these are.
      candidates: how the estimators compared (`Choice.to_json`); None if one was asked for by name.
      layers: which are int8 and why the others are not (`layers.LayerChoice.to_json`).
      outputs: as `ranges`, of what int8 layers give. The int8 model needs none of these; TensorRT without Q/DQ nodes
        wants them before it computes a layer in int8.
    """

    estimator: str
    clips: tuple[str, ...]
    clips_per_class: Mapping[str, int]
    ranges: Mapping[str, float]
    model_sha256: str
    subjects: tuple[int, ...] = ()
    candidates: Mapping[str, Any] | None = None
    layers: Mapping[str, Any] | None = None
    outputs: Mapping[str, float] = field(default_factory=dict)

    def scale(self, tensor: str) -> np.float32:
        """Return the size of one int8 step of a tensor, see `int8_scale`."""
        return int8_scale(self.ranges[tensor])

    @property
    def int8_layers(self) -> tuple[str, ...]:
        """Names of the layers that are in int8."""
        assert self.layers is not None
        return tuple(self.layers["int8"])

    @property
    def scales(self) -> dict[str, float]:
        """Tensor to the size of its int8 step, by name."""
        return {name: float(self.scale(name)) for name in sorted(self.ranges)}

    @property
    def output_scales(self) -> dict[str, float]:
        """The same of `outputs`."""
        return {name: float(int8_scale(self.outputs[name])) for name in sorted(self.outputs)}

    def to_json(self) -> dict[str, Any]:
        """Return the contents of `calibration.json`."""
        return {
            "estimator": self.estimator,
            "model_sha256": self.model_sha256,
            "subjects": list(self.subjects),
            "clips": list(self.clips),
            "clips_per_class": dict(self.clips_per_class),
            "tensors": {name: {"range": self.ranges[name], "scale": s} for name, s in self.scales.items()},
            "outputs": {name: {"range": self.outputs[name], "scale": s} for name, s in self.output_scales.items()},
            "candidates": self.candidates,
            "layers": self.layers,
        }


def _uncounted(clips: Iterable[Clip], count: int) -> Iterable[Clip]:
    return clips


@dataclass(frozen=True)
class Calibrator:
    """Measures tensors of a float model. There is no way to give it clips of the test side.

    Attributes:
      model: the float model.
      tensors: names of what is to be quantised.
      inputs: what the model reads.
      clips: the recordings.
      progress: passes clips on and shows how many of how many there have been.
    """

    model: onnx.ModelProto
    tensors: Sequence[str]
    inputs: tuple[ModelInput, ...]
    clips: Clips
    progress: Callable[[Iterable[Clip], int], Iterable[Clip]] = _uncounted

    def choose(self, count: int) -> list[Entry]:
        """Return training recordings, spread over the classes."""
        return choose_stratified(self.clips.entries("train"), count)

    def largest(self, chosen: Sequence[Entry]) -> dict[str, float]:
        """Return the largest magnitude of each tensor over one clip of each recording, read one at a time.

        Raises:
          ExportError: if a clip is missing or of the test side, or makes a value that is not finite.
        """
        largest = dict.fromkeys(self.tensors, 0.0)
        for clip, name, values in self._values(chosen):
            magnitude = largest_magnitude(values)
            if not np.isfinite(magnitude):
                raise ExportError(f"recording {clip.name} makes a value of {magnitude} in {name}; it cannot be scaled")
            largest[name] = max(largest[name], magnitude)
        return largest

    def measure(self, chosen: Sequence[Entry]) -> dict[str, Magnitudes]:
        """Return the magnitudes of each tensor over one clip of each recording, read twice.

        Raises:
          ExportError: see `largest`.
        """
        largest = self.largest(chosen)
        counts = {name: np.zeros(BINS, np.int64) for name in self.tensors}
        for _, name, values in self._values(chosen):
            counts[name] += count_magnitudes(values, largest[name])
        return {name: Magnitudes(largest[name], counts[name]) for name in self.tensors}

    def _values(self, chosen: Sequence[Entry]) -> Iterable[tuple[Clip, str, np.ndarray]]:
        session = Session(_with_outputs(self.model, self.tensors))
        for clip in self.progress(load_for_calibration(self.clips, "train", chosen), len(chosen)):
            for name, values in zip(
                self.tensors, session.run(to_feeds(self.inputs, [clip.inputs]), self.tensors), strict=True
            ):
                yield clip, name, values


def calibrate(
    calibrator: Calibrator,
    labels: tuple[str, ...],
    count: int,
    estimator: str,
    candidates: Mapping[str, Any] | None = None,
    outputs: Sequence[str] = (),
) -> Calibration:
    """Return the ranges of a model's tensors over training clips.

    Args:
      calibrator: the model and its recordings.
      labels: names of the classes.
      count: number of clips, spread over the classes and over all training subjects.
      estimator: one of `export.estimators.ESTIMATORS`.
      candidates: how it was chosen, None if by name.
      outputs: more tensors to be measured: `quantize.outputs`.

    Raises:
      ExportError: see `Calibrator.measure`.
    """
    chosen = calibrator.choose(count)
    per_class = Counter(labels[entry.label] for entry in chosen)
    measured = replace(calibrator, tensors=(*calibrator.tensors, *outputs)).measure(chosen)
    ranges = {name: estimate(estimator, found) for name, found in measured.items()}
    return Calibration(
        estimator=estimator,
        clips=tuple(sorted(entry.name for entry in chosen)),
        clips_per_class={label: per_class[label] for label in labels},
        ranges={name: ranges[name] for name in calibrator.tensors},
        model_sha256=hashlib.sha256(calibrator.model.SerializeToString()).hexdigest(),
        subjects=tuple(sorted({entry.subject for entry in chosen})),
        candidates=candidates,
        outputs={name: ranges[name] for name in outputs},
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
