"""float16: what is converted, what stays float, and that an overflow is seen."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export import structure
from export.errors import ExportError
from export.fp16 import HALF_MAX, HEADROOM, convert, float_tensors, rounded, stay_float
from export.passes import constant
from export.session import Session

# Products and a sum; the middle of it grows with `gain`.
NETWORK = """<ir_version: 8, opset_import: ["" : 17]>
agraph (float[batch,3,4] x) => (float[batch,4] y)
<float[4,4] u = {1,2,0,1,0,1,1,0,2,0,1,1,1,1,0,2}, float gain = {GAIN}, float back = {BACK}, int64[1] axes = {1}> {
  positive = Relu(x)
  product = MatMul(positive, u)
  grown = Mul(product, gain)
  shrunk = Mul(grown, back)
  mean = ReduceMean<axes=[1], keepdims=0>(shrunk)
  y = Tanh(mean)
}"""


def network(gain: float = 1.0) -> onnx.ModelProto:
    return onnx.parser.parse_model(NETWORK.replace("GAIN", f"{gain:.6f}").replace("BACK", f"{1 / gain:.12f}"))


def ranges_of(model: onnx.ModelProto, x: np.ndarray) -> dict[str, float]:
    names = float_tensors(model)
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names if name != "y"
    )
    return {name: float(np.abs(v).max()) for name, v in zip(names, Session(shown).run({"x": x}, names), strict=True)}


def halved(model: onnx.ModelProto, kept) -> onnx.ModelProto:
    graph = ir.from_proto(model)
    convert(graph, kept)
    structure.check(graph)
    proto = ir.to_proto(graph)
    del proto.graph.value_info[:]
    return proto


def random_input(seed: int, batch: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (batch, 3, 4)).astype(np.float32)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), batch=st.integers(1, 4), kept=st.sets(st.integers(0, 5)))
def test_any_choice_of_nodes_gives_a_valid_graph_close_to_float(seed, batch, kept):
    model = network()
    graph = ir.from_proto(model)
    stay_float(graph, {})  # gives names
    names = [str(node.name) for node in graph.graph]
    convert(graph, {names[i] for i in kept})
    structure.check(graph)
    proto = ir.to_proto(graph)
    del proto.graph.value_info[:]
    x = random_input(seed, batch)
    expected, found = Session(model).output({"x": x}), Session(rounded(proto)).output({"x": x})
    assert Session(proto).output({"x": x}).shape == expected.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=5e-3)
    assert [entry.name for entry in proto.graph.output] == ["y"]
    if len(kept) == 6:
        np.testing.assert_array_equal(found, expected)


@given(seed=st.integers(0, 2**32 - 1), gain=st.floats(0.1, 100))
@settings(max_examples=20)
def test_the_judge_rounds_every_value_as_numpy_does(seed, gain):
    """ONNX Runtime alone does not round at all; then no parity of fp16 would mean anything."""
    model = network(gain)
    graph = ir.from_proto(model)
    found = Session(rounded(halved(model, stay_float(graph, {})))).output({"x": (x := random_input(seed))})
    constants = {i.name: onnx.numpy_helper.to_array(i).astype(np.float16) for i in model.graph.initializer}

    def stored(values):
        return values.astype(np.float16).astype(np.float32)

    product = stored(stored(np.maximum(x, 0)) @ stored(constants["u"]))
    shrunk = stored(stored(product * stored(constants["gain"])) * stored(constants["back"]))
    np.testing.assert_allclose(found, stored(np.tanh(stored(shrunk.mean(axis=1)))), atol=1e-3)
    assert (found == stored(found)).all()


def test_rounding_is_seen():
    model, x = network(), random_input(0)
    graph = ir.from_proto(model)
    found = Session(rounded(halved(model, stay_float(graph, {})))).output({"x": x})
    assert 1e-5 < np.abs(found - Session(model).output({"x": x})).max() < 5e-3


def test_sums_stay_float_and_so_does_what_would_overflow():
    x = random_input(1)
    assert set(stay_float(ir.from_proto(network()), ranges_of(network(), x)).values()) == {"ReduceMean"}
    model = network(gain=3e4)
    kept = stay_float(ir.from_proto(model), ranges_of(model, x))
    assert sorted(kept.values()) == ["ReduceMean", "range", "range"]  # what makes the large value and what reads it
    named = ir.from_proto(model)
    stay_float(named, {})
    assert {str(n.name) for n in named.graph if n.op_type == "Mul"} == {n for n, why in kept.items() if why == "range"}


def test_without_that_the_output_is_lost_and_with_it_right():
    x = random_input(1)
    model = network(gain=3e4)
    expected = Session(model).output({"x": x})
    graph = ir.from_proto(model)
    kept = stay_float(graph, ranges_of(model, x))
    named = ir.to_proto(graph)
    sums = {name for name, reason in kept.items() if reason != "range"}
    careless = Session(rounded(halved(named, sums))).output({"x": x})
    careful = Session(rounded(halved(named, kept))).output({"x": x})
    assert not np.isfinite(careless).all() or np.abs(careless - expected).max() > 0.1
    np.testing.assert_allclose(careful, expected, atol=5e-3)


@given(share=st.floats(0.01, 2))
def test_a_range_is_kept_from_half_the_largest_float16_on(share):
    graph = ir.from_proto(network())
    ranges = {"grown": share * HALF_MAX}
    reasons = list(stay_float(graph, ranges).values())
    assert reasons.count("range") == (2 if share * HEADROOM > 1 else 0)


def test_a_constant_that_does_not_fit_keeps_its_node_in_float():
    graph = ir.from_proto(network(gain=1e5))
    assert "range" in stay_float(graph, {}).values()


def test_weights_are_stored_in_float16_and_only_kept_nodes_read_float32():
    model = network()
    graph = ir.from_proto(model)
    kept = stay_float(graph, {})
    convert(graph, kept)
    for node in graph.graph:
        for value in node.inputs:
            array = constant(value)
            if array is not None and array.dtype.kind == "f" and node.name not in kept:
                assert array.dtype == np.float16, node.name
    assert not any(v.dtype == ir.DataType.FLOAT16 for v in (*graph.graph.inputs, *graph.graph.outputs))


def test_a_mean_of_several_stays_float():
    """TensorRT's parser makes of its factor, 1/N, a 0 in float16."""
    text = NETWORK.replace("GAIN", "1").replace("BACK", "1")
    model = onnx.parser.parse_model(text.replace("y = Tanh(mean)", "bent = Tanh(mean)\n  y = Mean(mean, bent)"))
    assert "Mean" in stay_float(ir.from_proto(model), {}).values()


