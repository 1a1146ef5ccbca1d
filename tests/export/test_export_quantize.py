"""INT8: where Q/DQ pairs are put, what the linter finds, and which clips are chosen."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.calibration import Calibration, Calibrator, calibrate
from export.clips import Entry, choose_stratified
from export.inputs import to_feeds
from export.lint import lint
from export.passes import constant
from export.quantize import plan, quantize, store_weights_in_int8, weight_scales
from export.residual import is_stem, kernel_size, residuals, video_convs
from export.session import Session


def calibration_of(exported, count: int) -> Calibration:
    placement = plan(ir.from_proto(exported.graph))
    calibrator = Calibrator(exported.graph, placement.activations, exported.inputs, exported.clips)
    return calibrate(calibrator, exported.run.labels, count, "max")


@pytest.fixture(scope="module")
def calibration(fusion) -> Calibration:
    return calibration_of(fusion, 10)


@pytest.fixture
def quantized(fusion, calibration) -> ir.Model:
    """A fresh int8 graph that a test may damage."""
    graph = ir.from_proto(fusion.graph)
    quantize(graph, plan(graph), calibration.scale)
    return graph


def node(graph: ir.Model, op_type: str, index: int = 0) -> ir.Node:
    return [n for n in graph.graph if n.op_type == op_type][index]


def restored(value: ir.Value) -> bool:
    producer = value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"


def test_every_convolution_but_the_stem_is_quantised(quantized):
    convs = video_convs(quantized)
    assert len(convs) == 12
    assert [is_stem(conv) for conv in convs] == [True] + [False] * 11
    for conv in convs:
        assert [restored(value) for value in conv.inputs] == [not is_stem(conv), not is_stem(conv), False]


def test_a_stem_that_reads_what_was_made_of_the_video_is_a_stem_too(fusion):
    graph = ir.from_proto(fusion.graph)
    before = [conv.name for conv in plan(graph).convs]
    stem = video_convs(graph)[0]
    change = ir.node("Sub", [stem.inputs[0], stem.inputs[0]], name="change")  # as between frames
    joined = ir.node("Sum", [stem.inputs[0], change.outputs[0]], name="joined")
    graph.graph.insert_before(stem, [change, joined])
    stem.replace_input_with(0, joined.outputs[0])
    assert [is_stem(conv) for conv in video_convs(graph)] == [True] + [False] * 11
    assert [conv.name for conv in plan(graph).convs] == before


def test_exactly_the_skip_input_of_each_add_is_quantised(quantized):
    found = residuals(quantized)
    assert len(found) == 4
    for residual in found:
        assert restored(residual.add.inputs[residual.skip_index])
        assert residual.add.inputs[1 - residual.skip_index].producer() is residual.main


PRODUCTS = """agraph (float[batch,64] x, float[batch,4,9,9] picture, float[batch,1,4,9,9] video) =>
  (float[batch,32] a, float[batch,32] b, float[batch,32] c, float[batch,4] d, float[batch,64,7,7] e,
   float[batch,64,1,6,6] f) {
  a = MatMul(x, w)
  b = Gemm(x, w)
  c = Gemm<transB=1>(x, v)
  e = Conv(picture, k)
  d = MatMul(x, small)
  f = Conv(video, kernel)
}"""
WEIGHTS = {"w": (64, 32), "v": (32, 64), "k": (64, 4, 3, 3), "small": (64, 4), "kernel": (64, 1, 4, 4, 4)}


def products() -> onnx.ModelProto:
    """Return a model of each kind of product, whose output channels differ in size by up to a million."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{PRODUCTS}')
    rng = np.random.default_rng(0)
    for name, shape in WEIGHTS.items():
        outputs = -1 if name in ("w", "small") else 0
        sizes = 10 ** rng.uniform(-3, 3, shape[outputs])
        array = np.moveaxis(np.moveaxis(rng.normal(size=shape), outputs, -1) * sizes, -1, outputs)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float32), name))
    return model


