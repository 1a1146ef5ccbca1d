"""What is to be done for a bundle and a TensorRT release: data, made without TensorRT and the same on any machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

from edge.bundle import Bundle, sha256_of
from edge.errors import EdgeError
from export.tensorrt.calibration import read_scales
from export.tensorrt.onnx_header import OnnxHeader, read_header
from export.tensorrt.versions import Release, release_of

_NO_INT8_LAYER = "no layer of the model computes in int8: its weights alone are stored so"


@dataclass(frozen=True)
class Wish:
    """What the user asked for.

    Attributes:
      precision: "auto", "fp16" or "int8".
      calibrator: where int8 scales come from: "qdq", the int8 model's Q/DQ nodes, or "implicit", calibration.json.
      max_batch: the largest batch the engine takes; None for 1, or what the file fixes.
      max_drop: points of top-1 that may be lost; None for what the bundle records.
    """

    precision: str = "auto"
    calibrator: str = "qdq"
    max_batch: Optional[int] = None
    max_drop: Optional[float] = None


@dataclass(frozen=True)
class Profile:
    """Shapes that an input may have, and the one that kernels are chosen for."""

    name: str
    minimum: Tuple[int, ...]
    optimum: Tuple[int, ...]
    maximum: Tuple[int, ...]


@dataclass(frozen=True)
class Build:
    """One engine to be built.

    Attributes:
      precision: "fp32", "fp16" or "int8".
      source: the bundle's ONNX file.
      source_sha256: its hash.
      opset: its opset.
      network_flags: names in `NetworkDefinitionCreationFlag`.
      builder_flags: names in `BuilderFlag`.
      calibrated: whether scales come from calibration.json, through `IInt8EntropyCalibrator2`.
      inputs: name to the shape that it is timed with.
      profiles: of the inputs whose batch is dynamic.
      why: the reason for it being built like this.
      otherwise: what is built if TensorRT refuses this; None for nothing.
    """

    precision: str
    source: str
    source_sha256: str
    opset: int
    network_flags: Tuple[str, ...]
    builder_flags: Tuple[str, ...]
    calibrated: bool
    inputs: Mapping[str, Tuple[int, ...]]
    profiles: Tuple[Profile, ...]
    why: str
    otherwise: Optional[Build] = None


@dataclass(frozen=True)
class Plan:
    """All that is done for a bundle.

    Attributes:
      tensorrt_version: as it was named.
      tool: "tensorrt", the Python module, or "trtexec".
      timing_cache: whether timings of kernels are kept for the next build.
      asks_for_int8: whether the builder can say if the GPU has int8 arithmetic, and is asked.
      max_drop: points of top-1 that the kept engine may have lost.
      builds: the engines; of several the faster one that holds `max_drop` is kept.
      notes: what was left out, and why.
    """

    tensorrt_version: str
    tool: str
    timing_cache: bool
    asks_for_int8: bool
    max_drop: float
    builds: Tuple[Build, ...]
    notes: Tuple[str, ...]

    def to_json(self) -> Dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class _Case:
    """What every build depends on."""

    bundle: Bundle
    version: str
    release: Release
    wish: Wish


def make_plan(bundle: Bundle, version: str, wish: Wish) -> Plan:
    """Return what to do for a bundle.

    Args:
      bundle: the bundle, checked.
      version: the TensorRT release, like "10.3.0", or "rtx".
      wish: what the user asked for.

    Raises:
      EdgeError: if the release cannot do what was asked, or cannot read the bundle's files.
    """
    release = release_of(version)
    case = _Case(bundle, version, release, wish)
    notes: List[str] = []
    builds = []
    if wish.precision in ("auto", "fp16"):
        builds.append(_float_build(case, notes))
    if wish.precision == "int8":
        builds.append(_int8_build(case))
    elif wish.precision == "auto":
        if "int8" not in bundle.precisions:
            notes.append("int8 is left out: the bundle has no int8 model")
        elif not release.python:
            notes.append(f"int8 is left out: {_no_int8_by_trtexec(case)}")
        elif wish.calibrator == "implicit" and not _computes_in_int8(bundle):
            notes.append(f"int8 is left out: nothing to calibrate, {_NO_INT8_LAYER}")
        else:
            builds.append(_int8_build(case))
    return Plan(
        tensorrt_version=version,
        tool="tensorrt" if release.python else "trtexec",
        timing_cache=release.timing_cache,
        asks_for_int8=release.precision_flags and release.python,
        max_drop=bundle.max_drop_points if wish.max_drop is None else wish.max_drop,
        builds=tuple(builds),
        notes=tuple(notes),
    )


def _float_build(case: _Case, notes: List[str]) -> Build:
    """Return the build in half precision; in fp32 where half cannot be had and was not asked for by name."""
    by_flag = None
    if case.release.precision_flags and "fp32" in case.bundle.precisions:
        why = "the flag FP16 lets TensorRT choose between half and single precision, layer by layer"
        by_flag = _build(case, "fp16", "fp32", builder_flags=("FP16",), why=why)
    if case.release.strongly_typed and "fp16" in case.bundle.precisions:
        why = "strongly typed: precisions are those of the fp16 file, which the exporter checked"
        typed = _build(case, "fp16", "fp16", network_flags=("STRONGLY_TYPED",), why=why)
        return replace(typed, otherwise=by_flag)
    if by_flag is not None:
        return by_flag
    missing = f"TensorRT {case.version} takes precisions from the file alone, and the bundle has no fp16 model"
    if case.wish.precision == "fp16":
        raise EdgeError(f"--precision=fp16 was given; {missing}\n  Export again with onnx-fp16 among --formats")
    notes.append(f"fp32 is built instead of fp16: {missing}")
    why = "strongly typed: precisions are those of the fp32 file"
    return _build(case, "fp32", "fp32", network_flags=("STRONGLY_TYPED",), why=why)


def _int8_build(case: _Case) -> Build:
    if not case.release.python:
        raise EdgeError(
            f"--precision=int8 was given; {_no_int8_by_trtexec(case)}\n"
            f"  The first Nano has no int8 arithmetic either. Take --precision=fp16"
        )
    if case.wish.calibrator == "implicit":
        _check_calibrator(case)
        if "int8" in case.bundle.precisions and not _computes_in_int8(case.bundle):
            raise EdgeError(
                f"--calibrator=implicit was given; there is nothing to calibrate, {_NO_INT8_LAYER}\n"
                f"  Take --precision=fp16"
            )
        why = "implicit: the scales of calibration.json; what has none stays in half or single precision"
        build = _build(case, "int8", "fp32", builder_flags=("FP16", "INT8"), calibrated=True, why=why)
        read_scales(case.bundle.path, build.source_sha256)  # raises here and not only on the device
        return build
    if case.release.strongly_typed:
        why = "strongly typed: int8 where the file has Q/DQ nodes, the file's float type elsewhere"
        return _build(case, "int8", "int8", network_flags=("STRONGLY_TYPED",), why=why)
    why = "explicit: int8 where the file has Q/DQ nodes, half or single precision elsewhere"
    return _build(case, "int8", "int8", builder_flags=("FP16", "INT8"), why=why)


def _computes_in_int8(bundle: Bundle) -> bool:
    """Return whether layers of a bundle's int8 model compute in it: something is quantised, not only restored."""
    return b"QuantizeLinear" in bundle.precisions["int8"].path.read_bytes()


