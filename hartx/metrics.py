"""Predictions -> the numbers of a report. scikit-learn and SciPy compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, top_k_accuracy_score


def classification_metrics(
    labels: Int[np.ndarray, " N"], probabilities: Float[np.ndarray, "N K"], names: Sequence[str]
) -> dict[str, Any]:
    """Return the metrics of N recordings, as fractions.

    Args:
      labels: true class of each recording.
      probabilities: predicted class probabilities.
      names: name of each of the K classes.

    Returns:
      clips, top1, top5, interval95 of top1 (Wilson 1927), precision_macro, recall_macro and f1_macro over the
      classes that occur, ece and nll (see below), per_class (name to precision, recall, f1, support),
      confusion_matrix (rows: truth).
      With no recordings, clips is 0 and every metric None.
    """
    keys = ("top1", "top5", "interval95", "precision_macro", "recall_macro", "f1_macro", "ece", "nll")
    if not len(labels):
        return {"clips": 0, **dict.fromkeys(keys), "per_class": {}, "confusion_matrix": None}
    classes = np.arange(len(names))
    predicted = probabilities.argmax(axis=1)
    hits = int((predicted == labels).sum())
    interval = binomtest(hits, len(labels)).proportion_ci(method="wilson")
    occurring = np.unique(labels)
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predicted, labels=occurring, average="macro", zero_division=0
    )
    each = precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0)
    return {
        "clips": len(labels),
        "top1": hits / len(labels),
        "top5": _top_k(labels, probabilities, 5),
        "interval95": [float(interval.low), float(interval.high)],
        "precision_macro": float(precision),
        "recall_macro": float(recall),
        "f1_macro": float(f1),
        "ece": expected_calibration_error(labels, probabilities),
        "nll": negative_log_likelihood(labels, probabilities),
        "per_class": {
            name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
            for name, p, r, f, s in zip(names, *each, strict=True)
        },
        "confusion_matrix": confusion_matrix(labels, predicted, labels=classes).tolist(),
    }


def expected_calibration_error(
    labels: Int[np.ndarray, " N"], probabilities: Float[np.ndarray, "N K"], bins: int = 15
) -> float:
    """Return how far confidence is from accuracy, on average over recordings (Guo et al. 2017, equation 3).

    Recordings go by the probability of the predicted class into bins of equal width, ((m - 1) / M, m / M].
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bin_of = np.clip(np.ceil(confidence * bins), 1, bins).astype(int) - 1
    gaps = np.bincount(bin_of, weights=right - confidence, minlength=bins)  # of the sums, that is n |acc - conf|
    return float(np.abs(gaps).sum() / len(labels))


def negative_log_likelihood(labels: Int[np.ndarray, " N"], probabilities: Float[np.ndarray, "N K"]) -> float:
    """Return the mean of -log of the true class's probability, in nats."""
    true = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(true, np.finfo(np.float32).tiny)).mean())


def _top_k(labels: np.ndarray, probabilities: np.ndarray, k: int) -> float:
    classes = probabilities.shape[1]
    if k >= classes:
        return 1.0  # any ranking holds the right class
    return float(top_k_accuracy_score(labels, probabilities, k=k, labels=np.arange(classes)))
