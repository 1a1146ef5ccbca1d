"""Programs that run a model file, behind one small interface.

An engine knows arrays and one model file. Windows, frames and labels live above it, in `edge.recognizer`; which engine
and which precision are taken is `edge.engines.choice`. A new engine is a module here and a line in `ENGINES`.

No third package is imported here, so that `edge.doctor` can say what to install where nothing is.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Optional, Protocol, Tuple

from edge.engines import cuda
from edge.errors import EdgeError

if TYPE_CHECKING:
    import numpy as np

CPU, NVIDIA_GPU, INTEL_GPU = "CPU", "NVIDIA GPU", "Intel GPU"


@dataclass(frozen=True)
class EngineOptions:
    """How an engine uses the machine.

    Attributes:
      threads: number of threads of one run; None: as many as `cpus`, or what the engine takes by itself (all cores).
      cpus: numbers of the CPUs that the engine's threads, and the one that loads it, are bound to; None: any.
        Threads that the engine's package has started in this process before keep theirs.
    """

    threads: Optional[int] = None
    cpus: Optional[Tuple[int, ...]] = None

    @property
    def num_threads(self) -> Optional[int]:
        """The number of threads to ask for; None leaves it to the engine."""
        return self.threads or (None if self.cpus is None else len(self.cpus))


class Engine(Protocol):
    """One loaded model. One thread at a time may call it."""

    name: str

    def __init__(self, model_path: Path, options: EngineOptions) -> None:
        """Load a model.

        Args:
          model_path: the model file; it has one output.
          options: threads and CPUs.

        Raises:
          EdgeError: if the engine refuses the file.
        """

    @classmethod
    def lacks(cls, folder: Path) -> Optional[str]:
        """Return what is missing, on the device or in the bundle, beyond the package; None if nothing is."""

    @classmethod
    def doubts(cls, precision: str) -> Optional[str]:
        """Return why a precision may be wrong on this device, which is then taken by name only; None if it is right."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the output, (1, K) float32, for inputs by name, (1, ...) float32.

        Raises:
          EdgeError: if the inputs do not fit the model.
        """


class TakingTurns:
    """An engine that several threads may call: one at a time. Waiting for it counts as its own time.

    Without it two streams, or a stream and a prediction, would get each other's answers.
    """

    def __init__(self, engine: Engine) -> None:
        self.name = engine.name
        self._engine = engine
        self._lock = threading.Lock()

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the output, as `Engine` does."""
        with self._lock:
            return self._engine.run(inputs)


@dataclass(frozen=True)
class EngineEntry:
    """How an engine is found, and what is best run on it.

    Attributes:
      name: what a user types.
      runs_on: `CPU`, `NVIDIA_GPU` or `INTEL_GPU`.
      package: the package it needs, as it is imported.
      install: what a user does to get it.
      module: the module here that holds it.
      attribute: the class in that module.
      precisions: the precisions it can run, the one preferred first.
      by_itself: those of them that it may be picked with by "auto", the one preferred first.
      tolerance: the most that a probability may differ from that of the same file in ONNX Runtime on the CPU.
      note: what is to be known of it, for people.
      model_file: the file in a bundle that it runs; None for the file of the precision.
    """

    name: str
    runs_on: str
    package: str
    install: str
    module: str
    attribute: str
    precisions: Tuple[str, ...]
    by_itself: Tuple[str, ...]
    tolerance: float
    note: str
    model_file: Optional[str] = None

    @property
    def engine_class(self) -> Any:
        """The class, after importing its package.

        Raises:
          EdgeError: if the package is there but cannot be imported.
        """
        try:
            return getattr(importlib.import_module(self.module), self.attribute)
        except (ImportError, OSError) as error:  # OSError: a shared library of the package is damaged
            raise EdgeError(
                f"engine {self.name!r}: the package {self.package} is there but cannot be imported: {error}\n"
                f"  Install it again: {self.install}"
            ) from error


_PIP_CUDA = "pip uninstall onnxruntime; pip install onnxruntime-gpu (on a Jetson the wheel that NVIDIA makes for it)"
_ALL = ("int8", "fp16", "fp32")
_OPENVINO_INT8 = "int8-openvino"  # int8 from the first layer on, for OpenVINO alone

