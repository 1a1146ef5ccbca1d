"""How often each format of a model is right, on the same clips, and whether two of them differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

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
) -> dict[str, tuple[bool, ...]]:
    """Return for each model, by name, of which clips it is right. Clips are read once, one at a time."""
    right: dict[str, list[bool]] = {name: [] for name in models}
    for clip in clips:
        feeds = to_feeds(inputs, [clip.inputs])
        for name, compute in models.items():
            right[name].append(int(compute(feeds)[0].argmax()) == clip.label)
    return {name: tuple(values) for name, values in right.items()}


def accuracy_of(right: Sequence[bool]) -> Accuracy:
    """Return the accuracy of a model that is right of these clips."""
    return Accuracy(sum(right) / len(right) if right else None, len(right))


@dataclass(frozen=True)
class McNemar:
    """Whether two models differ in accuracy, from the clips on which one is right and the other is wrong.

    McNemar, "Note on the sampling error of the difference between correlated proportions" (1947), in its exact form:
    under the null hypothesis each such clip is as likely to fall to either model.

    Attributes:
      against: the other model.
      only_other_right: clips of which only the other model is right.
      only_this_right: clips of which only this one is.
      p_value: probability of a difference as large or larger if the models were equally good, two-sided; 1 if there
        are no such clips.
    """

    against: str
    only_other_right: int
    only_this_right: int
    p_value: float

    def __str__(self) -> str:
        return f"+{self.only_this_right} -{self.only_other_right}, p = {self.p_value:.2g}"


def mcnemar(against: str, other: Sequence[bool], this: Sequence[bool]) -> McNemar | None:
    """Return the test of two models by whether each is right of the same clips; None if there are no clips."""
    if not this:
        return None
    lost = sum(a and not b for a, b in zip(other, this, strict=True))
    gained = sum(b and not a for a, b in zip(other, this, strict=True))
    p_value = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return McNemar(against, lost, gained, p_value)
