"""Running exported models on this machine, by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime

_FATAL_ONLY = 4


class Session:
    """An ONNX model in ONNX Runtime.

    Its rewriting is off: what is judged here is the file itself. (It fuses Q/DQ with its neighbours into
    integer kernels, whose rounding and saturation differ from one processor to the next.)
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = _FATAL_ONLY
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def run(self, feeds: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> list[np.ndarray]:
        """Return the values of some outputs, of all of them by default, for inputs by name."""
        return self._session.run(outputs, dict(feeds))

    def logits(self, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the model's only output, (N, classes)."""
        (logits,) = self.run(feeds)
        return logits
