"""From a source of frames to events, in real time.

Three threads: one captures (`edge.capture`), one runs the engine, and the caller's own does the rest between two
events that it reads. At most one window is with the engine and none waits for it: if the engine is slower than the
stride, the next window is the newest one there is when it has finished. So the stride gets wider, and never the delay.

From a source that is not live (a file that is not played at its own rate) every frame is looked at, and the engine is
waited for: the same file always gives the same events.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Callable, Deque, Iterator, Mapping, Optional, Tuple

import numpy as np

from edge.capture import open_frames
from edge.checks import check_frames
from edge.errors import EdgeError
from edge.events import Ended, Latency, Notice, Predicted, Started, StreamEvent
from edge.feeds import Feed
from edge.recognizer import ActionRecognizer
from edge.sources import Frame, Source
from edge.streaming import ActionStream, Event, StreamRule, usual_rule
from edge.window import SlidingWindow

_POLL_S = 0.1  # how long a stop may go unnoticed while no frame comes
_SETTLED = 10  # predictions that must hold a narrower stride before that is said

_RULE = usual_rule()


@dataclass(frozen=True)
class Look:
    """What there is to show when a frame has been looked at.

    Attributes:
      frame: the frame.
      joints: the newest skeleton of the window, (20 or 25, 3) in metres; None if there is none.
      prediction: the newest prediction; None before the first one.
      source_rate_hz: frames per second that the source promises; None if it does not.
    """

    frame: Frame
    joints: Optional[np.ndarray]
    prediction: Optional[Predicted]
    source_rate_hz: Optional[float]


OnFrame = Callable[[Look], None]


@dataclass(frozen=True)
class StreamOptions:
    """How a stream is watched.

    Attributes:
      stride: instants from one prediction to the next; None: the bundle's, 8 of 16.
      rule: smoothing and thresholds.
      stall_s: seconds without a frame after which a live source counts as stalled.
    """

    stride: Optional[int] = None
    rule: StreamRule = _RULE
    stall_s: float = 2.0

    def __post_init__(self) -> None:
        if self.stride is not None and self.stride < 1:
            raise EdgeError(f"a stride of {self.stride} was given; at least 1 is expected")


@dataclass(frozen=True)
class _Job:
    """A window that is with the engine."""

    frame: Frame
    span: Tuple[float, float]
    stride: int
    missing: Tuple[str, ...]
    preprocess_ms: float
    output: Future[Tuple[np.ndarray, float]]


class StreamRuntime:
    """One source, watched once.

    Args:
      recognizer: whose bundle and engine.
      source: frames; it is closed at the end.
      feeds: modality to what goes with the frames.
      options: stride, smoothing, thresholds.
      on_frame: called with each frame that is looked at, for display and recording.
      stop: ends the stream when it is set.
    """

    def __init__(
        self,
        recognizer: ActionRecognizer,
        source: Source,
        feeds: Mapping[str, Feed],
        options: StreamOptions,
        on_frame: Optional[OnFrame] = None,
        stop: Optional[threading.Event] = None,
    ) -> None:
        bundle = recognizer.bundle
        self._recognizer, self._source, self._feeds = recognizer, source, feeds
        self._options, self._on_frame = options, on_frame
        self._stop = stop or threading.Event()
        self._asked = options.stride or bundle.window.stride
        self._window = SlidingWindow(bundle, self._asked)
        self._narrator = ActionStream(bundle.labels, options.rule)
        self._job: Optional[_Job] = None
        self._newest: Optional[Frame] = None
        self._prediction: Optional[Predicted] = None  # the newest one of this scene
        self._predictions = 0
        self._missing: Tuple[str, ...] = ()
        self._stride = self._asked
        self._strides: Deque[int] = deque([self._asked], maxlen=_SETTLED)  # of the last predictions
        self._held = False  # whether a window was due while the engine was busy
        self._stale = False  # whether what the engine has belongs to a scene that is over
        self._silent = False  # whether the source is lost or stalled, and that was said

    def run(self) -> Iterator[StreamEvent]:
        """Yield the events until the source ends, or `stop` is set.

        Raises:
          EdgeError: if the source or a skeleton does not fit the bundle.
        """
        if self._source.live:
            self._recognizer.engine.run(self._window.empty())  # the first run is slow: not while frames come
        self._begun_s = time.perf_counter()
        frames = open_frames(self._source)
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        try:
            while not self._stop.is_set():
                frame = frames.take(_POLL_S)
                if frame is not None:
                    yield from self._look_at(frame)
                    if self._sampled and self._window.due:
                        self._submit(pool, frames.wake)
                if self._job is not None and (self._job.output.done() or not self._source.live):
                    yield from self._finish(frames.dropped)
                if frame is None and frames.ended:
                    break
                if frame is None:
                    yield from self._listen(frames.lost)
                elif self._on_frame is not None:
                    self._on_frame(Look(frame, self._window.joints, self._prediction, self._source.rate_hz))
            if self._job is not None:
                yield from self._finish(frames.dropped)
            yield from self._ended(self._narrator.reset())
            if self._predictions == 0 and self._newest is not None:
                window_s = self._recognizer.bundle.window.duration_s
                yield Notice(self._newest.time_s, "source", f"it ended before a window of {window_s:.1f} s was full")
        finally:
            frames.close()
            pool.shutdown()

    def _look_at(self, frame: Frame) -> Iterator[StreamEvent]:
        """Put a frame, and what goes with it, into the window."""
        if frame.image is not None:
            self._check(frame.image)
        if self._silent:
            yield Notice(frame.time_s, "source", "the source is back")
            self._silent = False
        if self._window.breaks(frame.time_s):
            yield from self._begin_anew()
        started = time.perf_counter()
        for modality, feed in self._feeds.items():
            for time_s, values in feed.read(frame):
                self._window.add_entry(modality, time_s, values)
        self._sampled = self._window.add(frame.time_s, frame.image)
        self._preprocess_ms = (time.perf_counter() - started) * 1000
        self._newest = frame

    def _check(self, image: np.ndarray) -> None:
        bundle = self._recognizer.bundle
        if bundle.video_modality is not None:
            check_frames([image], bundle.video_modality)

    def _begin_anew(self) -> Iterator[StreamEvent]:
        """Forget what was seen before a gap: it is no part of what is seen now."""
        self._window.reset()
        self._stale = self._job is not None
        self._prediction = None
        yield from self._ended(self._narrator.reset())

    def _submit(self, pool: ThreadPoolExecutor, wake: Callable[[], None]) -> None:
        """Give the newest window, which ends with the newest frame, to the engine if that is free."""
        if self._job is not None:
            self._held = True
            return
        assert self._newest is not None
        started = time.perf_counter()
        span = self._window.span
        inputs, missing, stride = self._window.take()
        preprocess_ms = self._preprocess_ms + (time.perf_counter() - started) * 1000
        output = pool.submit(_timed_run, self._recognizer.engine, inputs)
        self._job = _Job(self._newest, span, stride, missing, preprocess_ms, output)
        output.add_done_callback(lambda _: wake())

    def _finish(self, dropped_frames: int) -> Iterator[StreamEvent]:
        """Yield what follows from the output of the engine."""
        assert self._job is not None
        job, self._job = self._job, None
        output, inference_ms = job.output.result()
        if self._stale:
            self._stale = False
            return
        started = time.perf_counter()
        probabilities = self._recognizer.probabilities(output)
        decision = self._narrator.update(job.span[0], job.frame.time_s, probabilities)
        finished = time.perf_counter()
        total_ms = (finished - job.frame.captured_s) * 1000
        parts_ms = (job.frame.decode_ms, job.preprocess_ms, inference_ms, (finished - started) * 1000)
        self._prediction = Predicted(
            time_s=job.frame.time_s,
            start_s=job.span[0],
            stop_s=job.span[1],
            action=decision.action,
            confidence=decision.confidence,
            top5=self._recognizer.top5(decision.probabilities),
            window_top5=self._recognizer.top5(probabilities),
            latency=Latency(total_ms, *parts_ms, max(0.0, total_ms - sum(parts_ms))),
            dropped_frames=dropped_frames,
            stride=job.stride,
            missing=job.missing,
        )
        self._predictions += 1
        yield from self._notices(self._prediction)
        yield self._prediction
        yield from self._ended(decision.ended, decision.time_s)
        if decision.started:
            yield Started(decision.time_s, decision.action, decision.confidence)

    def _notices(self, prediction: Predicted) -> Iterator[Notice]:
        """Yield what has changed since the prediction before: the stride, what is missing."""
        self._strides.append(prediction.stride if self._held else self._asked)
        self._held = False
        widest = max(self._strides)
        if widest != self._stride:
            self._stride = widest
            text = f"the stride is {widest}"
            if widest > self._asked:
                text += f", not {self._asked}: the engine takes {prediction.latency.inference_ms:.0f} ms"
            yield Notice(prediction.time_s, "stride", text)
        if prediction.missing != self._missing:
            self._missing = prediction.missing
            text = f"without {', '.join(prediction.missing)}" if prediction.missing else "all modalities are there"
            yield Notice(prediction.time_s, "missing", text)

    def _listen(self, lost: bool) -> Iterator[StreamEvent]:
        """Say it if a live source gives no frames."""
        if self._silent or not self._source.live:
            return
        waited_s = time.perf_counter() - (self._begun_s if self._newest is None else self._newest.captured_s)
        if lost or waited_s > self._options.stall_s:
            self._silent = True
            time_s = None if self._newest is None else self._newest.time_s
            what = "is lost; it is tried again every second" if lost else f"gave no frame for {waited_s:.1f} s"
            yield Notice(time_s, "source", f"the source {what}")
            yield from self._begin_anew()

    def _ended(self, event: Optional[Event], time_s: Optional[float] = None) -> Iterator[Ended]:
        if event is not None:
            time_s = event.stop_s if time_s is None else time_s
            yield Ended(time_s, event.action, event.start_s, event.stop_s, event.confidence)


def _timed_run(engine: Any, inputs: Mapping[str, np.ndarray]) -> Tuple[np.ndarray, float]:
    started = time.perf_counter()
    output = engine.run(inputs)
    return output, (time.perf_counter() - started) * 1000
