"""Opset, fixed batch and softmax, on graphs written by hand."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.recognizer import softmax
from export import structure
from export.errors import ExportError
from export.head import Head
from export.passes import fix_batch, pin_versions
from export.session import Session

NETWORK = """<ir_version: 8, opset_import: ["" : OPSET]>
agraph (float[batch,3] x) => (float[batch,2] logits) <float[3,2] u = {1,2,0,-1,3,1}> {
  product = MatMul(x, u)
  logits = Tanh(product)
}"""
LAYER_NORM = """<ir_version: 8, opset_import: ["" : OPSET]>
agraph (float[batch,3] x) => (float[batch,3] logits) <float[3] u = {1,2,3}> {
  logits = LayerNormalization(x, u)
}"""
DATA_DEPENDENT = """<ir_version: 8, opset_import: ["" : 17]>
agraph (float[batch,3] x) => (float[batch,n] logits) {
  found = NonZero(x)
  logits = Cast<to=1>(found)
}"""


def graph(text: str = NETWORK, opset: int = 17) -> ir.Model:
    return ir.from_proto(onnx.parser.parse_model(text.replace("OPSET", str(opset))))


@given(
    seed=st.integers(0, 2**32 - 1), temperature=st.floats(0.1, 10), batch=st.integers(1, 4), opset=st.integers(13, 21)
)
@settings(max_examples=20)
def test_softmax_in_the_graph_is_the_softmax_of_the_device(seed, temperature, batch, opset):
    plain, model = graph(opset=opset), graph(opset=opset)
    head = Head(True, temperature)
    head.append_to(model)
    structure.check(model)
    assert [output.name for output in model.graph.outputs] == [head.output] == ["probabilities"]
    feeds = {"x": np.random.default_rng(seed).normal(size=(batch, 3)).astype(np.float32)}
    logits, found = Session(ir.to_proto(plain)).output(feeds), Session(ir.to_proto(model)).output(feeds)
    np.testing.assert_allclose(found, softmax(logits / temperature), atol=1e-5)
    np.testing.assert_allclose(head.of_logits(logits), softmax(logits / temperature))
    np.testing.assert_allclose(head.of_traced(logits), found, atol=1e-5)


def test_without_softmax_nothing_is_appended():
    model, head = graph(), Head(False, 2.0)
    head.append_to(model)
    assert [node.op_type for node in model.graph] == ["MatMul", "Tanh"]
    assert head.output == "logits" and head.of_logits(np.ones(2)).tolist() == [1, 1]


@pytest.mark.parametrize("opset", [13, 16])
def test_an_operator_that_came_later_is_refused_with_its_opset(opset):
    with pytest.raises(ExportError, match=rf"opset {opset} has no LayerNormalization(.|\n)*--opset=17 or higher"):
        structure.check(graph(LAYER_NORM, opset))


@pytest.mark.parametrize("opset", [17, 21])
def test_an_operator_that_is_there_is_accepted(opset):
    structure.check(graph(LAYER_NORM, opset))


@pytest.mark.parametrize(("opset", "version"), [(13, 7), (17, 8), (19, 9), (21, 10)])
def test_the_file_version_is_the_oldest_that_goes_with_the_opset(opset, version):
    model = graph(opset=opset)
    pin_versions(model)
    assert model.ir_version == version
    structure.check(model)


@given(batch=st.integers(1, 5), count=st.integers(1, 12), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_a_fixed_batch_has_no_dynamic_shape_and_takes_any_number_of_clips_here(batch, count, seed):
    plain, model = graph(), graph()
    fix_batch(model, batch)
    structure.check(model)
    proto = ir.to_proto(model)
    dims = [d for v in (*proto.graph.input, *proto.graph.output) for d in v.type.tensor_type.shape.dim]
    assert not any(d.dim_param for d in dims)
    feeds = {"x": np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)}
    session = Session(proto)
    assert session.batch == batch
    np.testing.assert_allclose(session.output(feeds), Session(ir.to_proto(plain)).output(feeds), rtol=1e-6)


def test_a_shape_that_depends_on_the_data_is_refused_in_a_fixed_batch_only():
    model = graph(DATA_DEPENDENT)
    structure.check(model)
    fix_batch(model, 2)
    with pytest.raises(ExportError, match="not: found, logits"):
        structure.check(model)
