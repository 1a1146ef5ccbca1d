"""Which recordings train and which test.

* `cross_subject`: odd subjects train, even subjects test (Chen et al., UTD-MHAD, ICIP 2015).
* `loso:K`: subject K tests, all others train; `loso:K+L`: subjects K and L test.
* `random80:SEED`: 80 % of the recordings, drawn at random, train. Subjects are on both sides, so it
  flatters: kept for comparison with numbers published this way.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hartx.errors import HartxError, suggestion

FORMS = ("cross_subject", "loso:K", "loso:K+L", "random80:SEED")

# What a sweep takes: several folds, or each subject in turn, and a split of its own for every seed.
SWEEP_FORMS = ("loso", "loso:K,L,...", "loso:K+L,K+M,...", "cross_subject", "random80", "random80:SEED")

# Those who test together in one fold.
_GROUP = r"\d+(?:\+\d+)*"


@dataclass(frozen=True)
class RecordingId:
    """What a protocol may look at."""

    name: str
    subject: int


@dataclass(frozen=True)
class Sides:
    """Indices into the list of recordings."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


def is_test(
    protocol: str, recordings: Sequence[RecordingId], everyone: Sequence[RecordingId] | None = None
) -> list[bool]:
    """Return for each recording whether it belongs to the protocol's test side.

    Args:
      protocol: one of `FORMS`.
      recordings: those that are wanted.
      everyone: the whole dataset, these among it, of which random80 draws; None if they are the whole.

    Raises:
      HartxError: if `protocol` is none of `FORMS`.
    """
    if protocol == "cross_subject":
        return [r.subject % 2 == 0 for r in recordings]
    if match := re.fullmatch(f"loso:({_GROUP})", protocol):
        tested = _subjects(match[1])
        usual = "+".join(map(str, tested))
        if match[1] != usual:  # runs are compared, and found again, by how their protocol is written
            raise HartxError(f"config.protocol={protocol!r} was given; loso:{usual} is expected")
        return [r.subject in tested for r in recordings]
    if match := re.fullmatch(r"random80:(\d+)", protocol):
        names = sorted(recording.name for recording in everyone or recordings)
        order = np.random.default_rng(int(match[1])).permutation(len(names))
        test = {names[i] for i in order[math.floor(0.8 * len(names)) :]}
        return [recording.name in test for recording in recordings]
    raise HartxError(
        f"config.protocol={protocol!r} was given; one of {', '.join(FORMS)} is expected{_near(protocol, FORMS)}"
    )


def sides(
    protocol: str,
    recordings: Sequence[RecordingId],
    validation_subject: int = 0,
    everyone: Sequence[RecordingId] | None = None,
) -> Sides:
    """Return the training, validation and test recordings.

    Args:
      protocol: one of `FORMS`.
      recordings: those of the dataset that are wanted.
      validation_subject: a training subject whose recordings are held out from training to select the
        best checkpoint; 0 for none.
      everyone: as of `is_test`.

    Raises:
      HartxError: for an unknown protocol, or a validation subject that does not train.
    """
    test = is_test(protocol, recordings, everyone)
    held_out = validation_subject or None  # subject 0 is of recordings that do not tell who is in them
    validation = [not t and r.subject == held_out for t, r in zip(test, recordings, strict=True)]
    train = [not t and not v for t, v in zip(test, validation, strict=True)]
    present = sorted({r.subject for r in recordings})
    if validation_subject and not any(validation):
        raise HartxError(
            f"config.validation_subject={validation_subject} was given, which is no training subject of "
            f"protocol {protocol} (subjects present: {present})"
        )

    def indices(mask: list[bool]) -> tuple[int, ...]:
        return tuple(i for i, chosen in enumerate(mask) if chosen)

    return Sides(indices(train), indices(validation), indices(test))


def check_trains(protocol: str, sides: Sides, recordings: Sequence[RecordingId]) -> None:
    """Check that there is something to train on. To test a run, recordings of the test side are enough.

    Raises:
      HartxError: if there is not.
    """
    if not sides.train:
        present = sorted({r.subject for r in recordings})
        raise HartxError(
            f"protocol {protocol} leaves nothing to train on (subjects present: {present}){_nobody(present)}"
        )


def _nobody(subjects: Sequence[int]) -> str:
    """Return what to do where recordings do not tell who is in them; nothing where they do."""
    return "; split them at random: --config.protocol=random80:0" if list(subjects) == [0] else ""


def folds(protocol: str, seed: int, subjects: Sequence[int]) -> tuple[str, ...]:
    """Return the protocols, each one of `FORMS`, that a sweep runs with a seed.

    Args:
      protocol: one of `SWEEP_FORMS`. `loso` leaves out each subject in turn, `loso:K,L` the named ones,
        `loso:K+L,K+M` first K and L, then K and M; `random80` splits by the seed.
      seed: of the runs.
      subjects: those whose recordings there are; only leaving out looks at them.

    Raises:
      HartxError: for an unknown protocol, or a subject to leave out of whom there is no recording.
    """
    if protocol == "random80":
        return (f"random80:{seed}",)
    if protocol == "loso":
        return tuple(f"loso:{subject}" for subject in sorted(set(subjects)))
    if match := re.fullmatch(f"loso:({_GROUP}(?:,{_GROUP})*)", protocol):
        groups = sorted({_subjects(group) for group in match[1].split(",")})
        absent = sorted({subject for group in groups for subject in group} - set(subjects))
        if absent:
            raise HartxError(
                f"protocol {protocol} leaves out subjects of whom there is no recording: {absent} "
                f"(subjects present: {sorted(set(subjects))})"
            )
        return tuple("loso:" + "+".join(map(str, group)) for group in groups)
    if not re.fullmatch(r"cross_subject|random80:\d+", protocol):
        near = _near(protocol, SWEEP_FORMS)
        raise HartxError(f"--protocol={protocol} was given; one of {', '.join(SWEEP_FORMS)} is expected{near}")
    return (protocol,)


def _subjects(group: str) -> tuple[int, ...]:
    """Return whom "3+1" names, in order and each once: (1, 3)."""
    return tuple(sorted({int(subject) for subject in group.split("+")}))


def _near(protocol: str, forms: Sequence[str]) -> str:
    """Return a suggestion for a name that is mistyped; nothing for a name that is right and lacks its number."""
    name, known = protocol.split(":")[0], [form.split(":")[0] for form in forms]
    return "" if name in known else suggestion(name, known)