# In the order in which "auto" tries them.
ENGINES = (
    EngineEntry(
        name="tensorrt",
        runs_on=NVIDIA_GPU,
        package="tensorrt",
        install="on a Jetson: sudo apt install nvidia-jetpack, and a virtual environment made by "
        "python3 -m venv --system-site-packages; elsewhere: pip install -r edge/requirements-tensorrt.txt",
        module="edge.engines.tensorrt",
        attribute="TensorRtEngine",
        precisions=_ALL,
        by_itself=_ALL,
        tolerance=0.02,
        note="the engine that python -m export.tensorrt has built on this device",
        model_file="engine",
    ),
    EngineEntry(
        name="onnxruntime-cuda",
        runs_on=NVIDIA_GPU,
        package="onnxruntime",
        install=_PIP_CUDA,
        module="edge.engines.onnxruntime",
        attribute="OnnxRuntimeCudaEngine",
        precisions=("fp16", "fp32", "int8"),
        by_itself=("fp16", "fp32"),
        tolerance=5e-3,
        note="its CUDA provider; it computes int8 models in float",
    ),
    EngineEntry(
        name="onnxruntime-tensorrt",
        runs_on=NVIDIA_GPU,
        package="onnxruntime",
        install=_PIP_CUDA,
        module="edge.engines.onnxruntime",
        attribute="OnnxRuntimeTensorRtEngine",
        precisions=_ALL,
        by_itself=(),  # each start builds an engine, which takes minutes
        tolerance=0.02,
        note="its TensorRT provider; each start builds an engine, which takes minutes, so it is taken by name only",
    ),
    EngineEntry(
        name="openvino",
        runs_on=CPU,
        package="openvino",
        install="pip install -r edge/requirements-openvino.txt",
        module="edge.engines.openvino",
        attribute="OpenVinoEngine",
        precisions=(_OPENVINO_INT8, *_ALL),
        by_itself=(_OPENVINO_INT8, "int8", "fp16"),
        tolerance=0.02,
        note="float layers in the precision that OpenVINO chooses: bfloat16 where the CPU has it",
    ),
    EngineEntry(
        name="openvino-f32",
        runs_on=CPU,
        package="openvino",
        install="pip install -r edge/requirements-openvino.txt",
        module="edge.engines.openvino",
        attribute="OpenVinoF32Engine",
        precisions=("fp32", _OPENVINO_INT8, "int8", "fp16"),
        by_itself=("fp32",),
        tolerance=1e-4,
        note="float layers in float32, whatever the CPU has",
    ),
    EngineEntry(
        name="onnxruntime",
        runs_on=CPU,
        package="onnxruntime",
        install="pip install onnxruntime",
        module="edge.engines.onnxruntime",
        attribute="OnnxRuntimeEngine",
        # fp32 first: it has no fast kernels for 3D convolutions in int8 and none at all for float16, both are float32.
        precisions=("fp32", "int8", "fp16"),
        by_itself=("fp32", "int8", "fp16"),
        tolerance=0.0,
        note="what the others are compared with; int8 is smaller on it, not faster",
    ),
    EngineEntry(
        name="openvino-gpu",
        runs_on=INTEL_GPU,
        package="openvino",
        install="pip install -r edge/requirements-openvino.txt, and Intel's OpenCL driver (package intel-opencl-icd)",
        module="edge.engines.openvino",
        attribute="OpenVinoGpuEngine",
        precisions=(_OPENVINO_INT8, *_ALL),
        by_itself=(),  # against the CPU beside it, either may be faster: measure with edge/bench.py --compare
        tolerance=0.02,
        note="the GPU in an Intel processor, in float16; it may be slower than its CPU, so it is taken by name only",
    ),
)


def what_device_lacks(entry: EngineEntry) -> Optional[str]:
    """Return whether the package or the driver that an engine needs is missing; None if neither is."""
    if importlib.util.find_spec(entry.package) is None:
        return f"the package {entry.package} is not installed"
    if entry.runs_on == NVIDIA_GPU and not cuda.has_driver():
        return f"there is no NVIDIA driver here ({cuda.LIBRARY})"
    return None


def load_engine(entry: EngineEntry, model_path: Path, options: EngineOptions) -> Engine:
    """Return a model loaded by an engine, on the threads and CPUs that the options say.

    Raises:
      EdgeError: if the engine's package cannot be imported or refuses the file, or the options cannot be had.
    """
    if options.threads is not None and options.threads < 1:
        raise EdgeError(f"threads={options.threads} was given; at least 1 is expected")
    if options.cpus is not None:
        _bind(options.cpus)
    engine: Engine = entry.engine_class(model_path, options)
    return engine


def _bind(cpus: Tuple[int, ...]) -> None:
    """Bind this thread, and with it those that it will start, to some CPUs."""
    if not hasattr(os, "sched_setaffinity"):
        raise EdgeError(f"cpus={cpus} was given; this system cannot bind threads to CPUs (Linux can)")
    there = os.sched_getaffinity(0)
    if not cpus or not set(cpus) <= there:
        raise EdgeError(f"cpus={cpus} was given; some of {', '.join(map(str, sorted(there)))} are expected")
    os.sched_setaffinity(0, cpus)
