"""Intervals, calibration and the pooled numbers of a sweep, against values worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from hartx.calibration import confidence_at, fit_temperature, with_temperature
from hartx.metrics import expected_calibration_error, negative_log_likelihood
from hartx.predictions import Predictions, keep_predictions, pool, read_predictions
from hartx.spread import spread, wilson_interval
from hartx.sweep_summary import FoldResult, seen_by_others, summarise

LABELS = ("a", "b", "c")


def predictions(subject, labels, predicted, confidence=0.8):
    """Predictions of one subject: `confidence` for the predicted class, the rest shared by the others."""
    labels, predicted = np.array(labels), np.array(predicted)
    rest = (1 - confidence) / (len(LABELS) - 1)
    probabilities = np.where(np.eye(len(LABELS))[predicted] == 1, confidence, rest).astype(np.float32)
    names = [f"a{label}_s{subject}_t{index}" for index, label in enumerate(labels)]
    return Predictions(names, np.full(len(labels), subject), labels, probabilities)


def run_of(subject, seed, labels, predicted, missing=(), **more):
    report = {"missing": [{"absent": ["depth"], "present": ["skeleton"], "top1": top1} for top1 in missing]}
    return FoldResult(f"loso:{subject}", seed, predictions(subject, labels, predicted, **more), report)


def test_the_spread_of_a_hand_made_case():
    found = spread([0.9, 0.92, 0.97])
    assert found.mean == pytest.approx(0.93)
    assert found.std == pytest.approx(np.sqrt((0.03**2 + 0.01**2 + 0.04**2) / 2))
    half = 4.302653 * found.std / np.sqrt(3)  # t of 2 degrees of freedom at 0.975, from a table
    assert found.interval95 == pytest.approx((0.93 - half, 0.93 + half), abs=1e-6)


def test_one_seed_has_no_spread():
    found = spread([0.9])
    assert found.mean == 0.9 and found.std is None and found.interval95 is None


@settings(deadline=None)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_wilson_interval_is_scipys(case):
    hits, count = case
    expected = binomtest(hits, count).proportion_ci(method="wilson")
    assert wilson_interval(hits / count, count) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_wilson_interval_stays_a_share(share):
    """Rounding goes beyond by the last digit."""
    for count in range(1, 100):
        low, high = wilson_interval(share, count)
        assert 0 <= low < high <= 1


def test_the_calibration_error_of_hand_made_cases():
    labels = np.array([0, 0, 0, 1])
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    # bin of 0.9: always right, gap 0.1; bin of 0.6: right half of the time, gap 0.1
    assert expected_calibration_error(labels, probabilities) == pytest.approx(0.1)
    assert expected_calibration_error(np.array([0, 0, 1, 1]), probabilities) == pytest.approx((0.1 + 0.6) / 2)
    assert expected_calibration_error(np.array([0, 1]), np.eye(2)) == 0
    assert expected_calibration_error(np.array([1, 0]), np.eye(2)) == 1


def test_gaps_in_opposite_directions_cancel_within_a_bin_only():
    probabilities = np.array([[0.7, 0.3], [0.7, 0.3]])
    assert expected_calibration_error(np.array([0, 1]), probabilities, bins=1) == pytest.approx(0.2)
    probabilities = np.array([[0.7, 0.3], [0.9, 0.1]])
    assert expected_calibration_error(np.array([0, 1]), probabilities, bins=1) == pytest.approx(0.3)
    assert expected_calibration_error(np.array([0, 1]), probabilities) == pytest.approx((0.3 + 0.9) / 2)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    probabilities = np.array([[0.6, 0.4], [0.61, 0.39]])
    labels = np.array([0, 1])
    assert expected_calibration_error(labels, probabilities, bins=5) == pytest.approx((0.4 + 0.61) / 2)


def test_the_likelihood_of_a_hand_made_case():
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75]])
    assert negative_log_likelihood(np.array([0, 0]), probabilities) == pytest.approx((np.log(2) + np.log(4)) / 2)


@settings(deadline=None, max_examples=20)
@given(st.floats(0.3, 4.0), st.integers(0, 99))
def test_a_temperature_that_was_put_in_is_found(temperature, seed):
    """Labels are drawn from the probabilities; logits multiplied by T need T."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(4000, 5))
    true = with_temperature(logits, 1.0)
    labels = (true.cumsum(axis=1) > rng.random((4000, 1))).argmax(axis=1)
    sharpened = with_temperature(logits * temperature, 1.0).astype(np.float32)
    given_ = Predictions([""] * 4000, np.zeros(4000, np.int64), labels, sharpened)
    found = fit_temperature(given_)
    assert found == pytest.approx(temperature, rel=0.15)
    assert confidence_at(given_, found).nll <= confidence_at(given_, 1.0).nll + 1e-6
    assert (with_temperature(given_.log_probabilities, found).argmax(1) == sharpened.argmax(1)).all()


