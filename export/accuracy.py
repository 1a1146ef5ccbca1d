"""How often each format of a model is right, on the same clips."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from export.inputs import ModelInput, to_feeds
from export.parity import Compute
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
    models: Mapping[str, Compute], inputs: tuple[ModelInput, ...], clips: Iterable[Clip]
) -> dict[str, Accuracy]:
    """Return the accuracy of each model, by name. Clips are read once, one at a time."""
    hits = dict.fromkeys(models, 0)
    count = 0
    for clip in clips:
        feeds = to_feeds(inputs, [clip.inputs])
        count += 1
        for name, compute in models.items():
            hits[name] += int(compute(feeds)[0].argmax()) == clip.label
    return {name: Accuracy(hits[name] / count if count else None, count) for name in models}
