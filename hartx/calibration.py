"""Temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks").

Logits are divided by one number, so that a confidence of 0.8 is right 8 times of 10. No prediction changes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from hartx.errors import HartxError
from hartx.metrics import expected_calibration_error, negative_log_likelihood
from hartx.predictions import Predictions

TEMPERATURE_FILE = "temperature.json"

# Beyond these a network is either always sure or never; the best temperature of real ones is near 1.
_LEAST, _MOST = 0.05, 20.0


@dataclass(frozen=True)
class Confidence:
    """How far confidences of some predictions can be trusted; lower is better."""

    ece: float
    nll: float


def with_temperature(log_probabilities: Float[np.ndarray, "N K"], temperature: float) -> Float[np.ndarray, "N K"]:
    """Return the probabilities that logits divided by a temperature give."""
    return softmax(np.asarray(log_probabilities, np.float64) / temperature, axis=1)


def fit_temperature(predictions: Predictions) -> float:
    """Return the temperature that fits the labels best, from 0.05 to 20.

    Of N recordings each, what is fitted gives its true class (N + 1) / (N + 2) and shares the rest among the other
    classes: Platt's targets (1999, "Probabilistic Outputs for Support Vector Machines", section 2.2). With the labels
    alone a network that is right on all N would be told to be ever surer.

    Raises:
      HartxError: with no recordings.
    """
    if not len(predictions):
        raise HartxError("there are no recordings to fit a temperature on")
    count, classes = predictions.probabilities.shape
    targets = np.full((count, classes), 1 / ((count + 2) * max(classes - 1, 1)))
    targets[np.arange(count), predictions.labels] = (count + 1) / (count + 2)
    found = minimize_scalar(
        lambda log_t: -(targets * log_softmax(predictions.log_probabilities / np.exp(log_t), axis=1)).sum() / count,
        bounds=(np.log(_LEAST), np.log(_MOST)),
        method="bounded",
        options={"xatol": 1e-5},
    )
    return float(np.exp(found.x))


def confidence_at(predictions: Predictions, temperature: float) -> Confidence:
    """Return how far the confidences can be trusted at a temperature; 1 leaves them as they are."""
    probabilities = with_temperature(predictions.log_probabilities, temperature)
    return Confidence(
        ece=expected_calibration_error(predictions.labels, probabilities),
        nll=negative_log_likelihood(predictions.labels, probabilities),
    )


def forget_temperature(workdir: Path) -> None:
    """Remove the temperature of a run whose network is another one now."""
    (workdir / TEMPERATURE_FILE).unlink(missing_ok=True)


def read_temperature(workdir: Path) -> float:
    """Return the temperature that was fitted for the run in `workdir`; 1 if none was.

    Raises:
      HartxError: if its file is damaged.
    """
    path = workdir / TEMPERATURE_FILE
    if not path.exists():
        return 1.0
    try:
        return float(json.loads(path.read_text())["temperature"])
    except (ValueError, KeyError, TypeError) as error:
        raise HartxError(
            f"{path} is damaged: {error!r}. Fit it again with python -m hartx.calibrate, or remove it"
        ) from None