def _no_int8_by_trtexec(case: _Case) -> str:
    """Return why a release that only `trtexec` drives builds nothing in int8."""
    if case.wish.calibrator == "implicit":
        return f"scales are handed over by the builder in Python, which is for 8.5 and up; this is {case.version}"
    return f"TensorRT {case.version} cannot read weights in int8, as the int8 model has them (8.5 and up can)"


def _check_calibrator(case: _Case) -> None:
    """Raise unless a release can be given scales without Q/DQ nodes."""
    if not case.release.calibrator:
        raise EdgeError(
            f"--calibrator=implicit was given; TensorRT {case.version} has no calibrators (10.x was the last)\n"
            f"  Take --calibrator=qdq: the scales are in the int8 model itself"
        )


def _build(
    case: _Case,
    precision: str,
    file: str,
    *,
    network_flags: Tuple[str, ...] = (),
    builder_flags: Tuple[str, ...] = (),
    calibrated: bool = False,
    why: str,
) -> Build:
    """Return a build of a precision from one of the bundle's files, after a look into the file."""
    bundle, release = case.bundle, case.release
    if file not in bundle.precisions:
        raise EdgeError(
            f"{bundle.path} has no {file} model, only {', '.join(bundle.precisions)}\n"
            f"  Export again with onnx-{file} among --formats (int8 only if the model has 3D convolutions)"
        )
    path = bundle.precisions[file].path
    header = read_header(path)
    if header.opset > release.max_opset:
        raise EdgeError(
            f"{path} is of ONNX opset {header.opset}; TensorRT {case.version} reads up to {release.max_opset}\n"
            f"  Export again: python -m export --workdir=RUN --bundle={bundle.path} --opset={release.max_opset}"
        )
    batch = _batch(path, header, case.wish)
    smallest, largest = _shapes(path, header, 1), _shapes(path, header, batch)
    return Build(
        precision=precision,
        source=path.name,
        source_sha256=sha256_of(path),
        opset=header.opset,
        network_flags=(("EXPLICIT_BATCH",) if release.explicit_batch else ()) + network_flags,
        builder_flags=builder_flags,
        calibrated=calibrated,
        inputs=largest,
        profiles=tuple(
            Profile(entry.name, smallest[entry.name], largest[entry.name], largest[entry.name])
            for entry in header.inputs
            if entry.shape[0] is None
        ),
        why=why,
    )


def _batch(path: Path, header: OnnxHeader, wish: Wish) -> int:
    """Return the batch that an engine is made and timed for.

    Raises:
      EdgeError: if the file fixes another one than was asked for.
    """
    fixed = {entry.shape[0] for entry in header.inputs if entry.shape and entry.shape[0] is not None}
    if not fixed:
        return wish.max_batch or 1
    if wish.max_batch not in (None, *fixed):
        raise EdgeError(
            f"--max_batch={wish.max_batch} was given; {path} fixes a batch of {min(fixed)}\n"
            f"  Leave the option out, or export with a dynamic batch"
        )
    return min(fixed)


def _shapes(path: Path, header: OnnxHeader, batch: int) -> Dict[str, Tuple[int, ...]]:
    """Return the inputs' shapes with a batch put in where it is dynamic.

    Raises:
      EdgeError: if another axis than the first is dynamic.
    """
    shapes = {}
    for entry in header.inputs:
        if not entry.shape or None in entry.shape[1:]:
            raise EdgeError(f"{path}: input {entry.name!r} has the shape {entry.shape}; only its batch may be dynamic")
        first, rest = entry.shape[0], tuple(size for size in entry.shape[1:] if size is not None)
        shapes[entry.name] = (batch if first is None else first, *rest)
    return shapes
