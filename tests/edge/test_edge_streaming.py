"""What is said about a stream of predictions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import EdgeError
from edge.streaming import NONE, ActionStream, Event, StreamRule, WindowSmoother, narrate, window_spans

LABELS = ("wave", "clap", "push")
rules = st.builds(StreamRule, st.floats(0, 1), st.integers(1, 7))
sequences = st.lists(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), min_size=1, max_size=30).map(
    lambda rows: np.array(rows) / np.sum(rows, axis=1, keepdims=True)
)


def long(times):
    """Windows that end at these times, so long that all overlap."""
    return [(-1000.0, time) for time in times]


def said(rule, rows):
    return [decision.action for decision in narrate(LABELS, rule, long(range(len(rows))), np.array(rows)).decisions]


def sure(label, probability=1.0):
    row = np.full(3, (1 - probability) / 2)
    row[LABELS.index(label)] = probability
    return row


@given(st.sampled_from(LABELS), st.floats(0.51, 1), st.integers(1, 9), st.integers(1, 20))
def test_a_constant_input_is_named_from_the_first_prediction_on(label, probability, smoothing, count):
    rule = StreamRule(0.5, smoothing)
    narration = narrate(LABELS, rule, long(np.arange(count) / 10), [sure(label, probability)] * count)
    assert {d.action for d in narration.decisions} == {label}
    assert narration.decisions[0].started and not any(d.started for d in narration.decisions[1:])
    (event,) = narration.events
    assert (event.start_s, event.stop_s, event.action) == (0.0, (count - 1) / 10, label)
    assert event.confidence == pytest.approx(probability)


@given(sequences, st.integers(1, 7))
def test_below_the_threshold_nothing_is_said(rows, smoothing):
    rule = StreamRule(min(1.0, rows.max() + 1e-6), smoothing)
    if rule.threshold < 1:
        assert set(said(rule, rows)) == {NONE}


@given(sequences, st.integers(1, 7))
def test_a_threshold_of_0_always_names_the_most_likely(rows, smoothing):
    decisions = narrate(LABELS, StreamRule(0.0, smoothing), long(range(len(rows))), rows).decisions
    assert [d.action for d in decisions] == [LABELS[int(d.probabilities.argmax())] for d in decisions]


@given(sequences, rules)
def test_the_smoothed_prediction_is_the_mean_of_the_last_ones(rows, rule):
    decisions = narrate(LABELS, rule, long(range(len(rows))), rows).decisions
    for i, decision in enumerate(decisions):
        mean = rows[max(0, i + 1 - rule.smoothing) : i + 1].mean(axis=0)
        np.testing.assert_allclose(decision.probabilities, mean, atol=1e-12)
        assert decision.confidence == pytest.approx(mean.max())


@given(sequences, st.integers(1, 7), st.integers(1, 16), st.floats(0, 0.05))
def test_only_windows_that_overlap_the_newest_one_are_averaged(rows, smoothing, stride, jitter_s):
    """Windows of 16 s; their ends come early and late in turn."""
    stops = stride * np.arange(len(rows)) + jitter_s * (np.arange(len(rows)) % 2)
    spans = np.stack([stops - 16, stops], axis=1)
    decisions = narrate(LABELS, StreamRule(0.5, smoothing), spans, rows).decisions
    counted = min(
        smoothing, 14 // stride + 1
    )  # a tenth of the newest one must be shared: 14.4 s between the ends at most
    for i in range(len(rows)):
        mean = rows[max(0, i + 1 - counted) : i + 1].mean(axis=0)
        np.testing.assert_allclose(decisions[i].probabilities, mean, atol=1e-12)


def test_at_half_a_window_a_new_action_is_said_after_two_predictions():
    rows = [sure("wave")] * 5 + [sure("clap")] * 3
    spans = [(8.0 * i, 8.0 * i + 16) for i in range(len(rows))]
    actions = [d.action for d in narrate(LABELS, StreamRule(0.6, 5), spans, rows).decisions]
    assert actions == ["wave"] * 5 + [NONE] + ["clap"] * 2


def test_a_change_wins_when_most_of_the_smoothed_predictions_are_of_it():
    rows = [sure("wave")] * 5 + [sure("clap")] * 5
    assert said(StreamRule(0.5, 5), rows) == ["wave"] * 7 + ["clap"] * 3
    assert said(StreamRule(0.7, 5), rows) == ["wave"] * 6 + [NONE] * 2 + ["clap"] * 2
    assert said(StreamRule(0.5, 1), rows) == ["wave"] * 5 + ["clap"] * 5


@given(sequences, rules)
def test_the_same_input_gives_the_same_answer_also_after_a_reset(rows, rule):
    stream = ActionStream(LABELS, rule)

    def answers():
        given = [stream.update(i - 1, i, row) for i, row in enumerate(rows)]
        return [(d.action, d.confidence, d.started, d.ended) for d in given], stream.reset()

    assert answers() == answers()


@given(sequences, rules)
def test_events_are_the_runs_of_named_decisions(rows, rule):
    narration = narrate(LABELS, rule, long(range(len(rows))), rows)
    covered = {
        time: event.action for event in narration.events for time in range(int(event.start_s), int(event.stop_s) + 1)
    }
    assert [covered.get(i, NONE) for i in range(len(rows))] == [d.action for d in narration.decisions]
    for i, other in enumerate(narration.events[1:]):
        one = narration.events[i]
        assert one.stop_s < other.start_s
        assert one.action != other.action or other.start_s - one.stop_s > 1
    assert sum(d.started for d in narration.decisions) == len(narration.events)


def test_what_is_going_on_can_be_asked_for():
    stream = ActionStream(LABELS, StreamRule(0.5, 1))
    assert stream.event is None
    stream.update(0.0, 1.0, sure("clap", 0.8))
    stream.update(0.0, 2.0, sure("clap", 0.6))
    assert stream.event == Event(1.0, 2.0, "clap", pytest.approx(0.8))
    decision = stream.update(0.0, 3.0, np.full(3, 1 / 3))
    assert decision.action == NONE and decision.confidence == pytest.approx(1 / 3) and not decision.started
    assert decision.ended == Event(1.0, 2.0, "clap", pytest.approx(0.8)) and stream.event is None


def test_hysteresis_holds_an_action_and_yields_to_a_sure_one():
    rows = [
        sure("wave", 0.5),
        sure("wave", 0.7),
        sure("wave", 0.5),
        sure("wave", 0.3),
        sure("wave", 0.5),
        sure("wave", 0.7),
        sure("push", 0.9),
    ]
    plain = [NONE, "wave", NONE, NONE, NONE, "wave", "push"]
    assert said(StreamRule(0.6, 1), rows) == plain
    assert said(StreamRule(0.6, 1, release=0.6), rows) == plain
    assert said(StreamRule(0.6, 1, release=0.4), rows) == [NONE, "wave", "wave", NONE, NONE, "wave", "push"]


def test_the_smoother_keeps_what_it_was_given_not_the_array():
    smoother, row = WindowSmoother(2), np.array([1.0, 0.0])
    smoother.update(0.0, 2.0, row)
    row[:] = 9
    np.testing.assert_array_equal(smoother.update(1.0, 3.0, np.array([0.0, 1.0])), [0.5, 0.5])
    smoother.reset()
    np.testing.assert_array_equal(smoother.update(1.0, 3.0, np.array([0.0, 1.0])), [0.0, 1.0])


@pytest.mark.parametrize(
    "rule",
    [
        {"threshold": 1.1},
        {"threshold": float("nan")},
        {"smoothing": 0},
        {"threshold": 0.5, "release": 0.6},
        {"release": -0.1},
    ],
)
def test_a_rule_that_cannot_be_is_refused(rule):
    with pytest.raises(EdgeError, match="is expected"):
        StreamRule(**rule)


@pytest.mark.parametrize("row", [np.zeros(2), np.zeros((1, 3)), np.array([0.5, np.nan, 0.5])])
def test_probabilities_that_are_none_are_refused(row):
    with pytest.raises(EdgeError, match="3 finite probabilities"):
        ActionStream(LABELS, StreamRule()).update(0.0, 1.0, row)


def test_a_label_none_is_refused():
    with pytest.raises(EdgeError, match="another name"):
        ActionStream(("wave", NONE), StreamRule())


@given(st.floats(0.5, 60), st.floats(0.2, 5), st.integers(1, 20))
def test_windows_lie_within_the_sequence_and_cover_it_up_to_a_hop(duration_s, window_s, parts):
    hop_s = window_s / parts
    spans = window_spans(duration_s, window_s, hop_s)
    np.testing.assert_allclose(spans[:, 1] - spans[:, 0], window_s)
    np.testing.assert_allclose(np.diff(spans[:, 0]), hop_s)
    assert spans[0, 0] == 0
    if duration_s >= window_s:
        assert spans[-1, 1] <= duration_s + 1e-6 * hop_s and spans[-1, 1] + hop_s > duration_s
    else:
        assert len(spans) == 1


def test_windows_that_fit_exactly_are_all_there():
    np.testing.assert_allclose(window_spans(0.5, 0.2, 0.1), [[0, 0.2], [0.1, 0.3], [0.2, 0.4], [0.3, 0.5]])
