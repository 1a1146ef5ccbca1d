"""Builds a bundle with NVIDIA's parser and builder: run by tests, in a Python that sees `tensorrt_rtx`.

    python tests/export/build_with_rtx.py BUNDLE [--precision=int8] [--without_profiles] [--cut] [--constants=WORD]

Prints a line of JSON for each engine: precision, size in bytes, or what TensorRT refused. With --constants builds
nothing, and prints the constants that the parser made whose name contains that word.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import tensorrt_rtx

from edge.bundle import read_bundle
from edge.engines.tensorrt import make_logger
from edge.errors import EdgeError
from export.tensorrt.builder import build_engine
from export.tensorrt.plan import Wish, make_plan
from export.tensorrt.versions import RTX


def main() -> None:
    """Build what the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--max_batch", type=int)
    parser.add_argument("--without_profiles", action="store_true")
    parser.add_argument("--cut", action="store_true", help="halve the model files after planning")
    parser.add_argument("--constants", metavar="WORD")
    args = parser.parse_args()
    logger = make_logger(tensorrt_rtx)
    bundle = read_bundle(args.bundle)
    plan = make_plan(bundle, RTX, Wish(args.precision, max_batch=args.max_batch))
    for build in plan.builds:
        if args.constants:
            _show_constants(bundle.path / build.source, args.constants)
            continue
        if args.without_profiles:
            build = dataclasses.replace(build, profiles=())
        if args.cut:
            content = (bundle.path / build.source).read_bytes()
            (bundle.path / build.source).write_bytes(content[: len(content) // 2])
        line: dict[str, object] = {"precision": build.precision}
        with tempfile.TemporaryDirectory() as folder:
            try:
                engine = build_engine(tensorrt_rtx, logger, plan, build, bundle.path, Path(folder) / "timing.cache")
                line["size_bytes"] = len(engine)
            except EdgeError as error:
                line["refused"] = str(error)
        print(json.dumps(line), flush=True)


def _show_constants(path: Path, word: str) -> None:
    builder = tensorrt_rtx.Builder(tensorrt_rtx.Logger(tensorrt_rtx.Logger.WARNING))
    network = builder.create_network(1 << int(tensorrt_rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt_rtx.OnnxParser(network, builder.logger)
    if not parser.parse_from_file(str(path)):
        raise SystemExit(f"{path} cannot be read: {parser.get_error(0).desc()}")
    for layer in map(network.get_layer, range(network.num_layers)):
        if layer.type == tensorrt_rtx.LayerType.CONSTANT and word in layer.name:
            layer.__class__ = tensorrt_rtx.IConstantLayer
            print(json.dumps({"name": layer.name, "values": np.array(layer.weights, np.float64).ravel().tolist()}))


if __name__ == "__main__":
    main()