def test_weights_of_what_computes_in_float_are_stored_in_int8_by_output_channel():
    model = products()
    graph = ir.from_proto(model)
    assert store_weights_in_int8(graph) == 3
    stored = {value.name.removesuffix("_int8"): constant(value) for value in graph.graph.initializers.values()}
    assert {name for name, array in stored.items() if array.dtype == np.int8 and array.ndim > 1} == {"w", "v", "k"}
    assert stored["kernel"].dtype == np.float32
    restoring = Counter(n.inputs[0].name for n in graph.graph if n.op_type == "DequantizeLinear")
    assert restoring == {"w_int8": 1, "v_int8": 1, "k_int8": 1}  # once, however many read it
    assert lint(graph) == []
    shapes = {"x": (3, 64), "picture": (3, 4, 9, 9), "video": (3, 1, 4, 9, 9)}
    rng = np.random.default_rng(1)
    feeds = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    after = ir.to_proto(graph)
    onnx.checker.check_model(after, full_check=True)
    expected, found = Session(model).run(feeds), Session(after).run(feeds)
    for one, other in zip([*expected[:3], expected[4]], [*found[:3], found[4]], strict=True):
        channels = (0, *range(2, one.ndim))
        error = np.abs(other - one).max(axis=channels) / np.abs(one).max(axis=channels)
        assert 0 < error.max() < 0.03  # in each channel, the small ones too
    np.testing.assert_array_equal(found[3], expected[3])  # too small to be worth it
    np.testing.assert_array_equal(found[5], expected[5])  # of the video path


def test_a_layer_that_stays_in_float_keeps_its_weights(fusion, calibration):
    kept = plan(ir.from_proto(fusion.graph)).convs[0].name
    others = [conv.name for conv in plan(ir.from_proto(fusion.graph)).convs[1:]]
    graph = ir.from_proto(fusion.graph)
    quantize(graph, plan(graph, others), calibration.scale)
    store_weights_in_int8(graph)
    (conv,) = (conv for conv in video_convs(graph) if conv.name == kept)
    assert constant(conv.inputs[1]).dtype == np.float32


def test_projections_are_the_skip_and_not_the_main_branch(fusion):
    graph = ir.from_proto(fusion.graph)
    windows = [constant(residual.main.inputs[1]).shape[2:] for residual in residuals(graph)]
    assert windows == [(3, 3, 3)] * 4


def test_linter_is_content_with_float_and_with_int8(fusion, quantized):
    assert lint(ir.from_proto(fusion.graph)) == []
    assert lint(quantized) == []


def test_everything_outside_the_video_path_stays_float(quantized):
    for entry in quantized.graph:
        if entry.op_type in ("Gemm", "MatMul", "Relu", "MaxPool", "Sigmoid", "Tanh", "Concat"):
            assert not any(restored(value) for value in entry.inputs if value is not None), entry.name


def test_weights_are_stored_in_int8_with_a_scale_per_output_channel(quantized):
    for conv in video_convs(quantized)[1:]:
        stored, scale, zero = conv.inputs[1].producer().inputs
        assert constant(stored).dtype == constant(zero).dtype == np.int8
        assert constant(scale).shape == constant(zero).shape == constant(stored).shape[:1]
        assert np.abs(constant(stored)).max() == 127


@given(channels=st.integers(1, 5), exponent=st.integers(-6, 6), seed=st.integers(0, 2**32 - 1), blank=st.booleans())
def test_restored_weights_are_within_half_a_step(channels, exponent, seed, blank):
    weight = (np.random.default_rng(seed).normal(size=(channels, 2, 3, 3, 3)) * 10.0**exponent).astype(np.float32)
    weight[0] *= not blank
    steps = weight_scales(weight).reshape(-1, 1, 1, 1, 1)
    assert (np.abs(np.rint(weight / steps) * steps - weight) <= steps * 0.501).all()
    assert np.abs(np.rint(weight / steps)).max() <= 127


def test_int8_logits_are_close_to_float(fusion, quantized):
    feeds = to_feeds(fusion.inputs, [clip.inputs for clip in fusion.clips.load("train")])
    exact, approximate = Session(fusion.graph).output(feeds), Session(ir.to_proto(quantized)).output(feeds)
    assert 0 < np.abs(exact - approximate).max() < 0.2 * np.abs(exact).max()


# --- the linter on damaged graphs -------------------------------------------------------------------


def give_a_zero_point(graph: ir.Model) -> None:
    quantizer = node(graph, "QuantizeLinear")
    quantizer.inputs[2].const_value = ir.tensor(np.asarray(3, np.int8))


def drop_the_zero_point(graph: ir.Model) -> None:
    node(graph, "QuantizeLinear").replace_input_with(2, None)


def zero_a_scale(graph: ir.Model) -> None:
    node(graph, "QuantizeLinear").inputs[1].const_value = ir.tensor(np.zeros((), np.float32))


def restore_with_another_scale(graph: ir.Model) -> None:
    other = ir.Value(name="other", const_value=ir.tensor(np.asarray(0.7, np.float32)))
    graph.graph.register_initializer(other)
    node(graph, "QuantizeLinear").outputs[0].uses()[0].node.replace_input_with(1, other)


