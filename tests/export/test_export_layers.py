"""INT8 layer by layer: what each costs, which stay in float, and what is lost in the end."""

from __future__ import annotations

import io
import types

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from export import max_drop
from export.accuracy import McNemar, accuracy_of, mcnemar
from export.calibration import Calibrator, calibrate
from export.calibrator_choice import score
from export.errors import ExportError
from export.formats import Options
from export.head import Head
from export.int8 import make_int8
from export.layer_loss import Loss, loss, measure, ranked
from export.layers import describe, layer_names, match
from export.lint import Violation, lint
from export.outputs import Score, evaluate, log_probabilities, score_of, to_samples
from export.product import Job, Product
from export.quantize import plan
from export.residual import behind_qdq, video_convs
from export.session import Session
from export.steps import Steps
from tests.export.conftest import LABELS
from tests.export.layered import FEATURES, LAYERS, Patterns, make_inputs, make_run, network


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def inputs(run):
    return make_inputs(run)


@pytest.fixture(scope="module")
def sound(inputs) -> onnx.ModelProto:
    return network(inputs)


@pytest.fixture(scope="module")
def damaged(inputs) -> onnx.ModelProto:
    """Of which int8 destroys conv_c."""
    return network(inputs, ["conv_c"])


@pytest.fixture(scope="module")
def samples(inputs):
    return to_samples(inputs, Patterns().load("train"))


def calibrator_of(model, inputs) -> Calibrator:
    return Calibrator(model, plan(ir.from_proto(model)).activations, inputs, Patterns())


def scale_of(model, inputs):
    return calibrate(calibrator_of(model, inputs), LABELS, 10, "max").scale


def quantized_layers(model: onnx.ModelProto) -> set[str]:
    return {c.name for c in video_convs(ir.from_proto(model)) if behind_qdq(c.inputs[1]) is not c.inputs[1]}


def int8_of(model, inputs, run, **options) -> tuple[Product, str]:
    """Return the int8 product of a float model, and what was printed."""
    compute, console = Session(model).output, Console(file=io.StringIO(), width=200)
    checked = [clip.inputs for clip in Patterns().load("train", ["a1_s1_t1", "a2_s1_t1"])]
    options = Options(**{"calibration_clips": 15, "calibrator": "max", **options})
    base = Product(model.SerializeToString(), compute, "", onnx=model)
    job = Job(run, inputs, Patterns(), options, Head(False, 1.0), compute, checked, {}, Steps(console), True, {})
    job.products["onnx-fp32"] = base
    return make_int8(job), console.file.getvalue()


# --- the measure ------------------------------------------------------------------------------------


def log_softmax(values):
    values = np.asarray(values, np.float64)
    return values - np.logaddexp.reduce(values, axis=1, keepdims=True)


def test_a_tenth_less_of_the_logits_is_20_decibel():
    found = loss(log_softmax([[3, -3]]), log_softmax([[2.7, -2.7]]), [0])
    assert found.sqnr_db == pytest.approx(20)
    p = 1 / (1 + np.exp(-6))
    q = 1 / (1 + np.exp(-5.4))
    assert found.kl == pytest.approx(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))
    assert found.score == Score(1.0, pytest.approx(-np.log(q)))


def test_all_clips_count_by_their_energy():
    exact, found = log_softmax([[3, -3], [1, -1]]), log_softmax([[3, -3], [0, 0]])
    assert loss(exact, found, [0, 0]).sqnr_db == pytest.approx(10 * np.log10(20 / 2))


@given(shift=st.floats(-50, 50), seed=st.integers(0, 2**32 - 1))
def test_a_shift_of_all_logits_changes_nothing(shift, seed):
    logits = np.random.default_rng(seed).normal(size=(3, 5))
    found = loss(log_softmax(logits), log_softmax(logits + shift), [0, 1, 2])
    assert (found.sqnr_db is None or found.sqnr_db > 200) and found.kl < 1e-9


def test_no_change_is_no_number_and_ranks_last():
    same = log_softmax([[1, 2]])
    assert loss(same, same, [1]).sqnr_db is None
    losses = {
        "same": Loss(None, 0.0, Score(1, 0)),
        "mild": Loss(40.0, 0.1, Score(1, 0)),
        "harsh": Loss(3.0, 0.1, Score(1, 0)),
        "as harsh": Loss(3.0, 0.2, Score(1, 0)),
    }
    assert ranked(losses) == ["as harsh", "harsh", "mild", "same"]


