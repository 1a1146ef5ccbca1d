"""Recordings -> batches (Grain): the same batches at every run, and after every resume."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grain
import jax
import numpy as np
from ml_collections import ConfigDict

from edge.sampling import common_span
from hartx.config import learns_joints
from hartx.data.clips import frame_period_s, input_specs, test_clips, training_clip
from hartx.data.source import Recording, Recordings, Selection
from hartx.errors import HartxError

_log = logging.getLogger(__name__)

# Clips are prepared by numpy and OpenCV, which let other threads run.
_THREADS = grain.ReadOptions(num_threads=4, prefetch_buffer_size=8)


@dataclass(frozen=True)
class Clip:
    """One clip at test: its recording, and inputs as float32 arrays without a batch axis."""

    name: str
    subject: int
    label: int
    inputs: dict[str, np.ndarray]


@dataclass(frozen=True)
class _TrainingClip(grain.transforms.RandomMap):
    config: ConfigDict

    def random_map(self, element: Recording, rng: np.random.Generator) -> dict[str, Any]:
        inputs = training_clip(element, self.config, input_specs(self.config), rng)
        return {"inputs": inputs, "label": np.int32(element.label), "name": element.name}


def training_batches(recordings: Recordings, config: ConfigDict, after: int = 0) -> grain.DatasetIterator:
    """Return an endless iterator over {"inputs": {stream: (B, ...)}, "label": (B,), "name": (B,)}.

    Every epoch is shuffled anew; each process gets its own share, and B is the batch of one process. Any batch can be
    begun with, whatever prepares them, so that the step is all that a checkpoint has to know.

    Args:
      recordings: what the clips are of.
      config: of the run.
      after: as many batches are passed over.

    Raises:
      HartxError: if joints are to be learnt and no training recording has a skeleton.
    """
    if learns_joints(config):
        _check_skeletons(recordings)
    selection = Selection(recordings.source, recordings.indices("train"))
    dataset = grain.MapDataset.source(selection).seed(config.seed).shuffle()
    dataset = dataset[jax.process_index() :: jax.process_count()].repeat()
    dataset = dataset.random_map(_TrainingClip(config))
    batches = dataset.batch(config.batch_size // jax.process_count())[after:].to_iter_dataset(_THREADS)
    if config.dataset.num_workers:
        batches = batches.mp_prefetch(grain.MultiprocessingOptions(config.dataset.num_workers), _start_worker)
    return iter(batches)


def _check_skeletons(recordings: Recordings) -> None:
    indices = recordings.indices("train")
    without = sum(recordings.source[index].skeleton is None for index in indices)
    if without == len(indices):
        raise HartxError(
            f"none of the {without} training recordings has a skeleton beside its depth, from which the joints are "
            f"learnt\n  Give these, or take the network that needs none: --config=configs/depth.py:video"
        )
    if without:
        _log.warning("%d of %d training recordings have no skeleton to learn joints from", without, len(indices))


def _start_worker(index: int, count: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the main one ends the others


def eval_clips(config: ConfigDict, side: str, recordings: Recordings) -> Iterator[Clip]:
    """Yield the `config.clip.views` clips of each recording of a side (train, validation, test), without draws."""
    specs = input_specs(config)

    def clips(recording: Recording) -> list[Clip]:
        return [
            Clip(recording.name, recording.subject, recording.label, inputs)
            for inputs in test_clips(recording, config, specs)
        ]

    selection = Selection(recordings.source, recordings.indices(side))
    for group in grain.MapDataset.source(selection).map(clips).to_iter_dataset(_THREADS):
        yield from group


def window_s(config: ConfigDict, recordings: Recordings) -> float:
    """Return the seconds that one clip of `num_frames` spans: what a window on the device has to cover.

    uniform: the median length of the training recordings. window: the first stride's window.

    Raises:
      HartxError: if there are no training recordings.
    """
    train = [recordings.source[i].tracks for i in recordings.indices("train")]
    if not train:
        raise HartxError("the length of a window is that of the training recordings, and none of them is there")
    if config.clip.sampling == "uniform":
        return float(np.median([common_span(tracks)[1] for tracks in train]))
    period_s = float(np.median([frame_period_s(tracks) for tracks in train]))
    return config.clip.num_frames * config.clip.strides[0] * period_s
