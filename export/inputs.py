"""The inputs of an exported model: names, layouts and shapes, and clips as arrays in that layout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.preprocess import VIDEO_MODALITIES
from export.errors import ExportError


@dataclass(frozen=True)
class ModelInput:
    """One input of an exported model.

    Attributes:
      name: "video", "skeleton" or "inertial".
      modality: "rgb", "depth", "skeleton" or "inertial".
      spec: preprocessing of the modality, from `edge.preprocess`.
    """

    name: str
    modality: str
    spec: Any

    @property
    def is_video(self) -> bool:
        """Whether the input is a video, five axes with the batch."""
        return self.modality in VIDEO_MODALITIES

    @property
    def layout(self) -> str:
        """Order of the axes: N batch, C channels, D and T time."""
        return "NCDHW" if self.is_video else "NTC"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape without the batch axis: (C, T, H, W) or (T, features)."""
        return np.empty(self.spec.shape, np.bool_).transpose(self.axes).shape

    @property
    def axes(self) -> tuple[int, ...]:
        """Axes of a clip of `edge.preprocess`, (T, H, W, C) or (T, features), in the model's order."""
        return (3, 0, 1, 2) if self.is_video else (0, 1)


def model_inputs(specs: Mapping[str, Any]) -> tuple[ModelInput, ...]:
    """Return the inputs of a model that reads the modalities of `specs`, in their order.

    Raises:
      ExportError: if there is more than one video: whoever runs a bundle has one camera picture to give.
    """
    videos = [modality for modality in specs if modality in VIDEO_MODALITIES]
    if len(videos) > 1:
        raise ExportError(
            f"the run reads {' and '.join(videos)}; a bundle takes at most one video\n"
            f"  Train with one of them: --config=configs/fusion.py:{videos[0]}"
        )
    return tuple(
        ModelInput("video" if modality in VIDEO_MODALITIES else modality, modality, spec)
        for modality, spec in specs.items()
    )


def to_feeds(inputs: tuple[ModelInput, ...], clips: Iterable[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return a batch of clips as the model's inputs.

    Args:
      inputs: what the model reads.
      clips: each modality to one clip as `edge.preprocess.prepare_clip` makes it, no batch axis.
    """
    clips = list(clips)
    return {
        entry.name: np.ascontiguousarray(
            np.stack([clip[entry.modality] for clip in clips]).transpose(0, *(1 + a for a in entry.axes))
        )
        for entry in inputs
    }
