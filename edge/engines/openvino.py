"""OpenVINO: on the CPU, and on the GPU that is in an Intel processor.

By itself OpenVINO computes a model's float layers in whatever the processor is fastest in: bfloat16 on a CPU that has
it, float16 on a GPU. That is one engine here; float32 on every CPU is another one, so that which of the two computes
is said by name. int8 layers are int8 in both.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np

# OpenVINO tells its makers how it is used, from a child process. A device should not do so unasked, and JAX's threads
# do not survive the fork.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402  # it looks for the package above

try:
    from openvino import op
except ImportError:  # before 2025
    from openvino.runtime import op

from edge.engines import EngineOptions  # noqa: E402
from edge.engines.processor import sums_int8_exactly  # noqa: E402
from edge.errors import EdgeError  # noqa: E402


@functools.lru_cache(maxsize=1)
def the_core() -> openvino.Core:
    """Return OpenVINO's core, one for the process, which stays.

    Its CPU plugin gives the thread that loads it another stack for signals, and takes that away when the last core
    goes. If that is in another thread, the first one is left with a stack that is no more: the next Ctrl-C crashes it.
    """
    return openvino.Core()


class OpenVinoEngine:
    """A model in OpenVINO on the CPU; see `edge.engines.Engine` for the methods."""

    name = "openvino"
    device = "CPU"
    # Snippets are code that OpenVINO generates for runs of small operators. Its compiler crashes the process on
    # unrolled LSTMs of batch 1 (seen with 2026.4 on a CPU with AVX2).
    hints: Tuple[Tuple[str, str], ...] = (("SNIPPETS_MODE", "DISABLE"),)

    def __init__(self, model_path: Path, options: EngineOptions) -> None:
        settings: Dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", **dict(self.hints)}
        if options.num_threads is not None and self.device == "CPU":
            settings["INFERENCE_NUM_THREADS"] = options.num_threads
        if options.cpus is not None and self.device == "CPU":
            settings["ENABLE_CPU_PINNING"] = False  # the threads keep the CPUs that they were started on
        try:
            model = the_core().read_model(str(model_path))
            # Its kernels are chosen for shapes that are known.
            model.reshape({port: [1, *list(port.partial_shape)[1:]] for port in model.inputs})
            restore_weights(model)
            compiled = the_core().compile_model(model, self.device, settings)
        except Exception as error:  # RuntimeError mostly; its versions differ
            raise EdgeError(f"OpenVINO cannot load {model_path}: {_reason(error)}") from error
        if len(compiled.outputs) != 1:
            names = [output.any_name for output in compiled.outputs]
            raise EdgeError(f"{model_path} has the outputs {names}; one is expected")
        self._request = compiled.create_infer_request()

    @classmethod
    def lacks(cls, folder: Path) -> Optional[str]:
        if cls.device == "CPU":
            return None
        devices = the_core().available_devices
        if any(device.split(".")[0] == cls.device for device in devices):
            return None
        return f"OpenVINO finds no {cls.device} here, only {', '.join(devices) or 'nothing'}"

    @classmethod
    def doubts(cls, precision: str) -> Optional[str]:
        if not precision.startswith("int8") or cls.device != "CPU" or sums_int8_exactly():
            return None
        return "int8 sums may overflow in OpenVINO on a CPU without VNNI (avx512_vnni, avx_vnni)"

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        try:
            self._request.infer(dict(inputs), share_inputs=True)
        except Exception as error:
            raise EdgeError(f"OpenVINO cannot run the model: {_reason(error)}") from error
        # A copy: the next run overwrites it.
        return np.array(self._request.get_output_tensor(0).data, np.float32)


class OpenVinoF32Engine(OpenVinoEngine):
    """A model in OpenVINO on the CPU, its float layers in float32."""

    name = "openvino-f32"
    hints = (*OpenVinoEngine.hints, ("INFERENCE_PRECISION_HINT", "f32"))


class OpenVinoGpuEngine(OpenVinoEngine):
    """A model in OpenVINO on the GPU of an Intel processor."""

    name = "openvino-gpu"
    device = "GPU"
    hints = ()


def restore_weights(model: openvino.Model) -> None:
    """Compute the constants that products and LSTMs read, as ONNX Runtime does when it loads a model.

    Weights of what computes in float may be stored in int8. Left to restore them, OpenVINO 2024.4 multiplies by other
    numbers, 2026.4 rounds what is multiplied with them to int8 too, and refuses some LSTMs where no layer is int8.

    Args:
      model: changed in place.
    """
    constants = [node for node in model.get_ops() if node.get_type_name() == "Constant"]
    if all(node.get_element_type().to_dtype() != np.int8 for node in constants):
        return
    constant: Dict[str, bool] = {}

    def is_constant(node: Any) -> bool:
        name = node.get_name()
        if name not in constant:
            sources = [entry.get_source_output().get_node() for entry in node.inputs()]
            constant[name] = node.get_type_name() != "Parameter" and all(map(is_constant, sources))
        return constant[name]

    computed = [
        entry
        for node in model.get_ops()
        if node.get_type_name() in ("MatMul", "LSTMSequence")
        for entry in node.inputs()[1:]
        if entry.get_source_output().get_node().get_type_name() != "Constant"
        and is_constant(entry.get_source_output().get_node())
    ]
    if not computed:  # the int8 weights are those of convolutions
        return
    apart = openvino.Model([entry.get_source_output() for entry in computed], [], "weights")
    values = the_core().compile_model(apart, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})({})
    for index, entry in enumerate(computed):
        entry.replace_source_output(op.Constant(np.array(values[index])).output(0))


def _reason(error: Exception) -> str:
    """Return what an exception says, without the places in OpenVINO's source that come first."""
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and not line.startswith(("Exception from ", "Check '"))]
    return " ".join(said) or type(error).__name__
