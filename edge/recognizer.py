"""From frames, skeletons and inertial samples to a named action."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Mapping, Optional, Tuple, Union

import numpy as np

from edge.bundle import Bundle, read_bundle
from edge.engines import Engine, EngineOptions, load_engine
from edge.engines.choice import choose
from edge.errors import EdgeError
from edge.preprocess import prepare_clip
from edge.sampling import Entries, Track, regular_track

# Gravity is in what an accelerometer measures, so the middle of its values lies near 1 g whatever a person does
# (0.96 to 1.21 over UTD-MHAD). Far from it the values are in m/s2, or gravity was taken out.
_GRAVITY_G = (0.25, 4.0)
_FRAME_FORM = {"rgb": "(H, W, 3) uint8 in RGB order", "depth": "(H, W) uint16 in millimetres"}


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
      engine: the engine with the model in it.
      precision: the precision that was picked.
    """

    def __init__(self, bundle: Bundle, engine: Engine, precision: str) -> None:
        self.bundle = bundle
        self.engine = engine
        self.precision = precision

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
            goes to the log "edge".
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
        return cls(bundle, loaded, choice.precision)

    def predict(
        self,
        frames: Optional[Entries] = None,
        skeleton: Optional[Entries] = None,
        inertial: Optional[Entries] = None,
        *,
        frame_rate_hz: Optional[float] = None,
        skeleton_rate_hz: Optional[float] = None,
        inertial_rate_hz: Optional[float] = None,
    ) -> Prediction:
        """Return the action that a whole recording shows.

        The clip is spread evenly over the recording, whatever its length. Modalities whose rates are given
        are aligned by time and read where all of them have data; one without a rate is taken to cover the
        same time as the others.

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
        )
        prepared = time.perf_counter()
        output = self.engine.run(inputs)
        inferred = time.perf_counter()
        top5 = self._top5(output)
        return Prediction(
            action=top5[0].action,
            confidence=top5[0].confidence,
            top5=top5,
            latency_ms=(time.perf_counter() - start) * 1000,
            preprocess_ms=(prepared - start) * 1000,
            inference_ms=(inferred - prepared) * 1000,
            missing=missing,
        )

    def prepare(
        self,
        frames: Optional[Entries] = None,
        skeleton: Optional[Entries] = None,
        inertial: Optional[Entries] = None,
        *,
        frame_rate_hz: Optional[float] = None,
        skeleton_rate_hz: Optional[float] = None,
        inertial_rate_hz: Optional[float] = None,
    ) -> Tuple[Dict[str, np.ndarray], Tuple[str, ...]]:
        """Return the network's inputs by name, each with a batch axis of 1, and the missing modalities.

        Arguments and errors are those of `predict`.
        """
        given = self._check(frames, skeleton, inertial)
        rates = {
            self.bundle.video_modality: frame_rate_hz,
            "skeleton": skeleton_rate_hz,
            "inertial": inertial_rate_hz,
        }
        tracks, stop_s = _tracks(given, {modality: rates[modality] for modality in given})
        try:
            clip = prepare_clip(tracks, self.bundle.specs, span=(0.0, stop_s))
        except ValueError as error:
            raise EdgeError(str(error)) from error
        inputs = {}
        for entry in self.bundle.inputs:
            array = clip[entry.modality]
            if entry.layout == "NCDHW":
                array = array.transpose(3, 0, 1, 2)
            inputs[entry.name] = np.ascontiguousarray(array[None])
        return inputs, tuple(modality for modality in self.bundle.specs if modality not in given)

    def _check(
        self, frames: Optional[Entries], skeleton: Optional[Entries], inertial: Optional[Entries]
    ) -> Dict[str, Entries]:
        """Return the modalities that were given, as the bundle names them."""
        video, reads = self.bundle.video_modality, self.bundle.reads
        given: Dict[str, Entries] = {}
        if frames is not None:
            if video is None:
                raise EdgeError(f"frames were given; this bundle reads {reads}")
            _check_frames(frames, video)
            given[video] = frames
        if skeleton is not None:
            if "skeleton" not in self.bundle.specs:
                raise EdgeError(f"a skeleton was given; this bundle reads {reads}")
            given["skeleton"] = _check_skeleton(skeleton)
        if inertial is not None:
            if "inertial" not in self.bundle.specs:
                raise EdgeError(f"inertial samples were given; this bundle reads {reads}")
            given["inertial"] = _check_inertial(inertial)
        if not given:
            raise EdgeError(f"nothing was given; this bundle reads {reads}")
        return given

    def _top5(self, output: np.ndarray) -> Tuple[Score, ...]:
        labels = self.bundle.labels
        if output.shape != (1, len(labels)) or not np.isfinite(output).all():
            raise EdgeError(
                f"the model gave {output!r}; {len(labels)} finite numbers are expected\n"
                f"  Try another precision, or export the bundle again"
            )
        tempered = self.bundle.output == "probabilities"
        scores = output[0] if tempered else softmax(output[0] / self.bundle.temperature)
        best = np.argsort(-scores, kind="stable")[:5]
        return tuple(Score(labels[i], float(scores[i])) for i in best)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities, of the shape of the logits, along the last axis."""
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def _tracks(given: Mapping[str, Entries], rates_hz: Mapping[str, Optional[float]]) -> Tuple[Dict[str, Track], float]:
    """Return the tracks and the seconds that all of them cover.

    A modality whose rate is not known is spread over the time that the others cover; over one second, which
    stands for any time, if no rate is known.
    """
    rates = {modality: rate_hz for modality, rate_hz in rates_hz.items() if rate_hz is not None}
    for rate_hz in rates.values():
        if not (rate_hz > 0 and math.isfinite(rate_hz)):
            raise EdgeError(f"a rate of {rate_hz} Hz was given; more than 0 is expected")
    stop_s = min((len(given[modality]) / rate_hz for modality, rate_hz in rates.items()), default=1.0)
    tracks = {
        modality: regular_track(values, rates.get(modality, len(values) / stop_s)) for modality, values in given.items()
    }
    return tracks, stop_s