def test_an_lstm_computes_in_float_from_weights_stored_in_float16():
    """TensorRT's parser, up to 10.6 at least, begins it with float32 states, whatever its weights are."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(1, 16, 4)), "r": rng.normal(size=(1, 16, 4)), "b": rng.normal(size=(1, 32))}
    lstm = onnx.helper.make_node("LSTM", ["x", *weights], ["steps"], name="lstm", hidden_size=4)
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [lstm, onnx.helper.make_node("Relu", ["steps"], ["y"])],
            "recurrent",
            [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [3, "batch", 4])],
            [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [3, 1, "batch", 4])],
            [onnx.numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    graph = ir.from_proto(model)
    kept = stay_float(graph, {})
    assert kept == {"lstm": "LSTM"}
    proto = halved(model, kept)
    stored = {i.name: onnx.numpy_helper.to_array(i) for i in proto.graph.initializer}
    assert sorted(a.size for a in stored.values()) == [32, 64, 64]
    assert all(a.dtype == np.float16 for a in stored.values())
    x = {"x": rng.normal(size=(3, 2, 4)).astype(np.float32)}
    found, expected = Session(rounded(proto)).output(x), Session(model).output(x)
    assert 0 < np.abs(found - expected).max() < 5e-3


def test_a_graph_in_float16_is_refused():
    with pytest.raises(ExportError, match="float16 already"):
        convert(ir.from_proto(halved(network(), set())), set())


@pytest.mark.parametrize(("magnitude", "kept"), [(32_700, 0), (32_800, 2)])
def test_a_value_of_more_than_half_of_65504_keeps_what_makes_and_reads_it_in_float(magnitude, kept):
    reasons = list(stay_float(ir.from_proto(network()), {"grown": float(magnitude)}).values())
    assert reasons.count("range") == kept


FLOAT_ONLY = ("Softmax", "LogSoftmax", "Exp", "Log", "Sqrt", "Reciprocal", "GlobalAveragePool")
FLOAT_ONLY += ("ReduceSum", "ReduceProd", "ReduceL2", "ReduceSumSquare")


@pytest.mark.parametrize("op_type", FLOAT_ONLY)
def test_what_adds_up_many_values_or_leaves_the_range_stays_in_float(op_type):
    text = NETWORK.replace("GAIN", "1").replace("BACK", "1")
    model = onnx.parser.parse_model(text.replace("positive = Relu(x)", f"[added] positive = {op_type}(x)"))
    assert stay_float(ir.from_proto(model), {})["added"] == op_type
