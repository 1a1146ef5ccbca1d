"""Each graph pass: the outputs stay, the structure changes as it says."""

from __future__ import annotations

import errno
import tempfile
from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export import openvino, passes, structure
from export.errors import ExportError
from export.session import Session


def parse(text: str) -> onnx.ModelProto:
    """Return a model from ONNX's textual form of a graph."""
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{text}')


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def apply(model: onnx.ModelProto, *rewrites: passes.Pass) -> onnx.ModelProto:
    graph = ir.from_proto(model)
    for rewrite in rewrites:
        rewrite(graph)
    return ir.to_proto(graph)


def assert_equal(before: onnx.ModelProto, after: onnx.ModelProto, seed: int, batch: int) -> None:
    """Run both on random inputs; dynamic dimensions become `batch`."""
    rng = np.random.default_rng(seed)
    feeds = {
        entry.name: rng.normal(size=[d.dim_value or batch for d in entry.type.tensor_type.shape.dim]).astype(np.float32)
        for entry in before.graph.input
    }
    expected, found = Session(before).run(feeds), Session(after).run(feeds)
    assert [o.name for o in before.graph.output] == [o.name for o in after.graph.output]
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5)


# Each graph shows one pattern; `y` also where it must be left alone.
SHAPES = """agraph (float[batch,4] x) => (float[batch,2] y)
<float zero = {0}, int64[1] two = {2}, int64[1] first = {0}> {
  shape = Shape(x)
  batch = Gather(shape, first)
  target = Concat<axis=0>(batch, two)
  y = Expand(zero, target)
}"""
RESHAPED_GEMM = """agraph (float[batch,3,2] x) => (float[batch,3,4] y)
<float[4,2] u = {1,2,3,4,5,6,7,8}, float[4] b = {1,2,3,4}, int64[2] flat = {-1,2}, int64[1] four = {4},
 int64[1] zero = {0}, int64[1] two = {2}> {
  rows = Reshape(x, flat)
  product = Gemm<transB=1>(rows, u, b)
  shape = Shape(x)
  lead = Slice(shape, zero, two)
  target = Concat<axis=0>(lead, four)
  y = Reshape(product, target)
}"""
PADDED_POOL = """agraph (float[batch,2,4,4,4] x) => (float[batch,2,2,2,2] y)
<int64[10] pads = {0,0,1,1,1,0,0,1,1,1}, float zero = {0}> {
  positive = Relu(x)
  padded = Pad(positive, pads, zero)
  y = MaxPool<kernel_shape=[3,3,3], strides=[2,2,2], auto_pad="VALID">(padded)
}"""
TRANSPOSED_SUM = """agraph (float[batch,3,2,4,5] x) => (float[batch,3] y) <int64[3] axes = {1,2,3}> {
  last = Transpose<perm=[0,2,3,4,1]>(x)
  positive = Relu(last)
  y = ReduceSum<keepdims=0>(positive, axes)
}"""

GEMM_WITHOUT_BIAS = """agraph (float[batch,2] x) => (float[batch,4] y)
<float[2,4] u = {1,2,3,4,5,6,7,8}, float zero = {0}> {
  positive = Relu(x)
  y = Gemm<alpha=1.0, beta=0.0>(positive, u, zero)
}"""

STEPS_GATHERED = """agraph (float[batch,4,2] x) => (float[batch,2,4] y)
<int64[2] some = {0,1}, int64[2] others = {1,0}> {
  first = Transpose<perm=[1,0,2]>(x)
  a = Gather<axis=0>(first, some)
  b = Gather<axis=0>(first, others)
  taps = Concat<axis=2>(a, b)
  y = Transpose<perm=[1,0,2]>(taps)
}"""
WEIGHTS = [number % 7 - 3 for number in range(24)]
TWO_LSTMS = """agraph (float[4,batch,3] x) => (float[batch,4,2] y)
<float[2,4,3] w = {ALL}, float[2,4,1] r = {1,-1,2,0,1,0,-2,1}, float[2,4,2] v = {SOME}, int64[3] joined = {0,0,2}> {
  one = LSTM<hidden_size=1, direction="bidirectional">(x, w, r)
  apart = Transpose<perm=[2,0,1,3]>(one)
  hidden = Reshape(apart, joined)
  steps = Transpose<perm=[1,0,2]>(hidden)
  two = LSTM<hidden_size=1, direction="bidirectional">(steps, v, r)
  last = Transpose<perm=[2,0,1,3]>(two)
  y = Reshape(last, joined)
}""".replace("ALL", str(WEIGHTS)[1:-1]).replace("SOME", str(WEIGHTS[:16])[1:-1])

