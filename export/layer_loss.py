"""What int8 costs layer by layer: each layer alone in int8, all others in float, against the float model.

The measure that ranks is the signal-to-quantisation-noise ratio of the output, as in Pandey et al., "A Practical
Mixed Precision Algorithm for Post-Training Quantization" (2023). The network has been trained on the clips or on
clips like them, so it is sure of nearly all of them: top-1 hardly moves, the likelihood and the divergence hang on
the few that it is not sure of, and the ratio counts all alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from export.outputs import Sample, Score, evaluate, score_of
from export.quantize import ScaleOf, quantized


@dataclass(frozen=True)
class Loss:
    """How far a model's outputs are from the float model's, on the same clips.

    Attributes:
      sqnr_db: energy of the float logits over that of their change, in decibel, both over all clips and classes;
        logits less their mean over the classes, as a shift of all changes nothing. None if nothing changed.
      kl: mean Kullback-Leibler divergence of the class probabilities from the float model's, in nats.
      score: how good it is.
    """

    sqnr_db: float | None
    kl: float
    score: Score


def loss(exact: np.ndarray, found: np.ndarray, labels: Sequence[int]) -> Loss:
    """Return how far log probabilities (N, classes) are from exact ones, where these labels (N) are right."""
    signal = exact - exact.mean(axis=1, keepdims=True)
    noise = found - found.mean(axis=1, keepdims=True) - signal
    energy = float((noise**2).sum())
    sqnr_db = 10 * float(np.log10((signal**2).sum() / energy)) if energy else None
    kl = float((np.exp(exact) * (exact - found)).sum(axis=1).mean())
    return Loss(sqnr_db, max(kl, 0.0), score_of(found, labels))


@dataclass(frozen=True)
class Losses:
    """The losses of a model's layers.

    Attributes:
      exact: the score of the float model.
      together: with all of the layers in int8.
      alone: layer to the loss with it alone in int8, the largest (the lowest ratio) first.
    """

    exact: Score
    together: Loss
    alone: Mapping[str, Loss]


def measure(
    model: onnx.ModelProto,
    layers: Sequence[str],
    scale_of: ScaleOf,
    samples: Sequence[Sample],
    progress: Callable[[], None] = lambda: None,
    keep: Callable[[str, Callable[[], np.ndarray]], np.ndarray] = lambda name, compute: compute(),
) -> Losses:
    """Return what int8 costs in each of some layers; runs (layers + 2) x samples times, telling `progress` of each.

    Args:
      model: the float model.
      layers: names of those that may be int8; the others stay in float throughout.
      scale_of: tensor to the size of its int8 step.
      samples: at least one.
      progress: called after each sample of each model.
      keep: returns the outputs of a model by its name, those that it has or those that it is to compute.
    """
    labels = [sample.label for sample in samples]
    exact = keep("float", lambda: evaluate(model, samples, progress))

    def of(name: str, int8: Sequence[str]) -> Loss:
        found = keep(name, lambda: evaluate(quantized(model, int8, scale_of), samples, progress))
        return loss(exact, found, labels)

    alone = {name: of(f"{name} alone", [name]) for name in layers}
    return Losses(score_of(exact, labels), of("int8", layers), {name: alone[name] for name in ranked(alone)})


def ranked(losses: Mapping[str, Loss]) -> list[str]:
    """Return the names, the lowest ratio first, among equals the largest divergence; what changed nothing last."""

    def key(name: str) -> tuple[float, float]:
        found = losses[name]
        return (np.inf if found.sqnr_db is None else found.sqnr_db), -found.kl

    return sorted(losses, key=key)
