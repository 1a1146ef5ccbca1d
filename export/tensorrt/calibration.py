"""The scales of calibration.json, as TensorRT's own calibration cache and as a calibrator that hands it over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict

from edge.errors import EdgeError
from export.tensorrt.cache import to_text
from export.tensorrt.versions import parse_version

CALIBRATION_FILE = "calibration.json"


def read_scales(bundle: Path, model_sha256: str) -> Dict[str, float]:
    """Return the scale of each calibrated tensor, by its name in the fp32 model: what int8 layers read and give.

    Args:
      bundle: the bundle's folder.
      model_sha256: hash of the fp32 model, whose tensors are meant.

    Raises:
      EdgeError: if there is no such file, or it belongs to another model.
    """
    path = bundle / CALIBRATION_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        tensors = {**values.get("outputs", {}), **values["tensors"]}
        scales = {name: float(entry["scale"]) for name, entry in tensors.items()}
        made_for = values["model_sha256"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EdgeError(
            f"{path} holds no scales ({type(error).__name__}: {error})\n"
            f"  Export again with onnx-int8 among --formats, or take --calibrator=qdq"
        ) from None
    if made_for != model_sha256:
        raise EdgeError(f"{path} is of another model ({made_for}) than {model_sha256}\n  Export the bundle again")
    return scales


def cache_of(scales: Dict[str, float], version: str) -> bytes:
    """Return scales as the calibration cache of a TensorRT release; one of another release is ignored."""
    major, minor, patch = (*parse_version(version), 0)[:3]
    return to_text(scales, (major, minor, patch)).encode()


def make_calibrator(trt: Any, finished: bytes) -> Any:
    """Return a calibrator that gives a finished cache and asks for no clips.

    Args:
      trt: the tensorrt module.
      finished: the cache, from `cache_of`.
    """

    class FinishedCalibration(trt.IInt8EntropyCalibrator2):  # type: ignore[misc]  # known on the device only
        """Hands over scales that were measured by the exporter."""

        def __init__(self) -> None:
            trt.IInt8EntropyCalibrator2.__init__(self)  # its C++ half wants this very call

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: Any) -> None:
            return None

        def read_calibration_cache(self) -> bytes:
            return finished

        def write_calibration_cache(self, written: Any) -> None:
            """Keep nothing: the scales stay those of the exporter."""

    return FinishedCalibration()