def read_int8_as_it_is(graph: ir.Model) -> None:
    quantizer = node(graph, "QuantizeLinear")
    cast = ir.node("Cast", [quantizer.outputs[0]], {"to": 1}, name="cast")
    graph.graph.insert_after(quantizer, cast)


def give_int8(graph: ir.Model) -> None:
    graph.graph.outputs.append(node(graph, "QuantizeLinear").outputs[0])


def scale_whole_weights(graph: ir.Model) -> None:
    dequantizer = video_convs(graph)[1].inputs[1].producer()
    dequantizer.inputs[1].const_value = ir.tensor(np.asarray(0.1, np.float32))


def scale_weights_along_axis_1(graph: ir.Model) -> None:
    video_convs(graph)[1].inputs[1].producer().attributes["axis"] = ir.AttrInt64("axis", 1)


def leave_weights_in_float(graph: ir.Model) -> None:
    conv = video_convs(graph)[1]
    weight = ir.Value(name="float_weight", const_value=ir.tensor(np.zeros((4, 4, 3, 3, 3), np.float32)))
    graph.graph.register_initializer(weight)
    conv.replace_input_with(1, weight)


def _pair(graph: ir.Model, value: ir.Value, before: ir.Node) -> ir.Value:
    scale, zero = node(graph, "QuantizeLinear").inputs[1:]
    quantizer = ir.node("QuantizeLinear", [value, scale, zero], name="extra_quantize")
    dequantizer = ir.node("DequantizeLinear", [quantizer.outputs[0], scale, zero], name="extra_dequantize")
    graph.graph.insert_before(before, [quantizer, dequantizer])
    return dequantizer.outputs[0]


def quantise_the_input_of(op_type: str):
    def damage(graph: ir.Model) -> None:
        reader = node(graph, op_type)
        reader.replace_input_with(0, _pair(graph, reader.inputs[0], reader))

    damage.__name__ = f"quantise_the_input_of_{op_type}"
    return damage


def quantise_a_bias(graph: ir.Model) -> None:
    conv = video_convs(graph)[1]
    conv.replace_input_with(2, _pair(graph, conv.inputs[2], conv))


def quantise_the_main_branch(graph: ir.Model) -> None:
    residual = residuals(graph)[0]
    index = 1 - residual.skip_index
    residual.add.replace_input_with(index, _pair(graph, residual.add.inputs[index], residual.add))


def leave_the_skip_in_float(graph: ir.Model) -> None:
    residual = residuals(graph)[0]
    value = residual.skip.producer().inputs[0].producer().inputs[0]
    residual.add.replace_input_with(residual.skip_index, value)


def make_grouped(graph: ir.Model) -> None:
    video_convs(graph)[1].attributes["group"] = ir.AttrInt64("group", 4)


def give_an_unsigned_zero_point(graph: ir.Model) -> None:
    node(graph, "QuantizeLinear").inputs[2].const_value = ir.tensor(np.asarray(0, np.uint8))


def give_an_infinite_scale(graph: ir.Model) -> None:
    node(graph, "QuantizeLinear").inputs[1].const_value = ir.tensor(np.asarray(np.inf, np.float32))


def leave_out_the_axis_of_weights(graph: ir.Model) -> None:
    video_convs(graph)[1].inputs[1].producer().attributes.pop("axis")


def store_a_bias_in_int32(graph: ir.Model) -> None:
    bias = ir.Value(
        name="int32_bias", type=ir.TensorType(ir.DataType.INT32), const_value=ir.tensor(np.zeros(4, np.int32))
    )
    graph.graph.register_initializer(bias)
    video_convs(graph)[1].replace_input_with(2, bias)


def leave_the_block_of_a_skip_in_float(graph: ir.Model) -> None:
    conv = residuals(graph)[0].main
    weight = ir.Value(name="float_weight", const_value=ir.tensor(np.zeros((4, 4, 3, 3, 3), np.float32)))
    graph.graph.register_initializer(weight)
    conv.replace_input_with(0, conv.inputs[0].producer().inputs[0].producer().inputs[0])
    conv.replace_input_with(1, weight)


