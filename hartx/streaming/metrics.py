"""What was said about sequences, against what happened. The definitions are in the package's docstring."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix

from edge.streaming import NONE, Event, Narration, StreamRule, narrate, usual_rule
from hartx.streaming.sequence import Instance
from hartx.streaming.windows import Watched

CURVE_THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(20))


@dataclass(frozen=True)
class Window:
    """One window: its true label, the most likely one in it, and what was said after it."""

    truth: str
    likeliest: str
    said: str


@dataclass(frozen=True)
class Detection:
    """One instance: its action and the seconds until that was said; None if it never was."""

    action: str
    delay_s: float | None


@dataclass(frozen=True)
class Outcome:
    """All that is counted, over sequences of `minutes` together."""

    windows: tuple[Window, ...]
    detections: tuple[Detection, ...]
    events: tuple[str, ...]  # their actions
    false_alarms: tuple[str, ...]  # those of them that were wrong
    minutes: float

    def __add__(self, other: Outcome) -> Outcome:
        values = (getattr(self, field.name) + getattr(other, field.name) for field in dataclasses.fields(self))
        return Outcome(*values)

    def of(self, action: str) -> Outcome:
        """Return what concerns one action, over the same minutes."""
        return Outcome(
            windows=tuple(w for w in self.windows if w.truth == action),
            detections=tuple(d for d in self.detections if d.action == action),
            events=tuple(e for e in self.events if e == action),
            false_alarms=tuple(e for e in self.false_alarms if e == action),
            minutes=self.minutes,
        )


NOTHING = Outcome((), (), (), (), 0.0)


def window_truth(span: np.ndarray, instances: Sequence[Instance]) -> str:
    """Return the label that covers most of a window whose middle lies in an instance, else `NONE`."""
    start_s, stop_s = span
    middle_s = (start_s + stop_s) / 2
    if not any(i.start_s <= middle_s < i.stop_s for i in instances):
        return NONE
    covered: dict[str, float] = {}
    for i in instances:
        overlap_s = min(stop_s, i.stop_s) - max(start_s, i.start_s)
        if overlap_s > 0:
            covered[i.action] = covered.get(i.action, 0.0) + overlap_s
    return max(covered, key=lambda action: covered[action])


def delay_s(instance: Instance, narration: Narration, window_s: float) -> float | None:
    """Return the seconds from an instance's start until its label is said while it is heard; None if it is not."""
    for decision in narration.decisions:
        is_heard = instance.start_s <= decision.time_s <= instance.stop_s + window_s
        if is_heard and decision.action == instance.action:
            return decision.time_s - instance.start_s
    return None


def is_false_alarm(event: Event, instances: Sequence[Instance], window_s: float) -> bool:
    """Return whether an event overlaps no instance of its label while that is heard."""
    return not any(
        i.action == event.action and event.start_s <= i.stop_s + window_s and event.stop_s >= i.start_s
        for i in instances
    )


def outcome(watched: Watched, labels: Sequence[str], narration: Narration, window_s: float) -> Outcome:
    """Return what is counted of one sequence and what was said about it."""
    instances = watched.sequence.instances
    likeliest = watched.probabilities.argmax(axis=1)
    return Outcome(
        windows=tuple(
            Window(window_truth(span, instances), labels[best], decision.action)
            for span, best, decision in zip(watched.spans, likeliest, narration.decisions, strict=True)
        ),
        detections=tuple(Detection(i.action, delay_s(i, narration, window_s)) for i in instances),
        events=tuple(event.action for event in narration.events),
        false_alarms=tuple(e.action for e in narration.events if is_false_alarm(e, instances, window_s)),
        minutes=watched.sequence.duration_s / 60,
    )


def _share(windows: Sequence[Window], holds: Callable[[Window], bool]) -> float | None:
    return sum(map(holds, windows)) / len(windows) if windows else None


def figures(outcome: Outcome) -> dict[str, Any]:
    """Return the metrics: shares as fractions, delays in seconds; None where there is nothing to count."""
    acting = [w for w in outcome.windows if w.truth != NONE]
    resting = [w for w in outcome.windows if w.truth == NONE]
    delays = [d.delay_s for d in outcome.detections if d.delay_s is not None]
    instances = len(outcome.detections)
    return {
        "minutes": outcome.minutes,
        "windows": len(acting),
        "window_accuracy": _share(acting, lambda w: w.likeliest == w.truth),
        "decision_accuracy": _share(acting, lambda w: w.said == w.truth),
        "rest_windows": len(resting),
        "none_accuracy": _share(resting, lambda w: w.said == NONE),
        "instances": instances,
        "detection_rate": len(delays) / instances if instances else None,
        "events": len(outcome.events),
        "false_alarms": len(outcome.false_alarms),
        "false_alarms_per_minute": len(outcome.false_alarms) / outcome.minutes if outcome.minutes else None,
        "delay_median_s": float(np.percentile(delays, 50)) if delays else None,
        "delay_p90_s": float(np.percentile(delays, 90)) if delays else None,
        "f1": _f1(len(delays), instances, len(outcome.false_alarms), len(outcome.events)),
    }


def _f1(detected: int, instances: int, false_alarms: int, events: int) -> float | None:
    """Return the harmonic mean of the share of instances detected and the share of events that are right."""
    if not instances:
        return None
    if not detected or false_alarms == events:
        return 0.0
    recall, precision = detected / instances, 1 - false_alarms / events
    return 2 * precision * recall / (precision + recall)


def confusions(outcome: Outcome, labels: Sequence[str]) -> list[list[int]]:
    """Return how many windows of each label (row) were followed by what (column); `NONE` is the last of both."""
    names = [*labels, NONE]
    truths, said = [w.truth for w in outcome.windows], [w.said for w in outcome.windows]
    return confusion_matrix(truths, said, labels=names).tolist()


def said_about(watched: Sequence[Watched], labels: Sequence[str], rule: StreamRule) -> list[Narration]:
    """Return what is said about each sequence."""
    return [narrate(labels, rule, w.spans, w.probabilities) for w in watched]


def threshold_curve(
    watched: Sequence[Watched], labels: Sequence[str], smoothing: int, release: float | None, window_s: float
) -> list[dict[str, Any]]:
    """Return the metrics at each of `CURVE_THRESHOLDS`, from the same predictions.

    A `release` is lowered to the thresholds that are below it; None: at each the usual share of it.
    """
    rows = []
    for threshold in CURVE_THRESHOLDS:
        rule = usual_rule(threshold, smoothing, None if release is None else min(release, threshold))
        narrations = said_about(watched, labels, rule)
        total = sum((outcome(w, labels, n, window_s) for w, n in zip(watched, narrations, strict=True)), NOTHING)
        rows.append({"threshold": threshold} | figures(total))
    return rows
