"""What a run says about recordings it is tested on, and WORKDIR/predictions.npz, where it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hartx.errors import HartxError
from hartx.files import whole

PREDICTIONS_FILE = "predictions.npz"

# log of the least probability that is told from 0
_TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class Predictions:
    """Class probabilities (N, K) of N recordings, averaged over their views."""

    names: list[str]
    subjects: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    @property
    def top1(self) -> float | None:
        """Share of the recordings whose most probable class is the right one; None without recordings."""
        return float(np.mean(self.probabilities.argmax(axis=1) == self.labels)) if len(self) else None

    @property
    def log_probabilities(self) -> np.ndarray:
        """Natural logarithms (N, K) float32; of one view these are its logits but for a constant a row."""
        return np.log(np.maximum(self.probabilities, _TINY))

    def chosen(self, mask: np.ndarray) -> Predictions:
        """Return the recordings at which `mask` (N,) is true."""
        names = [name for name, wanted in zip(self.names, mask, strict=True) if wanted]
        return Predictions(names, self.subjects[mask], self.labels[mask], self.probabilities[mask])


def pool(parts: Sequence[Predictions]) -> Predictions:
    """Return the recordings of one or more sets as one, in the given order."""
    return Predictions(
        names=[name for part in parts for name in part.names],
        subjects=np.concatenate([part.subjects for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
    )


def keep_predictions(predictions: Predictions, workdir: Path) -> None:
    """Write WORKDIR/predictions.npz: names, subjects, labels, log_probabilities."""
    with whole(workdir / PREDICTIONS_FILE) as temporary:
        np.savez_compressed(
            temporary,
            names=np.array(predictions.names, dtype=np.str_),
            subjects=predictions.subjects,
            labels=predictions.labels,
            log_probabilities=predictions.log_probabilities,
        )


def read_predictions(workdir: Path) -> Predictions:
    """Return what `keep_predictions` wrote.

    Raises:
      HartxError: if the run was not tested, or the file is damaged.
    """
    path = workdir / PREDICTIONS_FILE
    again = f"Test the run again: python main.py --workdir={workdir} --mode=evaluate"
    if not path.exists():
        raise HartxError(f"{path} is missing. {again}")
    try:
        with np.load(path) as values:
            return Predictions(
                names=[str(name) for name in values["names"]],
                subjects=values["subjects"],
                labels=values["labels"],
                probabilities=np.exp(values["log_probabilities"]),
            )
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise HartxError(f"{path} is damaged: {error}. {again}") from None
