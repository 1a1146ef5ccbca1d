"""The int8 graph for CPUs: the same numbers from folded frames, and int8 from the stem on."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.calibration import Calibrator, int8_scale
from export.cpu_graph import fold_stem, for_cpu, pool_in_int8, stem_inputs
from export.inputs import to_feeds
from export.layers import layer_names
from export.passes import constant
from export.quantize import plan, quantize
from export.residual import behind_qdq, is_stem, kernel_size, video_convs
from export.session import Session


def convolution(shape, weight, strides, pads, group=1) -> onnx.ModelProto:
    """Return a model of one 3D convolution of a video of any number of clips."""
    video = onnx.helper.make_tensor_value_info("video", onnx.TensorProto.FLOAT, ["batch", *shape])
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    node = onnx.helper.make_node("Conv", ["video", "w"], ["y"], name="stem", strides=strides, pads=pads, group=group)
    kernel = onnx.numpy_helper.from_array(weight, "w")
    graph = onnx.helper.make_graph([node], "one", [video], [output], [kernel])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def folded(model: onnx.ModelProto) -> ir.Model:
    graph = ir.from_proto(model)
    fold_stem(graph)
    return graph


@st.composite
def stems(draw):
    """A video's shape, and a convolution over it that takes every second row and column."""
    channels, out, frames = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    height, width = (2 * draw(st.integers(3, 6)) for _ in range(2))
    window = [draw(st.integers(1, frames)), draw(st.integers(1, 6)), draw(st.integers(1, 6))]
    pads = [draw(st.integers(0, size)) for size in (*window, *window)]
    weight = np.random.default_rng(draw(st.integers(0, 99))).normal(size=(out, channels, *window)).astype(np.float32)
    return (channels, frames, height, width), weight, [draw(st.integers(1, 2)), 2, 2], pads


@settings(deadline=None, max_examples=60)
@given(stems(), st.integers(1, 3))
def test_folding_leaves_the_numbers(stem, batch):
    model = convolution(*stem)
    graph = folded(model)
    (conv,) = video_convs(graph)
    assert conv.attributes["strides"].as_ints()[1:] == (1, 1)
    assert constant(conv.inputs[1]).shape[1] == 4 * stem[0][0]
    video = np.random.default_rng(batch).normal(size=(batch, *stem[0])).astype(np.float32)
    (expected,), (found,) = (Session(m).run({"video": video}) for m in (model, ir.to_proto(graph)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "strides", "group"),
    [((9, 12), [2, 2, 2], 1), ((12, 9), [2, 2, 2], 1), ((12, 12), [2, 1, 2], 1), ((12, 12), [2, 2, 2], 2)],
    ids=["odd height", "odd width", "every row", "grouped"],
)
def test_what_cannot_be_folded_stays(size, strides, group):
    weight = np.ones((2, 2 // group, 3, 3, 3), np.float32)
    graph = folded(convolution((2, 4, *size), weight, strides, [1] * 6, group))
    assert [node.op_type for node in graph.graph] == ["Conv"]


def test_only_stems_are_folded(fusion):
    graph = ir.from_proto(fusion.graph)
    strides = [conv.attributes["strides"].as_ints() for conv in video_convs(graph)]
    assert sum(s[1:] == (2, 2) for s in strides) > 1
    fold_stem(graph)
    assert [conv.attributes["strides"].as_ints() for conv in video_convs(graph)[1:]] == strides[1:]


@pytest.fixture(scope="module")
def scales(fusion) -> dict[str, np.float32]:
    """The step of each tensor that is in int8 on a CPU."""
    names = plan(ir.from_proto(fusion.graph), stem=True).activations
    calibrator = Calibrator(fusion.graph, names, fusion.inputs, fusion.clips)
    return {name: int8_scale(range_) for name, range_ in calibrator.largest(calibrator.choose(10)).items()}


def test_what_a_stem_reads_is_all_that_has_no_scale_yet(fusion):
    assert stem_inputs(fusion.graph) == ("video",)


def test_a_pool_in_int8_gives_the_very_same_numbers(fusion, scales):
    graph = ir.from_proto(fusion.graph)
    quantize(graph, plan(graph), scales.__getitem__)
    before = ir.to_proto(graph)
    pool_in_int8(graph)
    (pool,) = (node for node in graph.graph if node.op_type == "MaxPool")
    assert pool.inputs[0].producer().op_type == "DequantizeLinear"
    feeds = to_feeds(fusion.inputs, [clip.inputs for clip in fusion.clips.load("test")])
    np.testing.assert_array_equal(Session(ir.to_proto(graph)).output(feeds), Session(before).output(feeds))


def test_a_pool_that_a_float_layer_reads_too_stays_in_float(fusion, scales):
    graph = ir.from_proto(fusion.graph)
    quantize(graph, plan(graph, layer_names(fusion.graph)[1:]), scales.__getitem__)
    before = ir.to_proto(graph)
    (pool,) = (node for node in graph.graph if node.op_type == "MaxPool")
    assert {use.node.op_type for use in pool.outputs[0].uses()} == {"Conv", "QuantizeLinear"}  # else it shows nothing
    pool_in_int8(graph)
    feeds = to_feeds(fusion.inputs, [clip.inputs for clip in fusion.clips.load("test")])
    np.testing.assert_array_equal(Session(ir.to_proto(graph)).output(feeds), Session(before).output(feeds))


def test_on_a_cpu_every_convolution_is_int8_and_the_answer_is_nearly_that_of_float(fusion, scales):
    model = for_cpu(fusion.graph, layer_names(fusion.graph), scales.__getitem__)
    onnx.checker.check_model(model, full_check=True)
    convs = video_convs(ir.from_proto(model))
    assert [is_stem(conv) for conv in convs] == [True] + [False] * 11
    assert all(constant(behind_qdq(conv.inputs[1])).dtype == np.int8 for conv in convs)
    assert kernel_size(convs[0]) == (7, 4, 4)
    feeds = to_feeds(fusion.inputs, [clip.inputs for clip in fusion.clips.load("test")])
    expected, found = fusion.reference(feeds), Session(model).output(feeds)
    assert 0 < np.abs(found - expected).max() < 0.1 * np.abs(expected).max()
    (name,) = (entry.name for entry in model.graph.initializer if "_folded" in entry.name and len(entry.dims) == 5)
    assert len({entry.name for entry in model.graph.initializer}) == len(model.graph.initializer)
    assert name.removesuffix("_folded") not in {entry.name for entry in model.graph.initializer}


def test_layers_that_stay_in_float_stay_so_on_a_cpu(fusion, scales):
    first, *others = layer_names(fusion.graph)
    convs = video_convs(ir.from_proto(for_cpu(fusion.graph, tuple(others), scales.__getitem__)))
    kept = [conv.name for conv in convs if constant(conv.inputs[1]) is not None]
    assert kept == [first]


def test_a_dilated_stem_stays():
    model = convolution((2, 4, 12, 12), np.ones((2, 2, 3, 3, 3), np.float32), [2, 2, 2], [1] * 6)
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("dilations", [1, 2, 2]))
    assert [node.op_type for node in folded(model).graph] == ["Conv"]
