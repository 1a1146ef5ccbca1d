"""The exported graph against the trained model, on real clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from export.errors import ExportError
from export.inputs import ModelInput, to_feeds
from export.session import Session

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Parity:
    """How close a graph is to the model it was made from.

    Attributes:
      max_difference: largest difference of any two logits.
      clips: number of clips, each run alone and all of them run as one batch.
    """

    max_difference: float
    clips: int


def check(
    model: onnx.ModelProto,
    reference: Callable[[Mapping[str, np.ndarray]], np.ndarray],
    inputs: tuple[ModelInput, ...],
    clips: Sequence[Mapping[str, np.ndarray]],
) -> Parity:
    """Compare a graph with the trained model, each clip alone and all of them as a batch.

    Args:
      model: the graph.
      reference: the trained model as a function of the graph's inputs (`trace.reference`).
      inputs: what both read.
      clips: modality to array, of real recordings.

    Raises:
      ExportError: if any logit differs by more than 1e-4, or is not finite.
    """
    session = Session(model)
    largest = 0.0
    for batch in [[clip] for clip in clips] + [list(clips)]:
        feeds = to_feeds(inputs, batch)
        difference = float(np.abs(session.logits(feeds) - reference(feeds)).max())
        largest = max(largest, difference if np.isfinite(difference) else np.inf)
    if not largest <= TOLERANCE:
        raise ExportError(
            f"the exported model does not agree with the trained one: logits differ by {largest:.2g} on "
            f"{len(clips)} clips, at most {TOLERANCE:g} is accepted\n"
            "  No bundle was written. This is a fault of the export, not of the run: please report it"
        )
    return Parity(largest, len(clips))
