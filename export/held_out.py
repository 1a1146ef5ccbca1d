"""A training subject whose clips judge an int8 model that learnt its ranges from the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from export.calibration import Calibrator
from export.clips import Entry, choose_stratified, load_for_calibration
from export.errors import ExportError
from hartx.data import Clip


@dataclass(frozen=True)
class HeldOut:
    """Who judges, and from whom ranges may come.

    Attributes:
      side: the side of the protocol that the clips are on, "train" or "validation".
      entries: the recordings that are judged on, all of one subject.
      others: the subjects that ranges may come from.
    """

    side: str
    entries: tuple[Entry, ...]
    others: tuple[int, ...]

    @property
    def subject(self) -> int:
        """The subject who judges."""
        return self.entries[0].subject

    @property
    def trained_on(self) -> bool:
        """Whether the network was trained on that subject's recordings."""
        return self.side == "train"

    def load(self, calibrator: Calibrator) -> Iterable[Clip]:
        """Yield the clips, with the calibrator's progress.

        Raises:
          ExportError: see `load_for_calibration`.
        """
        clips = load_for_calibration(calibrator.clips, self.side, self.entries)
        return calibrator.progress(clips, len(self.entries))


def hold_out(calibrator: Calibrator, count: int, instead: str) -> HeldOut:
    """Return the run's validation subject, or else the last training subject.

    Args:
      calibrator: knows the recordings.
      count: the most recordings that are judged on, spread over the classes.
      instead: what the user may give where nobody can be held out, for the message.

    Raises:
      ExportError: if there is one training subject only.
    """
    train = calibrator.clips.entries("train")
    subjects = tuple(sorted({entry.subject for entry in train}))
    if validation := calibrator.clips.entries("validation"):
        return HeldOut("validation", tuple(choose_stratified(validation, count)), subjects)
    if len(subjects) < 2:
        only = f"there is only subject {subjects[0]}" if subjects[0] else "the recordings do not tell who is in them"
        raise ExportError(f"a training subject is held out to compare int8 with float on, but {only}\n  Give {instead}")
    *others, last = subjects
    entries = choose_stratified([entry for entry in train if entry.subject == last], count)
    return HeldOut("train", tuple(entries), tuple(others))
