"""The trained network's predictions for the windows of sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from rich.progress import track

from edge.preprocess import prepare_clip
from edge.streaming import window_spans
from hartx.calibration import read_temperature, with_temperature
from hartx.predictor import make_predictor
from hartx.run import Run
from hartx.streaming.sequence import ContinuousSequence
from hartx.train_step import split_model


@dataclass(frozen=True)
class Watched:
    """A sequence, its N windows (start and stop in seconds) and the probabilities of the K actions in each."""

    sequence: ContinuousSequence
    spans: Float[np.ndarray, "N 2"]
    probabilities: Float[np.ndarray, "N K"]


def watch(run: Run, sequences: Sequence[ContinuousSequence], window_s: float, hop_s: float) -> list[Watched]:
    """Return what the run's network sees in each sequence, as surely as the device says it.

    The windows are prepared as the device prepares them, and the run's fitted temperature is applied.
    """
    spans = [window_spans(sequence.duration_s, window_s, hop_s) for sequence in sequences]
    windows = [(sequence, span) for sequence, rows in zip(sequences, spans, strict=True) for span in rows]
    parts = np.split(_predict(run, windows), np.cumsum([len(rows) for rows in spans])[:-1])
    return [Watched(*row) for row in zip(sequences, spans, parts, strict=True)]


def _predict(run: Run, windows: Sequence[tuple[ContinuousSequence, np.ndarray]]) -> Float[np.ndarray, "N K"]:
    predictor = make_predictor(*split_model(run.model), run.config.batch_size)
    probabilities = []
    for first in track(range(0, len(windows), predictor.size), "watching"):
        batch = windows[first : first + predictor.size]
        clips = [prepare_clip(sequence.tracks, run.specs, (span[0], span[1])) for sequence, span in batch]
        probabilities += predictor(clips)
    whole = np.maximum(np.concatenate(probabilities), np.finfo(np.float32).tiny)
    return with_temperature(np.log(whole), read_temperature(run.workdir))
