"""How often each precision of a model is right, on the same clips."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx

from export.inputs import ModelInput, to_feeds
from export.session import Session
from hartx.data import Clip


@dataclass(frozen=True)
class Accuracy:
    """Share of clips whose most probable class is the right one.

    Attributes:
      top1: fraction, None if there were no clips.
      clips: number of clips, one a recording.
      split: the side of the protocol these are on.
    """

    top1: float | None
    clips: int
    split: str = "test"


def measure(
    models: Mapping[str, onnx.ModelProto], inputs: tuple[ModelInput, ...], clips: Iterable[Clip]
) -> dict[str, Accuracy]:
    """Return the accuracy of each precision, by name. Clips are read once, one at a time."""
    sessions = {precision: Session(model) for precision, model in models.items()}
    hits = dict.fromkeys(models, 0)
    count = 0
    for clip in clips:
        feeds = to_feeds(inputs, [clip.inputs])
        count += 1
        for precision, session in sessions.items():
            hits[precision] += int(session.logits(feeds)[0].argmax()) == clip.label
    return {precision: Accuracy(hits[precision] / count if count else None, count) for precision in models}
