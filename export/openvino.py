"""OpenVINO IR: the int8 model as a CPU runs it fastest, a graph (.xml) and its weights (.bin) beside it.

The scales are those of onnx-int8, which `edge` runs in OpenVINO as well; what differs stands in `export.cpu_graph`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from export import cpu_graph, parity
from export.calibration import Calibration, Calibrator, int8_scale
from export.errors import ExportError
from export.formats import BY_NAME, check_packages
from export.parity import Compute
from export.product import Job, Product
from export.session import in_batches

if TYPE_CHECKING:
    import openvino

# What is judged is the file: in OpenVINO's int8 kernels sums may overflow on a CPU without VNNI. Nor are snippets used,
# see `edge.engines.openvino`.
_SETTINGS = {"LP_TRANSFORMS_MODE": "NO", "INFERENCE_PRECISION_HINT": "f32", "SNIPPETS_MODE": "DISABLE"}

# Where OpenVINO's tools look for what a model says of itself.
_INFO = "model_info"


def make_openvino(job: Job) -> Product:
    """Return the int8 model as IR.

    Raises:
      ExportError: without OpenVINO, or if what OpenVINO computes is too far from the trained model.
    """
    row = BY_NAME["openvino-int8"]
    source, details = _source(job)
    with job.steps.step("openvino int8") as note:
        graph, weights = convert(source)
        compute = as_function(read(graph, weights), job.options.batch)
        found = parity.check(compute, job.reference, job.inputs, job.checked, row.tolerance)
        version = _openvino().get_version()
        note.text = f"IR by OpenVINO {version}"
    details["openvino"] = version
    return Product(graph, compute, str(found), details, beside={row.beside[0]: weights})


def _source(job: Job) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Return the graph to convert, and the ranges it needed; where nothing computes in int8 that of onnx-int8."""
    made = job.products["onnx-int8"]
    calibration = made.calibration
    if calibration is None:
        assert made.onnx is not None
        return made.onnx, {}
    with job.steps.step("openvino int8 calibration") as note:
        stem = _stem_ranges(job, calibration)
        note.text = f"{', '.join(f'{name} to {range_:.3g}' for name, range_ in stem.items())}: what the stem reads"
    scales = {**calibration.ranges, **stem}
    graph = cpu_graph.for_cpu(job.base(), calibration.int8_layers, lambda name: int8_scale(scales[name]))
    return graph, {"stem_ranges": stem}


def _stem_ranges(job: Job, calibration: Calibration) -> dict[str, float]:
    """Return the largest magnitude of what the stems read, over the clips that the other ranges come from.

    Preprocessing bounds these values, so that none of them is an outlier to cut off.
    """
    calibrator = Calibrator(job.base(), cpu_graph.stem_inputs(job.base()), job.inputs, job.clips, job.steps.each)
    return calibrator.largest(calibrator.choose(len(calibration.clips)))


def convert(model: onnx.ModelProto) -> tuple[bytes, bytes]:
    """Return the graph (.xml) and the weights (.bin) of a model; its metadata stand in the graph as `model_info`.

    Raises:
      ExportError: if OpenVINO is not installed, or refuses the model.
    """
    openvino = _openvino()
    with tempfile.TemporaryDirectory() as folder:
        source, graph = Path(folder, "model.onnx"), Path(folder, "model.xml")
        try:
            onnx.save(model, source)
            converted = openvino.Core().read_model(source)
            for entry in model.metadata_props:
                converted.set_rt_info(entry.value, [_INFO, entry.key])
            openvino.save_model(converted, graph, compress_to_fp16=False)
            return graph.read_bytes(), graph.with_suffix(".bin").read_bytes()
        except RuntimeError as error:
            raise ExportError(
                f"OpenVINO cannot convert the int8 model, or not write it to {folder} (is there room?): {error}"
            ) from error
        except OSError as error:
            raise ExportError(
                f"the int8 model cannot be written to {folder}: {error.strerror}\n"
                "  Is there room? Another folder is taken by TMPDIR"
            ) from error


def read(graph: bytes, weights: bytes) -> openvino.Model:
    """Return the model of a graph and its weights.

    Raises:
      ExportError: if OpenVINO is not installed, or cannot read it.
    """
    openvino = _openvino()
    try:
        return openvino.Core().read_model(graph, openvino.Tensor(np.frombuffer(weights, np.uint8)))
    except RuntimeError as error:
        raise ExportError(f"OpenVINO cannot read it: {error}") from error


def as_function(model: openvino.Model, batch: int | None) -> Compute:
    """Return a read model, which is changed, as a function of named inputs, its quantisation computed in float32.

    Raises:
      ExportError: if OpenVINO cannot run it.
    """
    openvino = _openvino()
    from edge.engines.openvino import restore_weights

    try:
        restore_weights(model)
        compiled = openvino.Core().compile_model(model, "CPU", _SETTINGS)
    except RuntimeError as error:
        raise ExportError(f"OpenVINO cannot compile it: {error}") from error
    return lambda feeds: in_batches(lambda part: np.array(compiled(dict(part))[0]), feeds, batch)


def values(model: openvino.Model) -> dict[str, tuple[str, list[int | str]]]:
    """Return type and shape of each input and output by name; an open size is "batch"."""
    return {
        port.any_name: (
            np.dtype(port.element_type.to_dtype()).name,
            ["batch" if size.is_dynamic else size.get_length() for size in port.partial_shape],
        )
        for port in (*model.inputs, *model.outputs)
    }


def metadata(model: openvino.Model) -> dict[str, str]:
    """Return what the model says of itself, see `onnx_graph.properties`."""
    if not model.has_rt_info(_INFO):
        return {}
    return {name: str(model.get_rt_info([_INFO, name]).value) for name in model.get_rt_info(_INFO).value}


def _openvino() -> openvino:
    check_packages([BY_NAME["openvino-int8"]])
    from edge.engines.openvino import openvino

    return openvino
