"""An exported model against the trained one, on real clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from export.errors import ExportError
from export.formats import Tolerance
from export.inputs import ModelInput, to_feeds

# A model: named inputs to its output, (N, classes).
Compute = Callable[[Mapping[str, np.ndarray]], np.ndarray]


@dataclass(frozen=True)
class Parity:
    """How close two models are.

    Attributes:
      max_difference: largest difference of any two outputs; infinite if one is not finite.
      allowed: what the tolerance allows for outputs of this size.
      clips: number of clips, each run alone and all of them run as one batch.
    """

    max_difference: float
    allowed: float
    clips: int

    @property
    def holds(self) -> bool:
        """Whether the difference is within what is allowed."""
        return self.max_difference <= self.allowed

    def __str__(self) -> str:
        return (
            f"outputs differ by at most {self.max_difference:.1g} ({self.allowed:.1g} is allowed) on "
            f"{self.clips} clips, alone and as a batch"
        )


def compare(
    compute: Compute,
    reference: Compute,
    inputs: tuple[ModelInput, ...],
    clips: Sequence[Mapping[str, np.ndarray]],
    tolerance: Tolerance,
) -> Parity:
    """Return how close a model is to another, each clip alone and all of them as a batch.

    Args:
      compute: the model that is judged.
      reference: the model it should agree with.
      inputs: what both read.
      clips: modality to array, of real recordings.
      tolerance: how close it should be.

    Raises:
      ExportError: if the model cannot be run.
    """
    difference, largest = 0.0, 0.0
    for batch in [[clip] for clip in clips] + [list(clips)]:
        feeds = to_feeds(inputs, batch)
        expected = reference(feeds)
        found = float(np.abs(_computed(compute, feeds) - expected).max())
        difference = max(difference, found if np.isfinite(found) else np.inf)
        largest = max(largest, float(np.abs(expected).max()))
    return Parity(difference, tolerance.allowed(largest), len(clips))


def _computed(compute: Compute, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return what a model computes; StableHLO, for one, is compiled only here, however damaged it is."""
    try:
        return compute(feeds)
    except Exception as error:  # the engines' exceptions have no common class below Exception
        raise ExportError(f"it cannot be run: {type(error).__name__}: {error}") from error


def check(
    compute: Compute,
    reference: Compute,
    inputs: tuple[ModelInput, ...],
    clips: Sequence[Mapping[str, np.ndarray]],
    tolerance: Tolerance,
) -> Parity:
    """Compare an exported model with the trained one, see `compare`.

    Raises:
      ExportError: if it cannot be run, or an output differs by more than the tolerance, or is not finite.
    """
    found = compare(compute, reference, inputs, clips, tolerance)
    if not found.holds:
        raise ExportError(
            f"the exported model does not agree with the trained one: {found}\n"
            "  No bundle was written. This is a fault of the export, not of the run: please report it"
        )
    return found
