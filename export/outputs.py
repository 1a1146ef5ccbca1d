"""What a model says of clips, as logarithms of probabilities, whichever of the two its file gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from export.head import PROBABILITIES
from export.inputs import ModelInput, to_feeds
from export.session import Session
from hartx.data import Clip


@dataclass(frozen=True)
class Sample:
    """A clip as a model reads it.

    Attributes:
      feeds: input to array, a batch of one.
      label: the right class.
    """

    feeds: Mapping[str, np.ndarray]
    label: int


def to_samples(inputs: tuple[ModelInput, ...], clips: Iterable[Clip]) -> list[Sample]:
    """Return clips as a model reads them, all in memory."""
    return [Sample(to_feeds(inputs, [clip.inputs]), clip.label) for clip in clips]


def log_probabilities(model: onnx.ModelProto, outputs: np.ndarray) -> np.ndarray:
    """Return the natural logarithms of the class probabilities, float64, that belong to a model's outputs.

    Args:
      model: its only output is named after what it is, see `head.Head`.
      outputs: (N, classes). Probabilities that vanished in float32 count as the smallest that it has.
    """
    values = outputs.astype(np.float64)
    if model.graph.output[0].name == PROBABILITIES:
        values = np.log(np.maximum(values, np.finfo(np.float32).tiny))
    return values - np.logaddexp.reduce(values, axis=-1, keepdims=True)


def evaluate(
    model: onnx.ModelProto, samples: Sequence[Sample], progress: Callable[[], None] = lambda: None
) -> np.ndarray:
    """Return `log_probabilities` of a model over samples, one at a time: (samples, classes).

    Args:
      model: what is run.
      samples: at least one.
      progress: called after each sample.
    """
    session, rows = Session(model), []
    for sample in samples:
        rows.append(session.output(sample.feeds)[0])
        progress()
    return log_probabilities(model, np.stack(rows))


@dataclass(frozen=True)
class Score:
    """How good a model is on some clips.

    Attributes:
      top1: share of clips whose most probable class is the right one.
      nll: mean negative log-likelihood of the right class, in nats.
    """

    top1: float
    nll: float


def score_of(found: np.ndarray, labels: Sequence[int]) -> Score:
    """Return the score of log probabilities (N, classes) where these labels (N) are right."""
    right = found[np.arange(len(labels)), labels]
    return Score(float(np.mean(found.argmax(axis=1) == np.asarray(labels))), float(-right.mean()))
