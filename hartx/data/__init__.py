"""Prepared dataset -> batches."""

from hartx.data.clips import input_specs
from hartx.data.pipeline import Clip, eval_clips, training_batches, window_s
from hartx.data.source import Recordings, num_classes, open_recordings

__all__ = [
    "Clip",
    "Recordings",
    "eval_clips",
    "input_specs",
    "num_classes",
    "open_recordings",
    "training_batches",
    "window_s",
]
