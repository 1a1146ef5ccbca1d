"""A `tensorrt` module that has the names of one release and no others, and a GPU, for tests without either.

It computes nothing: an engine is a note of how it was built, and takes as long as the test says. What it does check
is what the real one refuses: names of another release, a missing batch flag, precision flags on a strongly typed
network, int8 without scales, a dynamic input without a profile.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from edge.engines.cuda import Gpu
from edge.errors import EdgeError
from export.tensorrt.onnx_header import read_header
from tests.export.tensorrt_bundle import LABELS
from tests.export.tensorrt_names import MODULE, read_api

_MAGIC = b"fake engine "


@dataclass
class World:
    """What a test sets up, and what it finds afterwards.

    Attributes:
      latency_ms: precision to the time of one run.
      int8: whether the GPU has int8 arithmetic.
      refuses: precisions that cannot be built.
      infinite: precisions whose engines give infinities.
      now: the clock, seconds.
      memory: what lies on the GPU, by address.
      built: how each engine was built, in order.
    """

    latency_ms: dict[str, float] = field(default_factory=lambda: {"fp32": 9.0, "fp16": 5.0, "int8": 3.0})
    int8: bool = True
    refuses: tuple[str, ...] = ()
    infinite: tuple[str, ...] = ()
    now: float = 0.0
    memory: dict[int, np.ndarray] = field(default_factory=dict)
    built: list[dict[str, Any]] = field(default_factory=list)


class FakeCuda:
    """Stands for `edge.engines.cuda.Cuda`."""

    stream = 77

    def __init__(self, world: World, gpu: Gpu, free_bytes: int = 1 << 20) -> None:
        self._world, self.gpu, self._free_bytes = world, gpu, free_bytes

    def use_here(self) -> None:
        pass

    def allocate(self, size_bytes: int) -> int:
        if size_bytes > self._free_bytes:
            raise EdgeError("CUDA failed in cuMemAlloc_v2: out of memory (code 2)")
        address = max(self._world.memory, default=0) + 4096
        self._world.memory[address] = np.zeros(size_bytes, np.uint8)
        return address

    def free(self, address: int) -> None:
        del self._world.memory[address]

    def to_gpu(self, address: int, array: np.ndarray) -> None:
        self._world.memory[address][: array.nbytes] = array.reshape(-1).view(np.uint8)

    def from_gpu(self, array: np.ndarray, address: int) -> None:
        array.reshape(-1).view(np.uint8)[:] = self._world.memory[address][: array.nbytes]

    def wait(self) -> None:
        pass


def make_tensorrt(release: str, world: World) -> ModuleType:
    """Return a module with the names of a release."""
    api = read_api()[release]
    module = ModuleType("tensorrt_of_the_tests")
    module.__version__ = release  # type: ignore[attr-defined]
    classes = {
        **_enums(api),
        "ILogger": _plain(api, "ILogger", ERROR=1, INTERNAL_ERROR=0, log=lambda *_: None),
        "Builder": lambda logger: _guard(api, "Builder", _Builder(world, release, api, logger)),
        "OnnxParser": lambda network, logger: _guard(api, "OnnxParser", _Parser(network, api)),
        "Runtime": lambda logger: _guard(api, "Runtime", _Runtime(world, api, logger)),
    }
    if "IInt8EntropyCalibrator2" in api:
        classes["IInt8EntropyCalibrator2"] = _plain(api, "IInt8EntropyCalibrator2")
    for name in api[MODULE]:
        setattr(module, name, classes[name])
    return module


def _enums(api: dict[str, list[str]]) -> dict[str, Any]:
    owners = ("NetworkDefinitionCreationFlag", "BuilderFlag", "TensorIOMode")
    return {o: SimpleNamespace(**{name: number for number, name in enumerate(api[o])}) for o in owners}


def _plain(api: dict[str, list[str]], name: str, **members: Any) -> type:
    assert set(members) <= set(api[name])
    return type(name, (), members)


def _guard(api: dict[str, list[str]], owner: str, target: Any) -> Any:
    """Return a thing that shows of another one only the names which a class of the release has."""

    class Guarded:
        def __getattr__(self, name: str) -> Any:
            if name not in api[owner]:
                raise AttributeError(f"{owner} of this release has no {name!r}")
            return getattr(target, name)

        def __setattr__(self, name: str, value: Any) -> None:
            if name not in api[owner]:
                raise AttributeError(f"{owner} of this release has no {name!r}")
            setattr(target, name, value)

    guarded = Guarded()
    object.__setattr__(guarded, "_target", target)
    return guarded


def _inside(guarded: Any) -> Any:
    return object.__getattribute__(guarded, "_target")


class _Network:
    def __init__(self, flags: set[str]) -> None:
        self.flags = flags
        self.path: Path | None = None
        self.logger: Any = None


class _Parser:
    def __init__(self, network: Any, api: dict[str, list[str]]) -> None:
        self._network, self._api = _inside(network), api
        self.num_errors = 0
        self._said = ""

    def parse_from_file(self, path: str) -> bool:
        try:
            self._network.header = read_header(Path(path))
        except EdgeError as error:
            self.num_errors, self._said = 1, str(error)
            return False
        self._network.path = Path(path)
        return True

    def get_error(self, index: int) -> Any:
        assert index == 0
        return _guard(self._api, "ParserError", SimpleNamespace(desc=lambda: self._said, node=lambda: -1))


class _Config:
    def __init__(self, world: World, api: dict[str, list[str]], flags: Any) -> None:
        self._api = api
        self._names = {number: name for name, number in vars(flags).items()}
        self.flags: set[str] = set()
        self.profiles: dict[str, Any] = {}
        self.int8_calibrator: Any = None
        self.calibration_profile: Any = None
        self.cache: Any = None

    def set_flag(self, flag: int) -> None:
        self.flags.add(self._names[flag])

    def add_optimization_profile(self, profile: Any) -> int:
        self.profiles = _inside(profile).shapes
        valid = all(low <= best <= high for shapes in self.profiles.values() for low, best, high in zip(*shapes))
        return 0 if valid else -1

    def set_calibration_profile(self, profile: Any) -> bool:
        self.calibration_profile = profile
        return True

    def create_timing_cache(self, content: bytes) -> Any:
        return _guard(self._api, "ITimingCache", SimpleNamespace(content=content, serialize=lambda: b"timings of fake"))

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        self.cache = _inside(cache).content
        return self.cache in (b"", b"timings of fake") and not ignore_mismatch


class _Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, name: str, low: Any, best: Any, high: Any) -> None:
        self.shapes[name] = (low, best, high)


class _Builder:
    def __init__(self, world: World, release: str, api: dict[str, list[str]], logger: Any) -> None:
        self._world, self._api, self._logger, self._release = world, api, logger, release
        self.platform_has_fast_int8 = world.int8

    def create_network(self, bits: int) -> Any:
        flags = _enums(self._api)["NetworkDefinitionCreationFlag"]
        given = {name for name, number in vars(flags).items() if bits >> number & 1}
        assert bits == sum(1 << getattr(flags, name) for name in given)
        return _guard({"INetworkDefinition": []}, "INetworkDefinition", _Network(given))

    def create_builder_config(self) -> Any:
        config = _Config(self._world, self._api, _enums(self._api)["BuilderFlag"])
        return _guard(self._api, "IBuilderConfig", config)

    def create_optimization_profile(self) -> Any:
        return _guard(self._api, "IOptimizationProfile", _Profile())

    def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
        network, config = _inside(network), _inside(config)
        quantized = b"QuantizeLinear" in network.path.read_bytes()
        half = "FP16" in config.flags or "fp16" in network.path.name
        precision = "int8" if quantized or config.int8_calibrator else "fp16" if half else "fp32"
        problem = self._problem(network, config, quantized)
        if precision in self._world.refuses:
            problem = "Could not find any implementation for node conv"
        if problem:
            self._logger.log(1, problem)
            return None
        self._world.built.append(
            {
                "precision": precision,
                "source": network.path.name,
                "network_flags": network.flags,
                "builder_flags": config.flags,
                "profiles": config.profiles,
                "cache": config.cache,
                "scales": config.int8_calibrator and config.int8_calibrator.read_calibration_cache(),
            }
        )
        names = [entry.name for entry in network.header.inputs]
        note = {"precision": precision, "profiles": config.profiles, "inputs": names}
        return _MAGIC + json.dumps(note).encode() + b"."

    def _problem(self, network: _Network, config: _Config, quantized: bool) -> str | None:
        """Return what the real one would say, if it refused."""
        dynamic = {entry.name for entry in network.header.inputs if entry.shape[0] is None}
        if int(self._release.split(".")[0] if self._release != "rtx" else 11) < 10 and not network.flags:
            return "the ONNX parser wants an explicit batch"
        if "STRONGLY_TYPED" in network.flags and config.flags & {"FP16", "INT8"}:
            return "precision flags on a strongly typed network"
        if quantized and not (network.flags & {"STRONGLY_TYPED"} or "INT8" in config.flags):
            return "Q/DQ nodes without int8"
        if "INT8" in config.flags and not quantized and config.int8_calibrator is None:
            return "int8 without scales"
        if config.int8_calibrator is not None and config.calibration_profile is None and dynamic:
            return "calibration of dynamic inputs without a profile"
        if dynamic != set(config.profiles):
            return "dynamic input without a profile"
        return None


class _Runtime:
    def __init__(self, world: World, api: dict[str, list[str]], logger: Any) -> None:
        self._world, self._api, self._logger = world, api, logger

    def deserialize_cuda_engine(self, serialized: bytes) -> Any:
        if not (serialized.startswith(_MAGIC) and serialized.endswith(b"}.")):
            self._logger.log(1, "the engine plan is corrupt")
            return None
        note = json.loads(serialized[len(_MAGIC) : -1])
        return _guard(self._api, "ICudaEngine", _Engine(self._world, self._api, note))


class _Engine:
    def __init__(self, world: World, api: dict[str, list[str]], note: dict[str, Any]) -> None:
        self._world, self._api, self._note = world, api, note
        self._names = [*note["inputs"], "logits"]
        self.num_io_tensors = len(self._names)

    def get_tensor_name(self, index: int) -> str:
        return self._names[index]

    def get_tensor_mode(self, name: str) -> int:
        mode = _enums(self._api)["TensorIOMode"].INPUT
        return mode if name != "logits" else mode + 1

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name="HALF" if self._note["precision"] == "fp16" and name == "logits" else "FLOAT")

    def create_execution_context(self) -> Any:
        return _guard(self._api, "IExecutionContext", _Context(self._world, self._note))


class _Context:
    def __init__(self, world: World, note: dict[str, Any]) -> None:
        self._world, self._note = world, note
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        low, _, high = self._note["profiles"].get(name, (shape, shape, shape))
        return all(a <= b <= c for a, b, c in zip(low, shape, high))

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        assert name == "logits"
        return (self._shapes["video"][0], len(LABELS))

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == FakeCuda.stream
        assert set(self._addresses) == {*self._note["inputs"], "logits"}
        precision = self._note["precision"]
        self._world.now += self._world.latency_ms[precision] / 1000
        dtype = np.float16 if precision == "fp16" else np.float32
        value = np.inf if precision in self._world.infinite else 1.5
        logits = np.full(self.get_tensor_shape("logits"), value, dtype)
        self._world.memory[self._addresses["logits"]][: logits.nbytes] = logits.reshape(-1).view(np.uint8)
        return True