PATTERNS = {
    "steps gathered": (STEPS_GATHERED, passes.gather_steps_in_place, {"Gather": 2, "Concat": 1}),
    "lstm after lstm": (
        TWO_LSTMS,
        passes.keep_time_first_between_lstms,
        {"LSTM": 2, "Transpose": 2, "Reshape": 2},
    ),
    "gemm without bias": (GEMM_WITHOUT_BIAS, passes.write_products_as_matmul, {"Relu": 1, "MatMul": 1}),
    "reshaped gemm": (RESHAPED_GEMM, passes.write_products_as_matmul, {"MatMul": 1, "Add": 1}),
    "padded pool": (PADDED_POOL, passes.pad_inside_max_pool, {"Relu": 1, "MaxPool": 1}),
    "transposed sum": (TRANSPOSED_SUM, passes.absorb_transpose_into_sum, {"Relu": 1, "ReduceSum": 1}),
}


@pytest.mark.parametrize("pattern", PATTERNS)
@given(seed=st.integers(0, 2**32 - 1), batch=st.integers(1, 4))
@settings(max_examples=10, deadline=None)
def test_pass_rewrites_its_pattern_and_keeps_the_outputs(pattern, seed, batch):
    text, rewrite, left = PATTERNS[pattern]
    before = parse(text)
    after = apply(before, rewrite, passes.remove_unused)
    onnx.checker.check_model(after, full_check=True)
    assert dict(operators(after)) == left
    assert_equal(before, after, seed, batch)


