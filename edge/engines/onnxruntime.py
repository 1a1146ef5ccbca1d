"""ONNX Runtime: on the CPU, and on an NVIDIA GPU through its CUDA and TensorRT providers."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping, Optional, Tuple

import numpy as np
import onnxruntime

from edge.engines import EngineOptions
from edge.errors import EdgeError

# Its own messages would come on top of the exceptions, which say the same.
_FATAL_ONLY = 4
_CPU = "CPUExecutionProvider"
# It blocks channels of 2D convolutions, which gains nothing in our networks; in 1.32 it crashes (SIGSEGV) on float16
# models, for which a Transpose in front of a MatMul is enough.
_WITHOUT = ["NchwcTransformer"]


class OnnxRuntimeEngine:
    """A model in ONNX Runtime on the CPU; see `edge.engines.Engine` for the methods."""

    name = "onnxruntime"
    # The first is the one that the engine is for; the others take the nodes that it cannot run.
    providers: Tuple[str, ...] = (_CPU,)
    # Of int8 models it would fuse what it has no fast kernels for (3D convolutions) and restore weights anew for each
    # reader. Without, weights are restored once, when the model is loaded, and it computes in float, exactly.
    config_entries: Tuple[Tuple[str, str], ...] = (("session.disable_quant_qdq", "1"),)

    def __init__(self, model_path: Path, options: EngineOptions) -> None:
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = _FATAL_ONLY
        # Its threads spin while they wait for the next run. Between the windows of a stream that is the camera's time.
        settings.add_session_config_entry("session.force_spinning_stop", "1")
        for key, value in self.config_entries:
            settings.add_session_config_entry(key, value)
        if options.num_threads is not None:
            settings.intra_op_num_threads = options.num_threads
        try:
            self._session = onnxruntime.InferenceSession(
                str(model_path), settings, providers=list(self.providers), disabled_optimizers=_WITHOUT
            )
        except Exception as error:  # its exceptions have no common class below Exception
            raise EdgeError(f"ONNX Runtime cannot load {model_path}: {_first_line(error)}") from error
        if self.providers[0] not in self._session.get_providers():
            raise EdgeError(
                f"engine {self.name!r}: {self.providers[0]} could not be started; ONNX Runtime went on without it\n"
                f"  Its CUDA, cuDNN or TensorRT does not fit this device. On the CPU: --engine=onnxruntime"
            )
        outputs = [output.name for output in self._session.get_outputs()]
        if len(outputs) != 1:
            raise EdgeError(f"{model_path} has the outputs {outputs}; one is expected")

    @classmethod
    def lacks(cls, folder: Path) -> Optional[str]:
        if cls.providers[0] in onnxruntime.get_available_providers():
            return None
        return f"the installed onnxruntime was built without {cls.providers[0]}"

    @classmethod
    def doubts(cls, precision: str) -> Optional[str]:
        return None

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        try:
            (output,) = self._session.run(None, dict(inputs))
        except Exception as error:
            raise EdgeError(f"ONNX Runtime cannot run the model: {_first_line(error)}") from error
        return output


class OnnxRuntimeCudaEngine(OnnxRuntimeEngine):
    """A model in ONNX Runtime on an NVIDIA GPU, by CUDA."""

    name = "onnxruntime-cuda"
    providers = ("CUDAExecutionProvider", _CPU)


class OnnxRuntimeTensorRtEngine(OnnxRuntimeEngine):
    """A model in ONNX Runtime on an NVIDIA GPU, by a TensorRT engine that it builds when it is loaded."""

    name = "onnxruntime-tensorrt"
    config_entries = ()  # TensorRT takes the quantisation as it stands
    providers = ("TensorrtExecutionProvider", "CUDAExecutionProvider", _CPU)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
