"""Try one engine on a model of one convolution: run by `edge.doctor` in a process of its own, which may crash.

    python -m edge.engines.probe openvino

Prints one line of JSON: {"works", "version", "why", "doubts"}.
"""

from __future__ import annotations

import base64
import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List

from edge.engines import EngineEntry, EngineOptions, load_engine, what_device_lacks
from edge.errors import EdgeError

# A 3D convolution whose kernel is eight ones over a clip of 2 x 2 x 2, opset 13: it adds them.
MODEL = base64.b64decode(
    "CAcSADqJAQoPCgF4CgF3EgF5IgRDb252EgFnKjEIAQgBCAIIAggCEAFCAXdKIAAAgD8AAIA/AACAPwAAgD8AAIA/AACAPwAAgD8A"
    "AIA/Wh8KAXgSGgoYCAESFAoCCAEKAggBCgIIAgoCCAIKAggCYh8KAXkSGgoYCAESFAoCCAEKAggBCgIIAQoCCAEKAggBQgQKABAN"
)


def probe(entry: EngineEntry) -> Dict[str, Any]:
    """Return whether an engine works here: {"works", "version", "why", "doubts"}."""
    version = None
    doubts: List[str] = []
    try:
        reason = what_device_lacks(entry)
        if reason is None:
            engine_class = entry.engine_class
            version = importlib.import_module(entry.package).__version__
            doubts = [text for text in map(engine_class.doubts, entry.precisions) if text]
            if entry.model_file is None:
                reason = engine_class.lacks(Path()) or _try(entry)
            else:
                _open_gpu()
    except (EdgeError, ImportError) as error:
        reason = str(error).splitlines()[0]
    return {"works": reason is None, "version": version, "why": reason, "doubts": doubts}


def _try(entry: EngineEntry) -> Any:
    """Return what is wrong with an engine's answer; None if it is right."""
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sum.onnx"
        path.write_bytes(MODEL)
        engine = load_engine(entry, path, EngineOptions())
        clip = np.arange(8, dtype=np.float32).reshape(1, 1, 2, 2, 2)
        given = engine.run({"x": clip})
    return None if given.reshape(-1).tolist() == [28.0] else f"it adds 0 to 7 up to {given.reshape(-1).tolist()}"


def _open_gpu() -> None:
    """Load TensorRT and open the GPU: engines are built from bundles, which are not at hand here."""
    from edge.engines.cuda import Cuda

    importlib.import_module("tensorrt")
    Cuda()


def main() -> None:
    """Probe the engine that the command line names."""
    from edge.engines.choice import find_engine

    print(json.dumps(probe(find_engine(sys.argv[1]))))


if __name__ == "__main__":
    main()