def make_a_projection_grouped(graph: ir.Model) -> None:
    conv = next(conv for conv in video_convs(graph) if kernel_size(conv) == (1, 1, 1))
    assert constant(conv.inputs[1].producer().inputs[0]).shape[0] % 8 == 0
    conv.attributes["group"] = ir.AttrInt64("group", 4)


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        (give_a_zero_point, "symmetric"),
        (drop_the_zero_point, "symmetric"),
        (zero_a_scale, "positive-scales"),
        (restore_with_another_scale, "pairs"),
        (read_int8_as_it_is, "pairs"),
        (give_int8, "pairs"),
        (scale_whole_weights, "weights-per-channel"),
        (scale_weights_along_axis_1, "weights-per-channel"),
        (leave_weights_in_float, "whole-convolutions"),
        (quantise_a_bias, "biases-in-float"),
        (quantise_the_input_of("Conv"), "stem-in-float"),
        (quantise_the_input_of("Relu"), "conv-next-to-relu"),
        (quantise_the_input_of("Gemm"), "only-convolutions"),
        (quantise_the_main_branch, "skip-input-only"),
        (leave_the_skip_in_float, "skip-input-only"),
        (make_grouped, "grouped"),
        (give_an_unsigned_zero_point, "symmetric"),
        (give_an_infinite_scale, "positive-scales"),
        (leave_out_the_axis_of_weights, "weights-per-channel"),
        (store_a_bias_in_int32, "biases-in-float"),
        (leave_the_block_of_a_skip_in_float, "skip-input-only"),
        (make_a_projection_grouped, "grouped"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_linter_names_the_broken_rule_and_node(quantized, damage, rule):
    damage(quantized)
    found = lint(quantized)
    assert rule in {violation.rule for violation in found}
    assert all(violation.node for violation in found)


# --- which clips -------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(
    recordings=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), min_size=1, max_size=60),
    count=st.integers(1, 70),
    order=st.randoms(use_true_random=False),
)
def test_choice_is_stratified_and_does_not_depend_on_order(recordings, count, order):
    entries = [Entry(f"r{i}", subject, label) for i, (label, subject) in enumerate(recordings)]
    chosen = choose_stratified(entries, count)
    order.shuffle(entries)
    assert choose_stratified(entries, count) == chosen
    assert len(set(chosen)) == len(chosen) == min(count, len(entries))
    available, taken = Counter(e.label for e in entries), Counter(e.label for e in chosen)
    fullest = max(taken.values())
    for label, there in available.items():
        assert taken[label] >= min(there, fullest - 1)
    for label in available:
        subjects = {e.subject for e in entries if e.label == label}
        assert len({e.subject for e in chosen if e.label == label}) == min(len(subjects), taken[label])


def test_skeleton_network_has_nothing_to_quantise(skeleton_only):
    assert plan(ir.from_proto(skeleton_only.graph)).convs == ()


@pytest.mark.parametrize(
    ("channels", "window", "groups", "int8"),
    [(8, 3, 8, True), (16, 3, 4, True), (12, 3, 4, False), (8, 1, 8, False), (8, 2, 8, False), (12, 1, 1, True)],
)
def test_a_grouped_convolution_is_int8_where_tensorrt_has_a_kernel(channels, window, groups, int8):
    """Depthwise ones of a separable block: output channels in multiples of 8, windows of at least 3."""
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
    agraph (float[batch,1,4,6,6] video) => (float[batch,{channels},a,b,c] y) {{
      stem = Conv(video, stem_kernel)
      [conv] y = Conv<group={groups}>(stem, kernel)
    }}"""
    model = onnx.parser.parse_model(text)
    shapes = {"stem_kernel": (channels, 1, 1, 1, 1), "kernel": (channels, channels // groups, *[window] * 3)}
    for name, shape in shapes.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(shape, np.float32), name))
    assert [conv.name for conv in plan(ir.from_proto(model)).convs] == ["conv"] * int8


def test_what_no_convolution_made_is_no_skip_of_a_residual():
    text = """<ir_version: 8, opset_import: ["" : 17]>
    agraph (float[batch,1,4,6,6] video) => (float[batch,8,4,6,6] y) {
      a = Conv(video, stem)
      b = Conv(a, kernel)
      y = Add(b, offset)
    }"""
    model = onnx.parser.parse_model(text)
    for name, shape in {"stem": (8, 1, 1, 1, 1), "kernel": (8, 8, 1, 1, 1), "offset": (8, 1, 1, 1)}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(shape, np.float32), name))
    graph = ir.from_proto(model)
    assert residuals(graph) == []
    quantize(graph, plan(graph), lambda _: np.float32(0.1))
    assert lint(graph) == []


def test_a_weight_with_one_number_a_channel_stays_in_float():
    """A scale for each number: nothing would be gained."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]>\n'
        "agraph (float[batch,1] x) => (float[batch,4096] y) { y = MatMul(x, w) }"
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((1, 4096), np.float32), "w"))
    graph = ir.from_proto(model)
    assert store_weights_in_int8(graph) == 0
    assert constant(node(graph, "MatMul").inputs[1]).dtype == np.float32