def test_a_layer_that_int8_destroys_is_the_first_and_no_other_is_hurt(damaged, inputs, samples):
    told = []
    found = measure(damaged, LAYERS, scale_of(damaged, inputs), samples, lambda: told.append(1))
    first, *others = found.alone
    assert first == "conv_c" and set(others) == set(LAYERS) - {first}
    assert found.alone[first].sqnr_db < 10 < 20 < min(found.alone[name].sqnr_db for name in others)
    assert found.exact.top1 == 1 and found.alone[first].score.top1 < 1
    assert found.together.sqnr_db < 10
    assert len(told) == (len(LAYERS) + 2) * len(samples)


def test_without_damage_no_layer_is_hurt(sound, inputs, samples):
    found = measure(sound, LAYERS, scale_of(sound, inputs), samples)
    assert min(entry.sqnr_db for entry in found.alone.values()) > 20
    assert found.together.sqnr_db < min(entry.sqnr_db for entry in found.alone.values())


def test_logits_and_probabilities_tell_the_same(sound, inputs, samples):
    ending = network(inputs, softmax=True)
    plain, soft = (measure(m, LAYERS[:2], scale_of(m, inputs), samples[:6]) for m in (sound, ending))
    for name in LAYERS[:2]:
        assert soft.alone[name].sqnr_db == pytest.approx(plain.alone[name].sqnr_db, abs=0.2)
        assert soft.alone[name].score.nll == pytest.approx(plain.alone[name].score.nll, rel=0.01)
    exact = evaluate(sound, samples)
    found = score({"soft": ending}, inputs, Patterns().load("train"))["soft"]
    assert found.nll == pytest.approx(score_of(exact, [s.label for s in samples]).nll, rel=1e-3)


def test_a_probability_of_zero_is_a_small_one(inputs):
    found = log_probabilities(network(inputs, softmax=True), np.asarray([[1.0, 0.0]], np.float32))
    assert np.isfinite(found).all() and found[0, 1] < -80


# --- names and sizes --------------------------------------------------------------------------------


def test_layers_weigh_what_they_have(sound):
    found = describe(sound)
    assert tuple(found) == layer_names(sound) == LAYERS
    voxels, weights = 4 * 16 * 16, 8 * 8 * 27
    parameters = 8 * 27 + 8 + 4 * (weights + 8) + FEATURES * len(LABELS)
    macs = voxels * (8 * 27 + 4 * weights) + FEATURES * len(LABELS)
    for layer in found.values():
        assert (layer.parameters, layer.macs) == (weights + 8, voxels * weights)
        assert layer.parameter_share == pytest.approx((weights + 8) / parameters)
        assert layer.mac_share == pytest.approx(voxels * weights / macs)


RECURRENT = """agraph (float[batch,1,4,6,6] video, float[5,batch,3] x) => (float[batch,8,4,6,6] y, float[5,2,batch,2] z)
<float[8,1,1,1,1] stem, float[8,8,3,3,3] kernel, float[2,8,3] w, float[2,8,2] r> {
  a = Conv<kernel_shape=[1,1,1]>(video, stem)
  [conv] y = Conv<kernel_shape=[3,3,3], pads=[1,1,1,1,1,1]>(a, kernel)
  z = LSTM<hidden_size=2, direction="bidirectional">(x, w, r)
}"""


def test_every_step_of_an_lstm_counts():
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{RECURRENT}')
    for name, shape in {"stem": (8, 1, 1, 1, 1), "kernel": (8, 8, 3, 3, 3), "w": (2, 8, 3), "r": (2, 8, 2)}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(shape, np.float32), name))
    (layer,) = describe(model).values()
    conv, stem, lstm = 4 * 6 * 6 * 8 * 8 * 27, 4 * 6 * 6 * 8, 5 * 2 * 8 * (3 + 2)
    assert layer.macs == conv
    assert layer.mac_share == pytest.approx(conv / (conv + stem + lstm))