def _check_frames(frames: Entries, modality: str) -> None:
    if len(frames) == 0:
        raise EdgeError("0 frames were given; at least 1 is expected, or None for a missing video")
    # An array is uniform, and a sequence that decodes lazily is our own; only lists can hold anything.
    for index in range(len(frames) if isinstance(frames, (list, tuple)) else 1):
        frame = frames[index]
        shape: Tuple[int, ...] = getattr(frame, "shape", ())
        dtype = getattr(frame, "dtype", None)
        if modality == "rgb":
            fits = dtype == np.uint8 and len(shape) == 3 and shape[2] == 3
        else:
            fits = dtype == np.uint16 and len(shape) == 2 and shape == frames[0].shape
        if not fits or 0 in shape:
            raise EdgeError(
                f"frame {index} is {type(frame).__name__} {shape} {dtype}; "
                f"{_FRAME_FORM[modality]} is expected, as this bundle reads {modality}"
            )


def _check_skeleton(skeleton: Entries) -> np.ndarray:
    try:
        joints = np.asarray(skeleton, np.float32)
    except (TypeError, ValueError) as error:
        raise EdgeError(f"the skeleton is not an array of numbers: {error}") from None
    if joints.ndim != 3 or joints.shape[1:] not in ((20, 3), (25, 3)) or len(joints) == 0:
        raise EdgeError(
            f"a skeleton of shape {joints.shape} was given; (T, 20, 3) or (T, 25, 3) is expected, or None "
            f"for a missing skeleton"
        )
    if not np.isfinite(joints).all():
        frame = int(np.argwhere(~np.isfinite(joints))[0, 0])
        raise EdgeError(f"the skeleton has a joint that is not finite, first in frame {frame}")
    return joints


def _check_inertial(inertial: Entries) -> np.ndarray:
    try:
        samples = np.asarray(inertial, np.float32)
    except (TypeError, ValueError) as error:
        raise EdgeError(f"the inertial samples are not an array of numbers: {error}") from None
    if samples.ndim != 2 or samples.shape[1] != 6 or len(samples) == 0:
        raise EdgeError(
            f"inertial samples of shape {samples.shape} were given; (N, 6) is expected (acceleration x y z in g, "
            f"angular velocity x y z in degrees/s), or None for a missing sensor"
        )
    if not np.isfinite(samples).all():
        first = int(np.argwhere(~np.isfinite(samples))[0, 0])
        raise EdgeError(f"the inertial samples have a value that is not finite, first in sample {first}")
    gravity_g = float(np.median(np.linalg.norm(samples[:, :3], axis=1)))
    if not _GRAVITY_G[0] <= gravity_g <= _GRAVITY_G[1]:
        raise EdgeError(
            f"the inertial samples have accelerations of {gravity_g:.2f} in the median; about 1 is expected\n"
            f"  Give them in g (m/s2 divided by 9.81) and with gravity in them"
        )
    return samples
