"""ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping, Optional

import numpy as np
import onnxruntime

from edge.errors import EdgeError

# Its own messages would come on top of the exceptions, which say the same.
_FATAL_ONLY = 4


class OnnxRuntimeEngine:
    """A model in ONNX Runtime; see `edge.engines.Engine` for the methods."""

    name = "onnxruntime"

    def __init__(self, model_path: Path, threads: Optional[int] = None) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL_ONLY
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(str(model_path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common class below Exception
            raise EdgeError(f"ONNX Runtime cannot load {model_path}: {_first_line(error)}") from error
        outputs = [output.name for output in self._session.get_outputs()]
        if len(outputs) != 1:
            raise EdgeError(f"{model_path} has the outputs {outputs}; one is expected")

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        try:
            (output,) = self._session.run(None, dict(inputs))
        except Exception as error:
            raise EdgeError(f"ONNX Runtime cannot run the model: {_first_line(error)}") from error
        return output


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