@settings(deadline=None, max_examples=20)
@given(st.integers(5, 400), st.floats(0.5, 0.999))
def test_always_right_is_not_always_sure(count, confidence):
    """N of N right say that the next one is right N + 1 times of N + 2 (Laplace), not that it cannot be wrong."""
    labels = np.arange(count) % len(LABELS)
    found = fit_temperature(given_ := predictions(1, labels, labels, confidence=confidence))
    scaled = with_temperature(given_.log_probabilities, found)
    assert scaled.max(axis=1) == pytest.approx((count + 1) / (count + 2), abs=1e-3)


def test_top1_is_the_share_of_recordings_named_right():
    found = predictions(1, [0, 1, 2, 2], [0, 1, 2, 0])
    assert found.top1 == 0.75
    assert found.chosen(np.zeros(4, bool)).top1 is None


def test_predictions_are_kept_and_read_back(tmp_path):
    before = pool([predictions(1, [0, 1], [0, 2]), predictions(3, [2], [2], confidence=1.0)])
    keep_predictions(before, tmp_path)
    after = read_predictions(tmp_path)
    assert after.names == before.names
    for field in ("subjects", "labels"):
        np.testing.assert_array_equal(getattr(after, field), getattr(before, field))
    np.testing.assert_allclose(after.probabilities, before.probabilities, rtol=1e-5, atol=1e-30)


def test_a_sweep_by_hand():
    runs = [
        run_of(1, 0, [0, 1, 2, 2], [0, 1, 2, 2], missing=[0.5]),  # 4 of 4
        run_of(3, 0, [0, 1], [1, 0], missing=[1.0]),  # 0 of 2
        run_of(1, 1, [0, 1, 2, 2], [0, 1, 2, 0], missing=[0.25]),  # 3 of 4
        run_of(3, 1, [0, 1], [0, 0], missing=[0.5]),  # 1 of 2
        run_of(1, 2, [0, 1, 2, 2], [0, 0, 0, 0]),  # its fold 3 failed
    ]
    summary = summarise(runs, {seed: ["loso:1", "loso:3"] for seed in (0, 1, 2)}, LABELS)
    assert summary["left_out"] == [2]
    assert summary["seeds"] == pytest.approx({"0": 4 / 6, "1": 4 / 6})  # pooled, not the mean of the folds
    assert summary["clips"] == 6 and summary["top1"]["std"] == 0
    assert summary["wilson95"] == pytest.approx(wilson_interval(4 / 6, 6))
    assert summary["folds"]["loso:1"]["top1"]["mean"] == pytest.approx((1 + 3 / 4 + 1 / 4) / 3)
    assert summary["folds"]["loso:3"]["seeds"] == {"0": 0.0, "1": 0.5}
    assert summary["confusion_matrix"] == [[3, 1, 0], [2, 2, 0], [1, 0, 3]]
    recalls = {name: entry["recall"]["mean"] for name, entry in summary["per_class"].items()}
    assert list(recalls) == ["b", "a", "c"] and recalls == pytest.approx({"b": 0.5, "a": 0.75, "c": 0.75})
    support = {name: entry["support"] for name, entry in summary["per_class"].items()}
    assert support == {"a": 2, "b": 2, "c": 2}  # of one seed, not of both
    (missing,) = summary["missing"]
    assert missing["top1"]["mean"] == pytest.approx(((4 * 0.5 + 2 * 1.0) / 6 + (4 * 0.25 + 2 * 0.5) / 6) / 2)
    assert set(summary["calibration"]["folds"]) == {"loso:1", "loso:3"}


