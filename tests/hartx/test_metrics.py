"""The numbers of a report."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hartx.metrics import classification_metrics

NAMES = tuple(f"class{i}" for i in range(7))


def one_hot(predicted):
    return np.eye(len(NAMES), dtype=np.float32)[predicted]


def test_a_hand_made_case():
    labels = np.array([0, 0, 1, 1, 2])
    metrics = classification_metrics(labels, one_hot([0, 1, 1, 1, 0]), NAMES)
    assert metrics["clips"] == 5
    assert metrics["top1"] == pytest.approx(3 / 5)
    assert metrics["precision_macro"] == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)
    assert metrics["recall_macro"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert metrics["per_class"]["class1"] == pytest.approx({"precision": 2 / 3, "recall": 1.0, "f1": 0.8, "support": 2})
    assert metrics["confusion_matrix"][0][:3] == [1, 1, 0]
    assert metrics["confusion_matrix"][2][0] == 1


def test_top5_looks_at_the_five_largest():
    probabilities = np.tile(np.array([[0.3, 0.2, 0.15, 0.12, 0.1, 0.08, 0.05]], np.float32), (2, 1))
    assert classification_metrics(np.array([4, 5]), probabilities, NAMES)["top5"] == 0.5


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=60))
def test_properties(pairs):
    labels, predicted = np.array(pairs).T
    metrics = classification_metrics(labels, one_hot(predicted), NAMES)
    low, high = metrics["interval95"]
    assert 0 <= low <= metrics["top1"] + 1e-9 and metrics["top1"] <= high + 1e-9 and high <= 1
    assert metrics["top1"] <= metrics["top5"] <= 1
    assert np.sum(metrics["confusion_matrix"]) == len(pairs)
    assert np.trace(metrics["confusion_matrix"]) / len(pairs) == pytest.approx(metrics["top1"])
    assert sum(c["support"] for c in metrics["per_class"].values()) == len(pairs)


def test_the_wilson_interval_of_a_known_case():
    labels = np.zeros(10, np.int64)
    metrics = classification_metrics(labels, one_hot([0] * 9 + [1]), NAMES)
    assert metrics["interval95"] == pytest.approx([0.5958, 0.9821], abs=1e-4)


def test_with_nothing_to_test_every_metric_is_absent():
    metrics = classification_metrics(np.zeros(0, np.int64), np.zeros((0, 7), np.float32), NAMES)
    assert metrics["clips"] == 0
    assert metrics["top1"] is None and metrics["confusion_matrix"] is None
