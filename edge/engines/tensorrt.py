"""TensorRT on an NVIDIA GPU: the engine that `python -m export.tensorrt` has built on this device.

Releases 8.5 to 11, whose interface for running is one: named tensors and `execute_async_v3`. Variables are named after
TensorRT's classes (engine, context, ...); the test of the names we use relies on it.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np

from edge.engines import EngineOptions
from edge.engines.cuda import Cuda
from edge.engines.engine_record import read_record, read_unchecked
from edge.errors import EdgeError

# By the names of TensorRT's own types. Its `nptype` fails in 8.5 and 8.6 with numpy 1.24, which removed `np.bool`.
_DTYPES: Dict[str, Any] = {"FLOAT": np.float32, "HALF": np.float16}


class TensorRtEngine:
    """A bundle's engine in TensorRT; see `edge.engines.Engine` for the methods."""

    name = "tensorrt"

    def __init__(self, model_path: Path, options: EngineOptions) -> None:
        trt = importlib.import_module("tensorrt")
        cuda = Cuda()
        read_record(model_path.parent, trt.__version__, cuda.gpu)
        self._runner = Runner(trt, make_logger(trt), cuda, model_path.read_bytes())

    @classmethod
    def lacks(cls, folder: Path) -> Optional[str]:
        try:
            trt = importlib.import_module("tensorrt")
            read_unchecked(folder)  # before the GPU is looked for: this is what most bundles lack
            read_record(folder, trt.__version__, Cuda().gpu)
        except (ImportError, EdgeError) as error:
            return str(error)
        return None

    @classmethod
    def doubts(cls, precision: str) -> Optional[str]:
        return None

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        return self._runner.run(inputs)


@lru_cache(maxsize=1)  # TensorRT keeps a pointer to the first one of a process, and does not keep it alive
def make_logger(trt: Any) -> Any:
    """Return a logger that keeps TensorRT's errors, in `errors`, for our own messages; there is one a process."""

    class Errors(trt.ILogger):  # type: ignore[misc]  # known on the device only
        """Collects errors and drops the rest."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # its C++ half wants this very call
            self.errors: List[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message.strip())

    return Errors()


class Runner:
    """A loaded engine with one output. `close` gives its memory back."""

    def __init__(self, trt: Any, logger: Any, cuda: Cuda, serialized: bytes) -> None:
        """Load an engine.

        Args:
          trt: the tensorrt module.
          logger: from `make_logger`.
          cuda: the GPU.
          serialized: the engine.

        Raises:
          EdgeError: if TensorRT refuses it, or there is not enough memory.
        """
        logger.errors.clear()
        self._cuda = cuda
        self._buffers: Dict[str, Tuple[int, int]] = {}
        self._runtime = trt.Runtime(logger)
        engine: Any = self._runtime.deserialize_cuda_engine(serialized)
        context: Any = None if engine is None else engine.create_execution_context()
        if engine is None or context is None:
            said = "; ".join(logger.errors[:3]) or "it does not say why"
            raise EdgeError(
                f"TensorRT cannot load the engine: {said}\n  Build it again on this device, with memory free"
            )
        self._engine, self._context = engine, context
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self._inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        (self._output,) = [name for name in names if name not in self._inputs]
        self._dtypes = {name: _DTYPES[engine.get_tensor_dtype(name).name] for name in names}

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the output, (B, ...) float32, for inputs by name, (B, ...) float32.

        Raises:
          EdgeError: if the inputs do not fit the engine, or the GPU fails.
        """
        self._cuda.use_here()
        context = self._context
        arrays = {name: np.ascontiguousarray(inputs[name], self._dtypes[name]) for name in self._inputs}
        for name, array in arrays.items():  # they must live until the stream has read them
            if not context.set_input_shape(name, array.shape):
                raise EdgeError(
                    f"the engine takes no {name} of shape {array.shape}\n  Build it with another --max_batch"
                )
            self._cuda.to_gpu(self._place(name, array.nbytes), array)
        output = np.empty(tuple(context.get_tensor_shape(self._output)), self._dtypes[self._output])
        address = self._place(self._output, output.nbytes)
        if not context.execute_async_v3(self._cuda.stream):
            raise EdgeError("TensorRT cannot run the engine\n  Build it again on this device")
        self._cuda.from_gpu(output, address)
        self._cuda.wait()
        return output.astype(np.float32)

    def close(self) -> None:
        """Give the memory back."""
        self._cuda.use_here()
        for address, _ in self._buffers.values():
            self._cuda.free(address)
        self._buffers.clear()

    def _place(self, name: str, size_bytes: int) -> int:
        """Return an address that is large enough for a tensor, known to the engine."""
        context = self._context
        address, size = self._buffers.get(name, (0, 0))
        if size < size_bytes:
            if size:
                self._cuda.free(address)
                del self._buffers[name]
            address = self._cuda.allocate(size_bytes)
            self._buffers[name] = (address, size_bytes)
        context.set_tensor_address(name, address)
        return address