def test_the_calibration_of_a_sweep_by_hand():
    """Each fold's temperature is that of the other fold's predictions."""
    runs = [
        run_of(1, 0, [0, 1, 2, 2], [0, 1, 2, 0], confidence=0.99),
        run_of(3, 0, [0, 1, 2], [0, 0, 0], confidence=0.9),
    ]
    summary = summarise(runs, {0: ["loso:1", "loso:3"]}, LABELS)
    found, scaled = summary["calibration"], []
    for run, other in (runs, runs[::-1]):
        temperature = fit_temperature(other.predictions)
        before, after = confidence_at(run.predictions, 1.0), confidence_at(run.predictions, temperature)
        expected = {"ece_before": before.ece, "ece_after": after.ece, "nll_before": before.nll, "nll_after": after.nll}
        assert found["folds"][run.fold] == pytest.approx({"temperature": temperature, **expected})
        scaled.append(with_temperature(run.predictions.log_probabilities, temperature))
    labels, scaled = np.concatenate([run.predictions.labels for run in runs]), np.concatenate(scaled)
    assert found["ece_before"]["mean"] == pytest.approx(summary["ece"]["mean"])
    assert found["nll_before"]["mean"] == pytest.approx(summary["nll"]["mean"])
    assert found["ece_after"]["mean"] == pytest.approx(expected_calibration_error(labels, scaled))
    assert found["nll_after"]["mean"] == pytest.approx(negative_log_likelihood(labels, scaled))
    assert abs(found["ece_after"]["mean"] - found["ece_before"]["mean"]) > 0.01
    # Named right: 2 of the 2 of class 0, 1 of 2 of class 1, 1 of 3 of class 2; 3 more are taken for class 0.
    assert summary["f1_macro"]["mean"] == pytest.approx((4 / 7 + 2 / 3 + 1 / 2) / 3)


def test_a_sweep_of_which_nothing_is_whole_has_no_number():
    summary = summarise([run_of(1, 0, [0], [0])], {0: ["loso:1", "loso:3"]}, LABELS)
    assert summary["top1"] is None and summary["left_out"] == [0] and "loso:1" in summary["folds"]


def two_out(first, second, names):
    """A run that tests two subjects, each with one recording of each of two classes; it takes all for the first."""
    parts = [predictions(subject, [0, 1], [0, 0]) for subject in (first, second)]
    return FoldResult(names, 0, pool(parts), {"missing": []})


def test_recordings_that_several_folds_test_count_once():
    runs = [two_out(1, 3, "loso:1+3"), two_out(1, 5, "loso:1+5")]
    summary = summarise(runs, {0: [run.fold for run in runs]}, LABELS)
    assert summary["clips"] == 6  # two of each subject
    assert summary["wilson95"] == pytest.approx(wilson_interval(0.5, 6))
    assert [entry["support"] for entry in summary["per_class"].values()] == [3, 3]
    assert summary["confusion_matrix"][1] == [4, 0, 0]  # all that was said is in the pool
    assert set(summary["calibration"]["folds"]) == {"loso:1+3", "loso:1+5"}


def test_the_support_of_a_class_is_that_of_a_seed_where_seeds_test_different_recordings():
    runs = [run_of(1, 0, [0, 0, 0, 1], [0, 0, 0, 0]), run_of(1, 1, [0, 2, 2, 2], [0, 0, 0, 2])]
    summary = summarise(runs, {0: ["loso:1"], 1: ["loso:1"]}, LABELS)
    assert {name: entry["support"] for name, entry in summary["per_class"].items()} == {"b": 1, "c": 3, "a": 2}


def test_folds_that_test_nobody_else_have_no_calibration():
    runs = [two_out(1, 3, "loso:1+3"), run_of(1, 0, [0, 1], [0, 0])]
    assert summarise(runs, {0: [run.fold for run in runs]}, LABELS)["calibration"] is None


def test_one_fold_and_other_protocols_have_no_calibration():
    assert summarise([run_of(1, 0, [0], [0])], {0: ["loso:1"]}, LABELS)["calibration"] is None


@settings(deadline=None)
@given(st.lists(st.integers(1, 8), min_size=2, max_size=6, unique=True), st.data())
def test_the_temperature_of_a_fold_never_sees_its_subject(subjects, data):
    runs = [run_of(subject, 0, [0, 1], [0, 0]) for subject in subjects]
    run = data.draw(st.sampled_from(runs))
    used = seen_by_others(run, runs)
    assert not set(used.subjects) & set(run.predictions.subjects)
    assert set(used.subjects) == set(subjects) - set(run.predictions.subjects)
