"""Which estimator gives the most accurate int8 model, on a subject that none of its scales have seen."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
from rich.table import Table

from export.calibration import Calibrator, int8_scale
from export.clips import choose_stratified
from export.estimators import ESTIMATORS, estimate
from export.held_out import hold_out, named
from export.inputs import ModelInput, to_feeds
from export.outputs import Score, log_probabilities, score_of
from export.quantize import quantized
from export.session import Session
from hartx.data import Clip

FLOAT = "float"


@dataclass(frozen=True)
class Choice:
    """All estimators compared.

    Attributes:
      estimator: the chosen one: the highest top-1, among equals the lowest negative log-likelihood.
      subjects: whose clips the ranges came from.
      held_out: the subject on whose clips the int8 models were compared; None if on other clips of the same.
      trained_on: whether the network was trained on these recordings.
      clips: number of these clips.
      scores: estimator to score, and `FLOAT` to that of the float model, which is no candidate.
    """

    estimator: str
    subjects: tuple[int, ...]
    held_out: int | None
    trained_on: bool
    clips: int
    scores: Mapping[str, Score]

    def to_json(self) -> dict[str, Any]:
        """Return what `calibration.json` keeps under "candidates"."""
        return {
            "calibration_subjects": list(self.subjects),
            "held_out_subject": self.held_out,
            "network_was_trained_on_it": self.trained_on,
            "held_out_clips": self.clips,
            "scores": {name: asdict(score) for name, score in self.scores.items()},
        }

    def table(self) -> Table:
        """Return the comparison for people."""
        seen = "trained on" if self.trained_on else "not trained on"
        table = Table(title=f"int8 on {named(self.held_out)} ({seen}), {self.clips} clips")
        for column, justify in (("estimator", "left"), ("top-1", "right"), ("NLL", "right"), ("", "left")):
            table.add_column(column, justify=justify)  # type: ignore[arg-type]
        for name, score in self.scores.items():
            note = "chosen" if name == self.estimator else "no int8" if name == FLOAT else ""
            table.add_row(name, f"{score.top1:.1%}", f"{score.nll:.5f}", note)
        return table


def choose_estimator(calibrator: Calibrator, count: int, layers: Collection[str] | None = None) -> Choice:
    """Compare all estimators: ranges from some training subjects, accuracy on another one, see `hold_out`.

    Where the network was trained on that one, top-1 hardly tells the candidates apart, and the likelihood decides.

    Args:
      calibrator: the float model and its recordings.
      count: number of clips that ranges come from, and the most that accuracy is measured on.
      layers: names of the convolutions that become int8; None for all that may.

    Raises:
      ExportError: see `hold_out` and `Calibrator.measure`.
    """
    held_out = hold_out(calibrator, count)
    magnitudes = calibrator.measure(choose_stratified(held_out.others, count))
    models = {FLOAT: calibrator.model}
    for name in ESTIMATORS:
        scales = {tensor: int8_scale(estimate(name, found)) for tensor, found in magnitudes.items()}
        models[name] = quantized(calibrator.model, layers, scales.__getitem__)
    scores = score(models, calibrator.inputs, held_out.load(calibrator))
    clips = len(held_out.entries)
    return Choice(best(scores), held_out.subjects, held_out.subject, held_out.trained_on, clips, scores)


def best(scores: Mapping[str, Score]) -> str:
    """Return the estimator of the highest top-1, among equals of the lowest NLL, among these the first."""
    candidates = [name for name in ESTIMATORS if name in scores]
    return min(candidates, key=lambda name: (-scores[name].top1, scores[name].nll))


def score(
    models: Mapping[str, onnx.ModelProto], inputs: tuple[ModelInput, ...], clips: Iterable[Clip]
) -> dict[str, Score]:
    """Return the score of each model, by name. Clips are read once, one at a time; there must be one."""
    sessions = {name: Session(model) for name, model in models.items()}
    rows: dict[str, list[np.ndarray]] = {name: [] for name in models}
    labels = []
    for clip in clips:
        feeds = to_feeds(inputs, [clip.inputs])
        labels.append(clip.label)
        for name, session in sessions.items():
            rows[name].append(session.output(feeds)[0])
    found = {name: log_probabilities(model, np.stack(rows[name])) for name, model in models.items()}
    return {name: score_of(log, labels) for name, log in found.items()}
