"""A network of a stem and four convolutions, one of them residual, written by hand: quantised in no time.

Its head is solved so that the logits of each class's pattern are 10 for that class and 0 for the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from flax import nnx
from onnx import helper, numpy_helper

from configs.base import get_config
from export.clips import Entry
from export.inputs import ModelInput, model_inputs, to_feeds
from export.session import Session
from hartx.data import Clip, input_specs
from hartx.run import Run
from tests.export.conftest import LABELS

LAYERS = ("conv_a", "conv_b", "conv_c", "conv_d")
SHAPE = (4, 16, 16, 1)
_CHANNELS = 8
FEATURES = _CHANNELS * 16 * 16


def make_run(workdir: Path) -> Run:
    """Return a run that reads depth of `SHAPE`; its model is the network below, and not that of JAX."""
    config = get_config()
    config.name, config.streams = "layered", ("depth",)
    config.clip.num_frames, config.clip.crop, config.clip.resize = 4, 16, 16
    return Run(config, nnx.Module(), input_specs(config), LABELS, None, workdir, step=7)


@dataclasses.dataclass(frozen=True)
class Patterns:
    """A fixed pattern an action with some noise: 2 training subjects and 1 test subject, 3 trials of each action."""

    noise: float = 0.1

    def entries(self, side: str) -> list[Entry]:
        subjects = {"train": (1, 3), "validation": (), "test": (2,)}[side]
        return [
            Entry(f"a{label + 1}_s{subject}_t{trial}", subject, label)
            for trial in (1, 2, 3)
            for subject in subjects
            for label in range(len(LABELS))
        ]

    def load(self, side: str, names: Sequence[str] | None = None) -> Iterator[Clip]:
        for entry in self.entries(side):
            if names is None or entry.name in names:
                rng = np.random.default_rng([entry.label, entry.subject, int(entry.name[-1])])
                noisy = pattern(entry.label) + self.noise * rng.normal(size=SHAPE).astype(np.float32)
                yield Clip(entry.name, entry.subject, entry.label, {"depth": noisy.astype(np.float32)})

    def window_s(self) -> float:
        return 2.25


def pattern(label: int) -> np.ndarray:
    return np.random.default_rng([7, label]).normal(size=SHAPE).astype(np.float32)


def make_inputs(run: Run) -> tuple[ModelInput, ...]:
    return model_inputs(run.specs)


def network(inputs: tuple[ModelInput, ...], damaged: Sequence[str] = (), softmax: bool = False) -> onnx.ModelProto:
    """Return the network. In a damaged layer one weight of each channel is huge and meets nothing but zeros, so that
    float does not see it, and int8 has one step for all the other weights."""
    features = _graph(damaged, np.eye(FEATURES, dtype=np.float32), False)
    patterns = [{"depth": pattern(label)} for label in range(len(LABELS))]
    found = Session(features).output(to_feeds(inputs, patterns))
    return _graph(damaged, 10 * np.linalg.pinv(found).astype(np.float32), softmax)


def _graph(damaged: Sequence[str], head: np.ndarray, softmax: bool) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    nodes, constants, value = [], [], "video"
    for name, channels in (("stem", 1), *((layer, _CHANNELS) for layer in LAYERS)):
        weight = rng.normal(size=(_CHANNELS, channels, 3, 3, 3)) * np.sqrt(2 / (channels * 27))
        bias = rng.uniform(0, 0.2, _CHANNELS)
        weight[0], bias[0] = 0, -1  # behind the ReLU the first channel is 0 everywhere
        if name in damaged:
            weight[:, 0, 1, 1, 1] = 500
        constants += [
            numpy_helper.from_array(weight.astype(np.float32), f"{name}_w"),
            numpy_helper.from_array(bias.astype(np.float32), f"{name}_b"),
        ]
        conv = [value, f"{name}_w", f"{name}_b"]
        nodes.append(helper.make_node("Conv", conv, [f"{name}_out"], name=name, pads=[1] * 6, kernel_shape=[3] * 3))
        out = f"{name}_out"
        if name == "conv_b":
            nodes.append(helper.make_node("Add", [out, value], ["added"], name="add"))
            out = "added"
        nodes.append(helper.make_node("Relu", [out], [f"{name}_relu"], name=f"{name}_relu"))
        value = f"{name}_relu"
    constants.append(numpy_helper.from_array(head, "head"))
    nodes += [
        helper.make_node("ReduceMean", [value], ["mean"], name="mean", axes=[2], keepdims=0),
        helper.make_node("Flatten", ["mean"], ["features"], name="flatten"),
        helper.make_node("MatMul", ["features", "head"], ["scores" if softmax else "logits"], name="head_product"),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["scores"], ["probabilities"], name="softmax"))
    video = helper.make_tensor_value_info("video", onnx.TensorProto.FLOAT, ["batch", 1, 4, 16, 16])
    name = "probabilities" if softmax else "logits"
    output = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", head.shape[1]])
    graph = helper.make_graph(nodes, "layered", [video], [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model
