"""From frames, skeletons and inertial samples to a named action."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, Mapping, Optional, Tuple, Union

import numpy as np

from edge.bundle import Bundle, read_bundle
from edge.checks import check_entries, check_track
from edge.engines import Engine, EngineOptions, TakingTurns, load_engine
from edge.engines.choice import choose
from edge.errors import EdgeError
from edge.preprocess import prepare_clip
from edge.sampling import Entries, Track, regular_track

if TYPE_CHECKING:
    from edge.events import StreamEvent
    from edge.runtime import OnFrame, StreamOptions

# One modality of a recording: its entries, or these with their times.
Given = Union[Entries, Track]
_MEANING = {"video": "frames were", "skeleton": "a skeleton was", "inertial": "inertial samples were"}


@dataclass(frozen=True)
class Score:
    """An action and its probability in [0, 1]."""

    action: str
    confidence: float


@dataclass(frozen=True)
class Prediction:
    """What the network takes a recording for.

    Attributes:
      action: the most probable action.
      confidence: its probability in [0, 1].
      top5: the five most probable actions (all of them if there are fewer), the most probable first.
      latency_ms: from the call of `predict` to its result; the sum of the next two and of the softmax.
      preprocess_ms: time for making the network's inputs; frames that are read lazily are decoded in it.
      inference_ms: time in the engine.
      missing: the modalities that were not given and went in as zeros.
    """

    action: str
    confidence: float
    top5: Tuple[Score, ...]
    latency_ms: float
    preprocess_ms: float
    inference_ms: float
    missing: Tuple[str, ...]


class ActionRecognizer:
    """A bundle loaded into an engine.

    Attributes:
      bundle: what the bundle says.
      engine: the engine with the model in it. Several threads may use a recogniser; they take turns with this.
      precision: the precision that was picked.
      why: how engine and precision were picked, for people; empty if they were not.
    """

    def __init__(self, bundle: Bundle, engine: Engine, precision: str, why: str = "") -> None:
        self.bundle = bundle
        self.engine = TakingTurns(engine)
        self.precision = precision
        self.why = why

    @classmethod
    def from_bundle(
        cls,
        path: Union[str, Path],
        engine: str = "auto",
        precision: str = "auto",
        threads: Optional[int] = None,
        *,
        cpus: Optional[Tuple[int, ...]] = None,
        warmup: int = 1,
    ) -> ActionRecognizer:
        """Return a recogniser for a bundle.

        Args:
          path: the bundle's folder.
          engine: one of `edge.engines.ENGINES` by name; "auto" takes the first one that works here.
          precision: one that the bundle has; "auto" takes the one the engine runs best. Which were taken, and why,
            is in `why`, and goes to the log "edge".
          threads: number of threads of one inference; None: as many as `cpus`, or the engine's own choice.
          cpus: numbers of the CPUs that the calling thread and the engine's are bound to; None: any.
          warmup: runs on zeros before this returns, so that the first prediction is as quick as the others.

        Raises:
          EdgeError: if the bundle is damaged, or engine or precision cannot be had.
        """
        bundle = read_bundle(path)
        if bundle.batch not in (None, 1):
            raise EdgeError(
                f"{path} takes {bundle.batch} clips at a time; one clip at a time is what is recognised here\n"
                f"  Export it for that: python -m export --workdir=RUN --bundle={path} --batch=1"
            )
        choice = choose(bundle, engine, precision)
        loaded = load_engine(choice.entry, choice.model_path, EngineOptions(threads, cpus))
        for _ in range(warmup):
            loaded.run({entry.name: np.zeros((1, *entry.shape), np.float32) for entry in bundle.inputs})
        return cls(bundle, loaded, choice.precision, choice.why)

    def predict(
        self,
        frames: Optional[Given] = None,
        skeleton: Optional[Given] = None,
        inertial: Optional[Given] = None,
        *,
        frame_rate_hz: Optional[float] = None,
        skeleton_rate_hz: Optional[float] = None,
        inertial_rate_hz: Optional[float] = None,
        span: Optional[Tuple[float, float]] = None,
    ) -> Prediction:
        """Return the action that a recording shows, the whole of it or a span.

        The clip is spread evenly over the recording, whatever its length. Modalities whose rates are given
        are aligned by time and read where all of them have data; one without a rate is taken to cover the
        same time as the others. What comes as a `Track` has a time for each entry instead.

        Args:
          frames: T frames of the bundle's video modality: (H, W, 3) uint8 RGB, or (H, W) uint16 depth in
            millimetres with background 0. An array or any sequence; None if there is none.
          skeleton: (T, 20, 3) or (T, 25, 3) joints in metres, in an order of `edge.joints`; None if there
            is none.
          inertial: (N, 6) samples of a sensor on the right wrist or thigh: acceleration x y z in g with
            gravity in it, angular velocity x y z in degrees/s; None if there are none.
          frame_rate_hz: frames per second.
          skeleton_rate_hz: skeletons per second.
          inertial_rate_hz: samples per second.
          span: start and stop in seconds of what is read; all that all modalities cover if not given. Frames are the
            last ones at or before each instant of it, where a stream takes the first ones at or after it.

        Raises:
          EdgeError: if the arrays do not fit, or nothing was given.
        """
        start = time.perf_counter()
        inputs, missing = self.prepare(
            frames,
            skeleton,
            inertial,
            frame_rate_hz=frame_rate_hz,
            skeleton_rate_hz=skeleton_rate_hz,
            inertial_rate_hz=inertial_rate_hz,
            span=span,
        )
        prepared = time.perf_counter()
        output = self.engine.run(inputs)
        inferred = time.perf_counter()
        top5 = self.top5(self.probabilities(output))
        return Prediction(
            action=top5[0].action,
            confidence=top5[0].confidence,
            top5=top5,
            latency_ms=(time.perf_counter() - start) * 1000,
            preprocess_ms=(prepared - start) * 1000,
            inference_ms=(inferred - prepared) * 1000,
            missing=missing,
        )

    def stream(
        self,
        source: Any,
        skeleton: Any = None,
        inertial: Any = None,
        *,
        frame_rate_hz: Optional[float] = None,
        skeleton_rate_hz: Optional[float] = None,
        inertial_rate_hz: Optional[float] = None,
        real_time: bool = False,
        options: Optional[StreamOptions] = None,
        on_frame: Optional[OnFrame] = None,
        stop: Optional[threading.Event] = None,
    ) -> Iterator[StreamEvent]:
        """Yield what is seen in a stream: one of `edge.events` after the other.

        Args:
          source: number of a camera, address of a network stream ("rtsp://..."), a file, frames as `predict` takes
            them, or a `edge.sources.Source` of your own; None if the bundle reads no video.
          skeleton: a file, an array (T, 20 or 25, 3) in metres, a `Track`, a function that is called with each frame
            and its time in seconds and returns joints (20 or 25, 3) or None, or an `edge.feeds.Feed`.
          inertial: a file, an array (N, 6), a `Track` or a feed.
          frame_rate_hz: of frames, or of a file in place of its own.
          skeleton_rate_hz: likewise. Without it, skeletons are spread over the duration of the source.
          inertial_rate_hz: likewise.
          real_time: play a recording at its own rate, as if it came from a camera; otherwise every frame is looked
            at, as fast as it goes, and nothing is dropped. Cameras always are in real time.
          options: stride, smoothing, thresholds.
          on_frame: called with an `edge.runtime.Look` for each frame that is looked at.
          stop: ends the stream when it is set.

        Raises:
          EdgeError: if source, skeleton or samples cannot be had or do not fit the bundle.
        """
        from edge.opening import open_stream  # it imports this module
        from edge.runtime import StreamOptions

        rates_hz = {"video": frame_rate_hz, "skeleton": skeleton_rate_hz, "inertial": inertial_rate_hz}
        options = options or StreamOptions()
        return open_stream(self, source, skeleton, inertial, rates_hz, real_time, options, on_frame, stop).run()

    def prepare(
        self,
        frames: Optional[Given] = None,
        skeleton: Optional[Given] = None,
        inertial: Optional[Given] = None,
        *,
        frame_rate_hz: Optional[float] = None,
        skeleton_rate_hz: Optional[float] = None,
        inertial_rate_hz: Optional[float] = None,
        span: Optional[Tuple[float, float]] = None,
    ) -> Tuple[Dict[str, np.ndarray], Tuple[str, ...]]:
        """Return the network's inputs by name, each with a batch axis of 1, and the missing modalities.

        Arguments and errors are those of `predict`.
        """
        given = self._check({"video": frames, "skeleton": skeleton, "inertial": inertial})
        rates = {
            self.bundle.video_modality: frame_rate_hz,
            "skeleton": skeleton_rate_hz,
            "inertial": inertial_rate_hz,
        }
        tracks, stop_s = _tracks(given, {modality: rates[modality] for modality in given})
        try:
            clip = prepare_clip(tracks, self.bundle.specs, span=_checked_span(span, stop_s))
        except ValueError as error:
            raise EdgeError(str(error)) from error
        inputs = {}
        for entry in self.bundle.inputs:
            array = clip[entry.modality]
            if entry.layout == "NCDHW":
                array = array.transpose(3, 0, 1, 2)
            inputs[entry.name] = np.ascontiguousarray(array[None])
        return inputs, tuple(modality for modality in self.bundle.specs if modality not in given)

    def _check(self, values: Mapping[str, Optional[Given]]) -> Dict[str, Given]:
        """Return the modalities that were given, as the bundle names them."""
        bundle = self.bundle
        given: Dict[str, Given] = {}
        for name, value in values.items():
            if value is None:
                continue
            modality = bundle.video_modality if name == "video" else name
            if modality not in bundle.specs:
                raise EdgeError(f"{_MEANING[name]} given; this bundle reads {bundle.reads}")
            check: Any = check_track if isinstance(value, Track) else check_entries
            given[modality] = check(modality, value)
        if not given:
            raise EdgeError(f"nothing was given; this bundle reads {bundle.reads}")
        return given

    def probabilities(self, output: np.ndarray) -> np.ndarray:
        """Return the probabilities (K,) of the actions from what the network gave, (1, K).

        Raises:
          EdgeError: if that has another shape or is not finite.
        """
        labels = self.bundle.labels
        if output.shape != (1, len(labels)) or not np.isfinite(output).all():
            raise EdgeError(
                f"the model gave {_in_words(output)}; {len(labels)} finite numbers are expected, one for each label\n"
                f"  Try another precision, or export the bundle again"
            )
        tempered = self.bundle.output == "probabilities"
        return output[0] if tempered else softmax(output[0] / self.bundle.temperature)

    def top5(self, probabilities: np.ndarray) -> Tuple[Score, ...]:
        """Return the five most probable actions of (K,) probabilities, the most probable first."""
        best = np.argsort(-probabilities, kind="stable")[:5]
        return tuple(Score(self.bundle.labels[i], float(probabilities[i])) for i in best)


def _in_words(output: np.ndarray) -> str:
    finite = "" if np.isfinite(output).all() else ", not all finite"
    return f"{' x '.join(map(str, output.shape))} numbers{finite}"


def _checked_span(span: Optional[Tuple[float, float]], stop_s: float) -> Tuple[float, float]:
    """Return the span in seconds that is read, at least a part of it in the recording; the whole of that for None."""
    if span is None:
        return 0.0, stop_s
    try:
        start, stop = map(float, span)
    except (TypeError, ValueError):
        raise EdgeError(f"a span of {span!r} was given; (start, stop) in seconds is expected") from None
    if not (math.isfinite(start) and math.isfinite(stop) and start < min(stop, stop_s) and stop > 0):
        raise EdgeError(f"a span of {start:g} to {stop:g} s was given; a part of 0 to {stop_s:g} s is expected")
    return start, stop


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities, of the shape of the logits, along the last axis."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def _tracks(given: Mapping[str, Given], rates_hz: Mapping[str, Optional[float]]) -> Tuple[Dict[str, Track], float]:
    """Return the tracks and the seconds that all of them cover.

    A modality whose rate is not known is spread over the time that the others cover; over one second, which
    stands for any time, if no rate is known.
    """
    tracks = {modality: value for modality, value in given.items() if isinstance(value, Track)}
    arrays = {modality: value for modality, value in given.items() if not isinstance(value, Track)}
    rates = {modality: rates_hz[modality] for modality in arrays}
    for rate_hz in rates.values():
        if rate_hz is not None and not (rate_hz > 0 and math.isfinite(rate_hz)):
            raise EdgeError(f"a rate of {rate_hz} Hz was given; more than 0 is expected")
    durations_s = [track.duration_s for track in tracks.values()]
    durations_s += [len(arrays[modality]) / rate_hz for modality, rate_hz in rates.items() if rate_hz is not None]
    stop_s = min(durations_s, default=1.0)
    for modality, values in arrays.items():
        tracks[modality] = regular_track(values, rates[modality] or len(values) / stop_s)
    return tracks, stop_s