def test_patterns_are_those_of_fnmatch_and_the_first_counts():
    assert match(["*_b", "conv_[ab]"], LAYERS) == {"conv_a": "conv_[ab]", "conv_b": "*_b"}
    assert match([], LAYERS) == {}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("conv_e", "did you mean conv_d or conv_c"), ("zzz*", "there are conv_a, conv_b"), ("CONV_A", "there are conv_a")],
)
def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest(pattern, message):
    with pytest.raises(ExportError, match=f"matches no layer(.|\n)*{message}"):
        match(["conv_a", pattern], LAYERS)


# --- what stays in float ----------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [("conv_a",), ("conv_b",), ("conv_[cd]",), ("conv_b", "conv_d")])
def test_exactly_the_layers_kept_have_no_q_dq_and_the_linter_is_content(sound, inputs, run, kept):
    product, _ = int8_of(sound, inputs, run, keep_float=kept)
    names = set(match(kept, LAYERS))
    assert quantized_layers(product.onnx) == set(LAYERS) - names
    graph = ir.from_proto(product.onnx)
    assert lint(graph) == []
    (add,) = [node for node in graph.graph if node.op_type == "Add"]
    assert any(behind_qdq(value) is not value for value in add.inputs) == ("conv_b" not in names)
    recorded = product.details["layers"]
    assert recorded == product.calibration.to_json()["layers"]
    assert set(recorded["float"]) == names and recorded["int8"] == [n for n in LAYERS if n not in names]
    assert all(why.startswith("--keep_float=") for why in recorded["float"].values())
    read = {n.inputs[0].name for n in graph.graph if n.op_type == "QuantizeLinear"}
    assert set(product.calibration.scales) == read


def test_keeping_every_layer_is_refused(sound, inputs, run):
    with pytest.raises(ExportError, match="leaves no layer"):
        int8_of(sound, inputs, run, keep_float=("*",))


def test_max_drop_returns_the_damaged_layer_alone_and_says_so(damaged, inputs, run):
    product, printed = int8_of(damaged, inputs, run, max_drop=0.5)
    assert quantized_layers(product.onnx) == set(LAYERS) - {"conv_c"}
    found = product.details["layers"]["max_drop"]
    assert found["drop_points_before"] > 0.5 >= found["drop_points"] == 0
    assert [entry["layer"] for entry in found["returned"]] == ["conv_c"]
    assert (found["held_out_subject"], found["clips"], found["network_was_trained_on_it"]) == (3, 15, True)
    assert "conv_c stays in float: --max_drop=0.5: SQNR" in printed
    assert "0.00 points of top-1 lost (0.5 are allowed) on 15 clips of subject 3, where a clip is 6.67" in printed


def test_without_max_drop_such_a_layer_ends_the_export_with_the_way_out(damaged, inputs, run):
    with pytest.raises(ExportError, match=r"int8 changes too much(.|\n)*--max_drop=0.5, or --keep_float"):
        int8_of(damaged, inputs, run)


def test_max_drop_goes_on_top_of_keep_float(damaged, inputs, run):
    product, _ = int8_of(damaged, inputs, run, max_drop=0.0, keep_float=("conv_a",))
    assert quantized_layers(product.onnx) == {"conv_b", "conv_d"}
    assert list(product.details["layers"]["float"]) == ["conv_a", "conv_c"]


def test_within_the_budget_nothing_is_returned_and_no_layer_is_measured(sound, inputs, run, monkeypatch):
    monkeypatch.setattr(max_drop, "measure", lambda *_: pytest.fail("measured"))
    product, _ = int8_of(sound, inputs, run, max_drop=0.0)
    assert quantized_layers(product.onnx) == set(LAYERS)
    assert product.details["layers"]["max_drop"]["returned"] == ()


def test_layers_are_given_back_in_order_until_it_holds():
    asked = []

    def drop_of(int8):
        asked.append(tuple(int8))
        return {3: 4.0, 2: 1.0, 1: 0.0}[len(int8)]

    assert max_drop.give_back(["w", "x", "y", "z"], drop_of, 1.0) == {"w": 4.0, "x": 1.0}
    assert asked == [("x", "y", "z"), ("y", "z")]


