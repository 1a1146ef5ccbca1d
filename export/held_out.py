"""Training recordings that judge an int8 model, whose ranges come from others: those of one subject if it can be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from export.calibration import Calibrator
from export.clips import Entry, choose_stratified, load_for_calibration
from export.errors import ExportError
from hartx.data import Clip

# Of the training recordings, where there is one subject or nobody tells who is in them.
_SHARE = 5


@dataclass(frozen=True)
class HeldOut:
    """What judges, and what ranges may come from.

    Attributes:
      side: the side of the protocol that the clips are on, "train" or "validation".
      entries: the recordings that are judged on.
      others: the training recordings that ranges may come from.
    """

    side: str
    entries: tuple[Entry, ...]
    others: tuple[Entry, ...]

    @property
    def subject(self) -> int | None:
        """The subject who judges; None if ranges come from the same."""
        subject = self.entries[0].subject
        return None if subject in self.subjects else subject

    @property
    def subjects(self) -> tuple[int, ...]:
        """The subjects whom ranges come from."""
        return tuple(sorted({entry.subject for entry in self.others}))

    @property
    def trained_on(self) -> bool:
        """Whether the network was trained on the recordings that judge."""
        return self.side == "train"

    def load(self, calibrator: Calibrator) -> Iterable[Clip]:
        """Yield the clips, with the calibrator's progress.

        Raises:
          ExportError: see `load_for_calibration`.
        """
        clips = load_for_calibration(calibrator.clips, self.side, self.entries)
        return calibrator.progress(clips, len(self.entries))


def named(subject: int | None) -> str:
    """Return for people what judges: "subject 3"."""
    return "a fifth of the training recordings" if subject is None else f"subject {subject}"


def hold_out(calibrator: Calibrator, count: int) -> HeldOut:
    """Return the run's validation subject, else the last training subject, else a share of the only one's recordings.

    Args:
      calibrator: knows the recordings.
      count: the most recordings that are judged on, spread over the classes.

    Raises:
      ExportError: if there is one training recording only.
    """
    train = calibrator.clips.entries("train")
    if validation := calibrator.clips.entries("validation"):
        return HeldOut("validation", tuple(choose_stratified(validation, count)), tuple(train))
    if len(train) < 2:
        raise ExportError("recordings are held out to compare int8 with float on, but there is only one to train on")
    last = max(entry.subject for entry in train)
    judging = [entry for entry in train if entry.subject == last]
    if len(judging) == len(train):
        judging = choose_stratified(train, max(1, len(train) // _SHARE))
    others = tuple(entry for entry in train if entry not in judging)
    return HeldOut("train", tuple(choose_stratified(judging, count)), others)
