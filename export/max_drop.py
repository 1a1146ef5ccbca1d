"""`--max_drop`: layers go back to float, the most sensitive first, until int8 loses no more than allowed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from export.calibration import Calibrator, int8_scale
from export.clips import choose_stratified
from export.errors import ExportError
from export.estimators import estimate
from export.held_out import hold_out
from export.layer_loss import measure
from export.outputs import evaluate, to_samples
from export.quantize import quantized

# Top-1 lost (points) with some layers in int8.
DropOf = Callable[[Sequence[str]], float]

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Returned:
    """A layer that went back to float.

    Attributes:
      layer: its name.
      sqnr_db: of the output with this layer alone in int8, see `layer_loss.Loss`.
      drop_points: what is lost after its return, in points of top-1.
    """

    layer: str
    sqnr_db: float | None
    drop_points: float


@dataclass(frozen=True)
class Search:
    """How the search went.

    Attributes:
      max_drop_points: what may be lost, in points of top-1.
      held_out_subject: on whose clips; None if on other clips of the same.
      network_was_trained_on_it: whether it was.
      clips: number of these clips.
      drop_points_before: what is lost with every layer in int8.
      returned: the layers that went back, in their order.
    """

    max_drop_points: float
    held_out_subject: int | None
    network_was_trained_on_it: bool
    clips: int
    drop_points_before: float
    returned: tuple[Returned, ...]

    @property
    def drop_points(self) -> float:
        """What is lost in the end, in points of top-1."""
        return self.returned[-1].drop_points if self.returned else self.drop_points_before

    def reasons(self) -> dict[str, str]:
        """Return why each layer went back, by name."""
        drops = [self.drop_points_before, *(entry.drop_points for entry in self.returned)]
        return {
            entry.layer: f"--max_drop={self.max_drop_points:g}: {_sqnr(entry.sqnr_db)} alone in int8; its return "
            f"changed the loss from {before:.2f} to {after:.2f} points"
            for entry, before, after in zip(self.returned, drops, drops[1:], strict=False)
        }

    def to_json(self) -> dict[str, Any]:
        """Return what `calibration.json` and `export.json` keep under "layers.max_drop"."""
        return asdict(self) | {"drop_points": self.drop_points}


def _sqnr(value: float | None) -> str:
    return "no change" if value is None else f"SQNR {value:.1f} dB"


def search(
    calibrator: Calibrator,
    layers: Sequence[str],
    estimator: str,
    count: int,
    max_drop: float,
    progress: Callable[[], None] = lambda: None,
) -> Search:
    """Return which layers go back to float so that int8 loses no more than allowed on a held-out training subject.

    Ranges come from the other training subjects. Sensitivity is measured only if something has to go back.

    Args:
      calibrator: the float model and its recordings.
      layers: names of the convolutions that may be int8.
      estimator: one of `estimators.ESTIMATORS`.
      count: number of clips that ranges come from, and the most that are judged on.
      max_drop: points of top-1.
      progress: called each time that a model has seen a clip.

    Raises:
      ExportError: if it loses more with any layer in int8, or see `hold_out` and `Calibrator.measure`.
    """
    held_out = hold_out(calibrator, count)
    found = calibrator.measure(choose_stratified(held_out.others, count))
    scales = {tensor: int8_scale(estimate(estimator, magnitudes)) for tensor, magnitudes in found.items()}
    samples = to_samples(calibrator.inputs, held_out.load(calibrator))
    labels = np.asarray([sample.label for sample in samples])
    exact = evaluate(calibrator.model, samples, progress).argmax(axis=1) == labels

    def drop_of(int8: Sequence[str]) -> float:
        model = quantized(calibrator.model, int8, scales.__getitem__)
        right = evaluate(model, samples, progress).argmax(axis=1) == labels
        return 100 * (int(exact.sum()) - int(right.sum())) / len(labels)

    before = drop_of(layers)
    returned: tuple[Returned, ...] = ()
    if before > max_drop + _ROUNDING:
        losses = measure(calibrator.model, layers, scales.__getitem__, samples, progress).alone
        drops = give_back(list(losses), drop_of, max_drop)
        returned = tuple(Returned(name, losses[name].sqnr_db, drop) for name, drop in drops.items())
    return Search(max_drop, held_out.subject, held_out.trained_on, len(samples), before, returned)


def give_back(order: Sequence[str], drop_of: DropOf, max_drop: float) -> dict[str, float]:
    """Return the layers that go back to float, in their order, each with what is lost after its return.

    Args:
      order: all layers, the most sensitive first; all of them in int8 lose more than allowed.
      drop_of: points lost with some of the layers in int8.
      max_drop: points that may be lost.

    Raises:
      ExportError: if more is lost even with the last one alone in int8.
    """
    drops: dict[str, float] = {}
    for index, name in enumerate(order[:-1], start=1):
        drops[name] = drop_of(order[index:])
        if drops[name] <= max_drop + _ROUNDING:
            return drops
    lost = f"{drops[order[-2]]:.2f} points" if drops else "more"
    raise ExportError(
        f"--max_drop={max_drop:g} was given, but int8 loses {lost} of top-1 even with {order[-1]} as its only layer\n"
        "  Give a larger --max_drop, another --calibrator, or --formats=onnx-fp32,onnx-fp16"
    )
