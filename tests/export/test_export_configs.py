"""Every network that the project's configs describe, at its full size: from JAX to ONNX to the engines of a CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import jax
import numpy as np
import onnx_ir as ir
import pytest
from flax import nnx
from ml_collections import ConfigDict

from configs import depth, fusion, inertial, rgb, skeleton
from export import fp16, onnx_graph
from export.formats import OPSETS, Options
from export.head import Head
from export.inputs import ModelInput, model_inputs
from export.openvino import as_function, convert, read
from export.session import Session
from export.trace import reference
from hartx.data import input_specs
from tests.export.random_network import random_network

LABELS = tuple(f"action {number}" for number in range(27))
BATCHES = (1, 3, 8)
CONFIGS: dict[str, ConfigDict] = (
    {"rgb": rgb.get_config(), "inertial": inertial.get_config()}
    | {f"skeleton:{step}": skeleton.get_config(step) for step in skeleton.STEPS}
    | {f"depth:{variant}": depth.get_config(variant) for variant in depth.RECIPES}
    | {f"fusion:{variant}": fusion.get_config(variant) for variant in fusion.VARIANTS}
)


def networks() -> dict[str, ConfigDict]:
    """Return the configs whose networks differ: many steps of the skeleton's recipe change the training alone."""
    different: dict[str, ConfigDict] = {}
    for name, config in CONFIGS.items():
        if not any(same_network(config, other) for other in different.values()):
            different[name] = config
    return different


def same_network(config: ConfigDict, other: ConfigDict) -> bool:
    return (config.streams, config.model, input_specs(config)) == (other.streams, other.model, input_specs(other))


@dataclass(frozen=True)
class Network:
    """A network with random parameters, what it reads, clips, and what JAX makes of them."""

    model: nnx.Module
    inputs: tuple[ModelInput, ...]
    clips: dict[str, np.ndarray]
    logits: np.ndarray


@lru_cache(maxsize=1)  # of the same config, one after the other
def network(name: str) -> Network:
    config = CONFIGS[name]
    model = random_network(config, len(LABELS))
    inputs = model_inputs(input_specs(config))
    rng = np.random.default_rng(1)
    clips = {entry.name: rng.normal(size=(max(BATCHES), *entry.shape)).astype(np.float32) for entry in inputs}
    logits = reference(model, inputs)(clips)
    jax.clear_caches()
    return Network(model, inputs, clips, logits)


# Which opsets each network is exported at; HARTX_OPSETS=all has all of them, and takes ten minutes.
SOME_OPSETS = OPSETS if os.environ.get("HARTX_OPSETS") == "all" else (OPSETS[0], Options().opset, OPSETS[-1])


def cases() -> list[tuple[str, int]]:
    """Return networks and opsets; all of these for the smallest fusion."""
    return [(name, opset) for name in networks() for opset in (OPSETS if name == "fusion:demo" else SOME_OPSETS)]


@pytest.mark.parametrize("name, opset", cases())
def test_each_network_at_each_opset_gives_the_logits_of_jax(name, opset):
    made = network(name)
    options = Options(opset=opset)
    graph = onnx_graph.build(made.model, made.inputs, LABELS, {"made": "up"}, options, Head(False, 1.0))
    assert {entry.domain: entry.version for entry in graph.opset_import}[""] == opset
    count = Counter(node.op_type for node in graph.graph.node)
    # Three for two layers of LSTMs, since ONNX's have time before clips; one where the last states of both directions
    # are taken, and where joints found in depth are centred.
    others = {"skeleton:bidirectional": 1}.get(name, 5 if "pose" in CONFIGS[name].model.depth_members else 0)
    assert count["Transpose"] <= 3 * count["LSTM"] // 2 + others
    tolerance = 1e-4 * np.abs(made.logits).max()
    for engine in (Session(graph).output, as_function(read(*convert(graph)), None)):
        for batch in BATCHES:
            found = engine({key: values[:batch] for key, values in made.clips.items()})
            assert np.abs(found - made.logits[:batch]).max() < tolerance


@pytest.mark.parametrize("name", ["skeleton:members", "inertial", "depth:pose", "fusion:demo"])
def test_float16_loads_in_onnxruntime_with_all_its_optimisations(name, tmp_path):
    """It crashes on a Transpose in float16 in front of a MatMul (1.32): in a process of its own."""
    made = network(name)
    proto = onnx_graph.build(made.model, made.inputs, LABELS, {"made": "up"}, Options(), Head(False, 1.0))
    graph = ir.from_proto(proto)
    fp16.convert(graph, fp16.stay_float(graph, {}))
    path = tmp_path / "model.onnx"
    ir.save(graph, path)
    load = f"import onnxruntime; onnxruntime.InferenceSession({str(path)!r})"
    subprocess.run([sys.executable, "-c", load], check=True)