LOOKALIKES = {
    "gemm with a bias": (GEMM_WITHOUT_BIAS.replace("beta=0.0", "beta=1.0"), passes.write_products_as_matmul),
    "gemm without bias, halved": (GEMM_WITHOUT_BIAS.replace("alpha=1.0", "alpha=0.5"), passes.write_products_as_matmul),
    "gemm that is scaled": (RESHAPED_GEMM.replace("transB=1", "transB=1, alpha=0.5"), passes.write_products_as_matmul),
    "padding below zero": (PADDED_POOL.replace("Relu(x)", "Identity(x)"), passes.pad_inside_max_pool),
    "padding of ones": (PADDED_POOL.replace("zero = {0}", "zero = {1}"), passes.pad_inside_max_pool),
    "order lost": (
        TRANSPOSED_SUM.replace("0,2,3,4,1", "1,2,3,4,0").replace("float[batch,3] y", "float[3,batch] y"),
        passes.absorb_transpose_into_sum,
    ),
    "padding of its own": (
        PADDED_POOL.replace('auto_pad="VALID"', "pads=[1,1,1,0,0,0]").replace("batch,2,2,2,2", "batch,2,3,3,3"),
        passes.pad_inside_max_pool,
    ),
    "padding as wide as the window": (
        PADDED_POOL.replace("{0,0,1,1,1,0,0,1,1,1}", "{0,0,3,3,3,0,0,3,3,3}").replace("batch,2,2,2,2", "batch,2,4,4,4"),
        passes.pad_inside_max_pool,
    ),
    "padded channels": (
        PADDED_POOL.replace("{0,0,1,1,1,0,0,1,1,1}", "{0,1,1,1,1,0,1,1,1,1}").replace("batch,2,2,2,2", "batch,4,2,2,2"),
        passes.pad_inside_max_pool,
    ),
    "gemm with half of its bias": (
        RESHAPED_GEMM.replace("transB=1", "transB=1, beta=0.5"),
        passes.write_products_as_matmul,
    ),
    "gemm between other rows": (
        """agraph (float[2,3,2] x) => (float[3,2,4] y)
<float[4,2] u = {1,2,3,4,5,6,7,8}, float[4] b = {1,2,3,4}, int64[2] flat = {-1,2}, int64[3] target = {3,2,4}> {
  rows = Reshape(x, flat)
  product = Gemm<transB=1>(rows, u, b)
  y = Reshape(product, target)
}""",
        passes.write_products_as_matmul,
    ),
    "gemm without bias, transposed": (
        GEMM_WITHOUT_BIAS.replace("alpha=1.0", "transB=1, alpha=1.0").replace("float[2,4] u", "float[4,2] u"),
        passes.write_products_as_matmul,
    ),
    "steps that are read twice": (
        STEPS_GATHERED.replace("[batch,2,4] y", "[batch,2,4] y, float[2,batch,2] a"),
        passes.gather_steps_in_place,
    ),
    "features gathered": (
        STEPS_GATHERED.replace("Gather<axis=0>", "Gather<axis=2>").replace("[batch,2,4] y", "[batch,4,4] y"),
        passes.gather_steps_in_place,
    ),
    "steps one after the other": (
        STEPS_GATHERED.replace("Concat<axis=2>", "Concat<axis=0>").replace("[batch,2,4] y", "[batch,4,2] y"),
        passes.gather_steps_in_place,
    ),
    "steps in another order": (
        STEPS_GATHERED.replace("[1,0,2]>(taps)", "[1,2,0]>(taps)").replace("[batch,2,4] y", "[batch,4,2] y"),
        passes.gather_steps_in_place,
    ),
    "steps that were features": (
        STEPS_GATHERED.replace("[1,0,2]>(x)", "[2,0,1]>(x)").replace("[batch,2,4] y", "[batch,2,8] y"),
        passes.gather_steps_in_place,
    ),
    "layer that is read twice": (
        TWO_LSTMS.replace("[batch,4,2] y", "[batch,4,2] y, float[batch,4,2] hidden"),
        passes.keep_time_first_between_lstms,
    ),
    "directions inside features": (
        TWO_LSTMS.replace("[2,0,1,3]>(one)", "[2,0,3,1]>(one)"),
        passes.keep_time_first_between_lstms,
    ),
    "sizes that would name the clips": (
        TWO_LSTMS.replace("joined = {0,0,2}", "joined = {0,4,2}"),
        passes.keep_time_first_between_lstms,
    ),
    "axes kept": (
        TRANSPOSED_SUM.replace("keepdims=0", "keepdims=1").replace("float[batch,3] y", "float[batch,1,1,1,3] y"),
        passes.absorb_transpose_into_sum,
    ),
}


@pytest.mark.parametrize("lookalike", LOOKALIKES)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None)
def test_pass_leaves_lookalikes_alone(lookalike, seed):
    text, rewrite = LOOKALIKES[lookalike]
    before = parse(text)
    after = apply(before, rewrite, passes.remove_unused)
    assert operators(after) == operators(before)
    assert_equal(before, after, seed, batch=2)


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), batch=st.sampled_from([1, 3]))
def test_every_pass_keeps_the_outputs_of_a_network(fusion, seed, batch):
    before = apply(fusion.traced, passes.clear_annotations)
    for rewrite in passes.PASSES[1:]:
        after = apply(before, rewrite)
        assert_equal(before, after, seed, batch)
        before = after


def test_onnxruntime_folds_batch_norm(fusion):
    before = apply(fusion.traced, passes.clear_annotations)
    after = apply(before, passes.optimise_with_onnxruntime)
    assert operators(before)["BatchNormalization"] == 12
    assert operators(after)["BatchNormalization"] == 0
    assert operators(after)["Conv"] == operators(before)["Conv"] == 12


def test_network_is_channels_first_flat_and_free_of_shape_arithmetic(fusion):
    found = operators(fusion.graph)
    assert found["Conv"] == 12
    assert found["MaxPool"] == 1
    # ONNX's LSTM reads and gives time before clips. None on the video path: structure.check.
    assert found["Transpose"] == 2 * found["LSTM"]
    assert found["Reshape"] == found["LSTM"] == 2  # of both networks; it joins directions, to constant sizes
    for name in ("Loop", "Scan", "BatchNormalization", "Dropout", "Shape", "Expand", "Einsum"):
        assert found[name] == 0, name


