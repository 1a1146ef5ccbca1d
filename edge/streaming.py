"""From the predictions of a sliding window to what is said, and when an action begins and ends.

numpy only, no clock and no threads: the live runtime and `hartx.streaming`, which measures it on recordings,
both call this.

A window ends at the newest frame, so what is said at a time is known from what came before it:

1. smoothing: the mean of the last `smoothing` predictions whose windows overlap the newest one. A window that has ended
   before the newest one begins has seen nothing of what goes on now: with a stride of half a window only the last two
   count, however many are asked for.
2. The action with the highest mean is said if that is at least `threshold`. If not, the action that was said
   before stays as long as its own mean is at least `release`; else it is `none`.
3. Decisions that name the same action one after the other are one event.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Deque, Iterable, List, Optional, Sequence, Tuple

import numpy as np

from edge.errors import EdgeError

NONE = "none"

# Down to which share of the threshold an action that was named goes on, where nothing else is asked for.
RELEASE_SHARE = 0.8

# Windows that share less of the newest one than this do not overlap it: the times of a live source jitter.
_LEAST_OVERLAP = 0.1


@dataclass(frozen=True)
class StreamRule:
    """How predictions become decisions.

    Attributes:
      threshold: the least smoothed probability that names an action, in [0, 1].
      smoothing: how many predictions are averaged at most.
      release: the least smoothed probability with which an action that was named stays, at most
        `threshold`; None: the same, so there is no hysteresis.
    """

    threshold: float = 0.5
    smoothing: int = 5
    release: Optional[float] = None

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise EdgeError(f"a threshold of {self.threshold} was given; 0 <= threshold <= 1 is expected")
        if self.smoothing < 1:
            raise EdgeError(f"a smoothing over {self.smoothing} predictions was given; at least 1 is expected")
        if self.release is not None and not 0 <= self.release <= self.threshold:
            raise EdgeError(
                f"a release of {self.release} was given; 0 <= release <= threshold={self.threshold} is expected"
            )


def usual_rule(threshold: float = 0.5, smoothing: int = 5, release: Optional[float] = None) -> StreamRule:
    """Return the rule of the commands: one with hysteresis, `RELEASE_SHARE` of the threshold unless it is given.

    Raises:
      EdgeError: if the values do not fit together.
    """
    return StreamRule(threshold, smoothing, RELEASE_SHARE * threshold if release is None else release)


@dataclass(frozen=True)
class Event:
    """An action that was said without a break.

    Attributes:
      start_s: time of the first decision that named it.
      stop_s: time of the last one; the same as `start_s` if there was only one.
      action: its label.
      confidence: the highest smoothed probability it had, in [0, 1].
    """

    start_s: float
    stop_s: float
    action: str
    confidence: float


@dataclass(frozen=True)
class Decision:
    """What is said after one prediction.

    Attributes:
      time_s: when, which is the end of the window.
      action: a label, or `NONE`.
      confidence: smoothed probability of `action`; where that is `NONE`, of the most likely label.
      probabilities: (K,) smoothed, in the order of the labels.
      started: whether an event begins here.
      ended: the event that the decision before this one closed, if any.
    """

    time_s: float
    action: str
    confidence: float
    probabilities: np.ndarray
    started: bool
    ended: Optional[Event]


class WindowSmoother:
    """The mean of the last `length` predictions whose windows overlap the newest one."""

    def __init__(self, length: int) -> None:
        self._recent: Deque[Tuple[float, np.ndarray]] = deque(maxlen=length)

    def update(self, start_s: float, stop_s: float, probabilities: np.ndarray) -> np.ndarray:
        """Take the prediction (K,) of a window from `start_s` to `stop_s` and return the mean, (K,) float64."""
        self._recent.append((stop_s, np.array(probabilities, np.float64)))
        while self._recent[0][0] - start_s < _LEAST_OVERLAP * (stop_s - start_s):
            self._recent.popleft()
        return np.mean([row for _, row in self._recent], axis=0)

    def reset(self) -> None:
        """Forget all predictions."""
        self._recent.clear()


class ActionStream:
    """Predictions in, one after the other; decisions and events out. Memory does not grow with time.

    Args:
      labels: names of the K classes; none of them may be `NONE`.
      rule: smoothing and thresholds.

    Raises:
      EdgeError: for a label that is `NONE`.
    """

    def __init__(self, labels: Sequence[str], rule: StreamRule) -> None:
        if NONE in labels:
            raise EdgeError(f"a label is {NONE!r}, which is what is said when nothing is sure; give it another name")
        self._labels = tuple(labels)
        self._rule = rule
        self._smoother = WindowSmoother(rule.smoothing)
        self._event: Optional[Event] = None

    @property
    def event(self) -> Optional[Event]:
        """The event that is going on, up to the last decision."""
        return self._event

    def update(self, start_s: float, stop_s: float, probabilities: np.ndarray) -> Decision:
        """Return what is said after the prediction for a window.

        Args:
          start_s: where the window begins, in seconds.
          stop_s: where it ends, later than the one before.
          probabilities: (K,), of the window.

        Raises:
          EdgeError: for probabilities of another shape, or that are not finite.
        """
        given = np.asarray(probabilities)
        if given.shape != (len(self._labels),) or not np.isfinite(given).all():
            raise EdgeError(f"{given!r} was given; {len(self._labels)} finite probabilities are expected")
        smoothed = self._smoother.update(start_s, stop_s, given)
        best = self._choose(smoothed)
        action = NONE if best is None else self._labels[best]
        confidence = float(smoothed.max() if best is None else smoothed[best])
        ended, started = self._follow(stop_s, action, confidence)
        return Decision(stop_s, action, confidence, smoothed, started, ended)

    def _choose(self, smoothed: np.ndarray) -> Optional[int]:
        """Return the label that is said."""
        best = int(np.argmax(smoothed))
        if smoothed[best] >= self._rule.threshold:
            return best
        if self._event is None or self._rule.release is None:
            return None
        said = self._labels.index(self._event.action)
        return said if smoothed[said] >= self._rule.release else None

    def _follow(self, time_s: float, action: str, confidence: float) -> Tuple[Optional[Event], bool]:
        """Go on with the event that there is, or replace it; return the one that ended and whether one began."""
        last = self._event
        if last is not None and last.action == action:
            self._event = Event(last.start_s, time_s, action, max(last.confidence, confidence))
            return None, False
        self._event = None if action == NONE else Event(time_s, time_s, action, confidence)
        return last, self._event is not None

    def reset(self) -> Optional[Event]:
        """Forget everything, as at the end of a source; return the event that was going on."""
        last, self._event = self._event, None
        self._smoother.reset()
        return last


@dataclass(frozen=True)
class Narration:
    """All that was said about a sequence: a decision for each window, and the events, in order of time."""

    decisions: Tuple[Decision, ...]
    events: Tuple[Event, ...]


def narrate(
    labels: Sequence[str], rule: StreamRule, spans: Iterable[Sequence[float]], probabilities: Iterable[np.ndarray]
) -> Narration:
    """Return what `ActionStream` says about a whole sequence.

    Args:
      labels: names of the K classes.
      rule: smoothing and thresholds.
      spans: (N, 2), start and stop of each window in seconds, increasing.
      probabilities: (N, K), of the windows.
    """
    stream = ActionStream(labels, rule)
    decisions = tuple(
        stream.update(float(start_s), float(stop_s), row) for (start_s, stop_s), row in zip(spans, probabilities)
    )
    ended: List[Optional[Event]] = [decision.ended for decision in decisions]
    ended.append(stream.reset())
    return Narration(decisions, tuple(event for event in ended if event is not None))


def window_spans(duration_s: float, window_s: float, hop_s: float) -> np.ndarray:
    """Return the (N, 2) start and stop seconds of the whole windows within a sequence.

    Args:
      duration_s: length of the sequence. One that is shorter than a window gives one window all the same.
      window_s: length of a window.
      hop_s: seconds from one window's start to the next one's.
    """
    count = 1 + max(0, int((duration_s - window_s) / hop_s + 1e-9))  # + 1e-9: 0.3 / 0.1 is 2.9999...
    starts = np.arange(count) * hop_s
    return np.stack([starts, starts + window_s], axis=1)
