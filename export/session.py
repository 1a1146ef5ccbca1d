"""Running exported models on this machine, by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime

_FATAL_ONLY = 4


class Session:
    """An ONNX model in ONNX Runtime.

    Its rewriting is off: what is judged here is the file itself. (It fuses Q/DQ with its neighbours into
    integer kernels, whose rounding and saturation differ from one processor to the next.)

    Attributes:
      batch: clips that the model takes at a time; None for any number. Where there are fewer, the last one is
        repeated.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = _FATAL_ONLY
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        first = self._session.get_inputs()[0].shape[0]
        self.batch = first if isinstance(first, int) else None

    def run(self, feeds: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> list[np.ndarray]:
        """Return the values of some outputs, of all of them by default, for inputs by name."""
        return self._session.run(outputs, {name: whole_batch(array, self.batch) for name, array in feeds.items()})

    def output(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the model's only output, logits or probabilities (N, classes), for any number of clips."""
        return in_batches(lambda part: self.run(part)[0], feeds, self.batch)


def whole_batch(array: np.ndarray, batch: int | None) -> np.ndarray:
    """Return an array whose last row is repeated until there are `batch` rows."""
    missing = 0 if batch is None else max(0, batch - len(array))
    return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing else array


def in_batches(
    compute: Callable[[Mapping[str, np.ndarray]], Any], feeds: Mapping[str, np.ndarray], batch: int | None
) -> np.ndarray:
    """Return what a function of whole batches gives for any number of rows."""
    count = len(next(iter(feeds.values())))
    step = batch or count
    parts = [
        np.asarray(compute({name: whole_batch(array[i : i + step], batch) for name, array in feeds.items()}))
        for i in range(0, count, step)
    ]
    return np.concatenate(parts)[:count]