def test_file_declares_versions_inputs_and_what_it_is(fusion):
    model = fusion.graph
    assert model.ir_version == 8
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert not model.graph.value_info
    shapes = {
        entry.name: [d.dim_param or d.dim_value for d in entry.type.tensor_type.shape.dim]
        for entry in [*model.graph.input, *model.graph.output]
    }
    assert shapes == {"video": ["batch", 1, 4, 16, 16], "skeleton": ["batch", 4, 75], "logits": ["batch", 5]}
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert set(properties) == {"labels", "preprocessing", "versions", "output", "format_version"}
    assert "kinect25" in properties["preprocessing"]
    assert properties["labels"] == '["wave", "clap", "throw", "push", "knock"]'


def test_same_trace_gives_the_same_file(fusion):
    once, again = (apply(fusion.traced, *passes.PASSES).SerializeToString() for _ in range(2))
    assert once == again


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TRANSPOSED_SUM.replace(" x", " video").replace("(x", "(video"), "Transpose"),
        (SHAPES, "Shape"),
        (GEMM_WITHOUT_BIAS, "alpha and beta must be 1"),
        (PADDED_POOL.replace("Relu(x)", "Nonsense(x)"), "not valid ONNX"),
    ],
)
def test_unfit_graphs_are_refused(text, message):
    with pytest.raises(ExportError, match=message):
        structure.check(ir.from_proto(parse(text)))


def no_room(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_fills_while_openvino_writes_is_asked_about(monkeypatch):
    def no_room(*_, **__):
        raise RuntimeError("Can't write the bin file")

    monkeypatch.setattr(openvino._openvino(), "save_model", no_room)
    with pytest.raises(ExportError, match=rf"write it to {tempfile.gettempdir()}.*\(is there room\?\)"):
        openvino.convert(parse(GEMM_WITHOUT_BIAS))


@pytest.mark.parametrize(
    ("place", "rewrite"),
    [
        ("export.passes.onnxruntime.InferenceSession", lambda m: passes.optimise_with_onnxruntime(ir.from_proto(m))),
        ("export.openvino.onnx.save", openvino.convert),
    ],
)
def test_a_full_temporary_folder_is_one_clear_error(monkeypatch, place, rewrite):
    monkeypatch.setattr(place, no_room)
    with pytest.raises(ExportError, match=rf"(write it|written) to {tempfile.gettempdir()}.*No space left"):
        rewrite(parse(GEMM_WITHOUT_BIAS))


LOOP = """agraph (float[2] x) => (float[2] y) <int64 trips = {2}, bool go = {1}> {
  y = Loop (trips, go, x) <body = body (int64 i, bool go_in, float[2] v) => (bool go_out, float[2] w) {
    go_out = Identity (go_in)
    w = Abs (v)
  }>
}"""
SCAN = """agraph (float[3,2] x) => (float[3,2] y) {
  y = Scan (x) <num_scan_inputs = 1, body = body (float[2] v) => (float[2] w) { w = Abs (v) }>
}"""
BRANCH = """agraph (float[2] x, bool which) => (float[2] y) {
  y = If (which) <
    then_branch = one () => (float[2] a) { a = Abs (x) }, else_branch = other () => (float[2] b) { b = Neg (x) }
  >
}"""
DROPOUT = "agraph (float[2] x) => (float[2] y) { y = Dropout(x) }"
HALVED_GEMM = GEMM_WITHOUT_BIAS.replace("alpha=1.0, beta=0.0", "alpha=0.5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LOOP, "Loop .*: engines run a loop"),
        (SCAN, "Scan .*: engines run a loop"),
        (BRANCH, "If .*: engines run a branch"),
        (DROPOUT, "Dropout .*: it has no place"),
        (HALVED_GEMM, "alpha and beta must be 1"),
    ],
    ids=["loop", "scan", "branch", "dropout", "gemm that is scaled"],
)
def test_each_operator_that_does_not_belong_is_refused(text, message):
    with pytest.raises(ExportError, match=message):
        structure.check(ir.from_proto(parse(text)))
