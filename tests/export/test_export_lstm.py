"""A layer of LSTMs as one ONNX node: the same numbers as in JAX, in every engine, alone and in a batch."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import onnx
import onnx_ir as ir
import openvino
import pytest
from flax import nnx
from jax2onnx import to_onnx

from export import cpu_graph, passes, quantize
from export.lstm import LSTMLayerNode, in_order_of_onnx
from export.openvino import as_function, convert, read
from export.session import Session
from hartx.models.sequence_lstm import LSTMLayer

STEPS, INPUTS, FEATURES = 6, 5, 8
BATCHES = (1, 2, 3, 8)


def random_layer(in_features: int, bidirectional: bool, seed: int) -> LSTMLayer:
    """Return a layer whose gates, biases and directions all differ."""
    layer = LSTMLayer(in_features, FEATURES, bidirectional, rngs=nnx.Rngs(0))
    keys = iter(jax.random.split(jax.random.key(seed), 6))
    state = jax.tree.map(lambda value: 0.7 * jax.random.normal(next(keys), value.shape), nnx.state(layer))
    nnx.update(layer, state)
    return layer


class Stack(nnx.Module):
    """Layers one after the other, and the state after the last step of each direction."""

    def __init__(self, layers: list[nnx.Module]) -> None:
        self.layers = nnx.List(layers)

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.layers:
            x = layer(x)
        return self.layers[-1].last(x)


@pytest.fixture(
    params=[(True, True), (False, False), (True, False)], ids=["two ways", "one way", "mixed"], scope="module"
)
def stack(request) -> tuple[Stack, onnx.ModelProto]:
    """A stack and its graph, after all passes."""
    layers = [
        random_layer(size, two, seed)
        for seed, (size, two) in enumerate(zip((INPUTS, FEATURES), request.param, strict=True))
    ]
    graph = to_onnx(
        Stack([LSTMLayerNode(layer) for layer in layers]),
        [("batch", STEPS, INPUTS)],
        model_name="stack",
        opset=13,
        input_names=["x"],
        output_names=["y"],
    )
    model = ir.from_proto(graph)
    for rewrite in passes.PASSES:
        rewrite(model)
    return Stack(layers), ir.to_proto(model)


def in_openvino(model: onnx.ModelProto, feeds: dict[str, np.ndarray], folder: Path) -> np.ndarray:
    """Return what OpenVINO computes of a file, its float layers in float32."""
    onnx.save(model, folder / "model.onnx")
    return openvino.compile_model(folder / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(feeds)[0]


def test_every_layer_is_one_node(stack):
    _, graph = stack
    found = [node.op_type for node in graph.graph.node]
    assert found.count("LSTM") == 2
    assert not {"Loop", "Scan", "Sigmoid", "Tanh", "Shape"} & set(found)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_equals_jax(stack, engine, batch, tmp_path):
    """Each clip of a batch as well: OpenVINO 2026.4 mixes them up where a layer is a node for each direction."""
    model, graph = stack
    x = np.random.default_rng(batch).normal(size=(batch, STEPS, INPUTS)).astype(np.float32)
    if engine == "onnxruntime":
        (found,) = Session(graph).run({"x": x})
    else:
        found = in_openvino(graph, {"x": x}, tmp_path)
    np.testing.assert_allclose(found, model(jax.numpy.asarray(x)), atol=1e-5)


def test_gates_are_put_in_the_order_of_the_specification():
    np.testing.assert_array_equal(in_order_of_onnx(np.asarray([1, 1, 2, 2, 3, 3, 4, 4])), [1, 1, 4, 4, 2, 2, 3, 3])


def int8_everywhere(fusion, monkeypatch) -> onnx.ModelProto:
    """Return a network whose convolutions, and the weights of whose small LSTM, are in int8."""
    monkeypatch.setattr(quantize, "_SMALLEST_WEIGHT", 1)
    names = tuple(str(conv.name) for conv in quantize.plan(ir.from_proto(fusion.graph)).convs)
    return cpu_graph.for_cpu(fusion.graph, names, lambda _: np.float32(0.05))


def test_weights_in_int8_cost_little_and_have_a_scale_for_each_direction(fusion, monkeypatch):
    monkeypatch.setattr(quantize, "_SMALLEST_WEIGHT", 1)
    graph = ir.from_proto(fusion.graph)
    quantize.store_weights_in_int8(graph)
    lstms = [node for node in graph.graph if node.op_type == "LSTM"]
    assert len(lstms) == 2
    for weight in (weight for node in lstms for weight in node.inputs[1:3]):
        restored = weight.producer().inputs[0].producer()
        assert restored.op_type == "DequantizeLinear"
        stored, scale, _ = map(passes.constant, restored.inputs)
        assert stored.dtype == np.int8 and len(scale) == stored.shape[1] == np.unique(scale).size
    feeds = {
        entry.name: np.random.default_rng(0).normal(size=(3, *entry.shape)).astype(np.float32)
        for entry in fusion.inputs
    }
    expected, found = Session(fusion.graph).output(feeds), Session(ir.to_proto(graph)).output(feeds)
    assert 0 < np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


def test_zero_biases_of_the_recurrence_are_stored_once_for_all_layers_and_others_stay(stack, monkeypatch):
    monkeypatch.setattr(quantize, "_SMALLEST_WEIGHT", 10**9)  # nothing in int8
    _, graph = stack
    x = np.random.default_rng(0).normal(size=(2, STEPS, INPUTS)).astype(np.float32)

    def biases(model: ir.Model) -> list[ir.Value]:
        return [node.inputs[3] for node in model.graph if node.op_type == "LSTM"]

    shared = ir.from_proto(graph)
    quantize.store_weights_in_int8(shared)
    zeros = {value.producer().inputs[1] for value in biases(shared)}
    assert len(zeros) == len({str(value.shape) for value in biases(ir.from_proto(graph))})
    assert not any(passes.constant(value).any() for value in zeros)
    np.testing.assert_array_equal(Session(ir.to_proto(shared)).run({"x": x}), Session(graph).run({"x": x}))

    other = ir.from_proto(graph)
    for value in biases(other):
        value.const_value = ir.tensor(passes.constant(value) + np.float32(1), name=value.name)
    quantize.store_weights_in_int8(other)
    assert all(value.is_initializer() for value in biases(other))


@pytest.mark.parametrize("way", ["in float32", "in int8"])
def test_openvino_reads_int8_weights_of_an_lstm_beside_int8_convolutions(fusion, monkeypatch, tmp_path, way):
    """It wants constants there, and makes them of a Gather alone: straight from DequantizeLinear it refuses them."""
    model = int8_everywhere(fusion, monkeypatch)
    feeds = {
        entry.name: np.random.default_rng(0).normal(size=(3, *entry.shape)).astype(np.float32)
        for entry in fusion.inputs
    }
    expected = Session(model).output(feeds)
    # In int8 as `edge` and everybody else runs it; in float32 as the exporter judges it.
    ways = {
        "in int8": lambda: in_openvino(model, feeds, tmp_path),
        "in float32": lambda: as_function(read(*convert(model)), None)(feeds),
    }
    found = ways[way]()
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()
