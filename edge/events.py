"""What a stream says: predictions, actions that begin and end, and what happened to the source."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Dict, Optional, Tuple, Union

from edge.recognizer import Score


@dataclass(frozen=True)
class Latency:
    """Milliseconds from the capture of a window's newest frame to the result, and where they went.

    Attributes:
      total_ms: capture to result; the sum of the others.
      decode_ms: until the newest frame was an image.
      preprocess_ms: that frame's preprocessing, its skeleton, and putting the window together.
      inference_ms: in the engine.
      smoothing_ms: softmax, smoothing and the decision.
      waiting_ms: between these: for a thread to be woken, for the engine, for the program that reads the events.
    """

    total_ms: float
    decode_ms: float
    preprocess_ms: float
    inference_ms: float
    smoothing_ms: float
    waiting_ms: float


@dataclass(frozen=True)
class Predicted:
    """The prediction for one window.

    Attributes:
      time_s: when its newest frame was taken, in seconds since the source began.
      start_s: where the window begins.
      stop_s: where it ends: half an instant after the newest frame's.
      action: what is said: an action, or "none" if nothing is sure.
      confidence: smoothed probability of `action`; where that is "none", of the most likely one.
      top5: the most probable actions by smoothed probability.
      window_top5: the same of this window alone, without smoothing.
      latency: capture to result.
      dropped_frames: frames so far that nobody could look at, because a newer one had come.
      stride: instants since the window before.
      missing: modalities that were not there and went in as zeros.
    """

    kind: ClassVar[str] = "prediction"
    time_s: float
    start_s: float
    stop_s: float
    action: str
    confidence: float
    top5: Tuple[Score, ...]
    window_top5: Tuple[Score, ...]
    latency: Latency
    dropped_frames: int
    stride: int
    missing: Tuple[str, ...]


@dataclass(frozen=True)
class Started:
    """An action begins to be said, at `time_s`, which is the time of the prediction."""

    kind: ClassVar[str] = "start"
    time_s: float
    action: str
    confidence: float


@dataclass(frozen=True)
class Ended:
    """An action is said no more.

    Attributes:
      time_s: time of the first prediction without it; of the last one with it, if the source ended or broke off.
      action: which.
      start_s: time of the first prediction that named it.
      stop_s: of the last one.
      confidence: the highest smoothed probability it had.
    """

    kind: ClassVar[str] = "end"
    time_s: float
    action: str
    start_s: float
    stop_s: float
    confidence: float


@dataclass(frozen=True)
class Notice:
    """Something that whoever watches should know.

    Attributes:
      time_s: time of the newest frame; None before the first one.
      about: "source" (lost, stalled, back, broken off), "stride" (wider or as asked), "missing" (modalities).
      text: for people.
    """

    kind: ClassVar[str] = "notice"
    time_s: Optional[float]
    about: str
    text: str


StreamEvent = Union[Predicted, Started, Ended, Notice]


def as_dict(event: StreamEvent) -> Dict[str, Any]:
    """Return an event as plain values for JSON, `kind` first."""
    return {"kind": event.kind, **asdict(event)}