@pytest.mark.parametrize(("order", "message"), [(["a"], "more of top-1 even with a"), (["a", "b"], "2.00 points")])
def test_a_budget_that_no_layer_holds_is_refused(order, message):
    with pytest.raises(ExportError, match=rf"--max_drop=1 was given(.|\n)*{message}(.|\n)*Give a larger"):
        max_drop.give_back(order, lambda _: 2.0, 1.0)


def test_max_drop_of_one_training_subject_is_judged_by_a_fifth_of_the_recordings(damaged, inputs):
    alone = types.SimpleNamespace(
        entries=lambda side: [e for e in Patterns().entries(side) if e.subject == 1], load=Patterns().load
    )
    calibrator = Calibrator(damaged, plan(ir.from_proto(damaged)).activations, inputs, alone)
    found = max_drop.search(calibrator, LAYERS, "max", 100, 0.5)
    assert (found.held_out_subject, found.clips) == (None, len(alone.entries("train")) // 5)
    assert found.drop_points <= 0.5


# --- McNemar ----------------------------------------------------------------------------------------


def test_mcnemar_is_the_binomial_by_hand():
    other = [True] * 5 + [False] * 1 + [True] * 10 + [False] * 4
    this = [False] * 5 + [True] * 1 + [True] * 10 + [False] * 4
    found = mcnemar("onnx-fp32", other, this)
    assert (found.only_other_right, found.only_this_right) == (5, 1)
    assert found.p_value == pytest.approx(2 * (1 + 6) / 2**6)
    assert str(found) == "+1 -5, p = 0.22"
    assert accuracy_of(other).top1 == 0.75 and accuracy_of(()).top1 is None


def test_mcnemar_of_equals_is_1_and_of_nothing_is_none():
    assert mcnemar("x", [True, False], [True, False]) == McNemar("x", 0, 0, 1.0)
    assert mcnemar("x", (), ()) is None


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_mcnemar_does_not_mind_who_is_who_nor_where_both_agree(pairs):
    first, second = zip(*pairs, strict=True)
    forth, back = mcnemar("x", first, second), mcnemar("x", second, first)
    assert forth.p_value == back.p_value <= 1
    assert (forth.only_other_right, forth.only_this_right) == (back.only_this_right, back.only_other_right)
    assert mcnemar("x", (*first, True), (*second, True)).p_value == forth.p_value


def test_a_transposed_product_weighs_what_it_has():
    text = """<ir_version: 8, opset_import: ["" : 17]>
    agraph (float[batch,1,2,3,3] video) => (float[batch,5] y) {
      a = Conv<kernel_shape=[1,1,1]>(video, stem)
      [conv] b = Conv<kernel_shape=[1,1,1]>(a, kernel)
      flat = Flatten(b)
      y = Gemm<transB=1>(flat, head)
    }"""
    model = onnx.parser.parse_model(text)
    for name, shape in {"stem": (4, 1, 1, 1, 1), "kernel": (4, 4, 1, 1, 1), "head": (5, 72)}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(shape, np.float32), name))
    (layer,) = describe(model).values()
    assert layer.mac_share == pytest.approx(18 * 16 / (18 * 4 + 18 * 16 + 5 * 72))


def test_an_int8_graph_that_breaks_a_rule_is_no_product(sound, inputs, run, monkeypatch):
    monkeypatch.setattr("export.int8.lint", lambda _: [Violation("grouped", "conv_a", "is wrong")])
    with pytest.raises(ExportError, match=r"breaks placement rules\n  conv_a: is wrong \(grouped\)"):
        int8_of(sound, inputs, run)


def test_the_budget_is_judged_with_the_ranges_of_the_calibrator_asked_for(sound, inputs, run, monkeypatch):
    asked, real = set(), max_drop.estimate
    monkeypatch.setattr(max_drop, "estimate", lambda name, found: asked.add(name) or real(name, found))
    int8_of(sound, inputs, run, max_drop=0.5, calibrator="percentile-99.9")
    assert asked == {"percentile-99.9"}


def test_the_reason_tells_the_loss_before_and_after(damaged, inputs, run):
    product, _ = int8_of(damaged, inputs, run, max_drop=0.5)
    found = product.details["layers"]
    before = found["max_drop"]["drop_points_before"]
    assert found["float"]["conv_c"].endswith(f"its return changed the loss from {before:.2f} to 0.00 points")
