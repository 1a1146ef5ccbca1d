"""Continuous sequences: what they consist of, what is counted on them, and the command."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from edge.preprocess import read_track
from edge.sampling import Track, common_span, regular_track
from edge.streaming import NONE, Decision, Event, Narration, StreamRule, narrate
from hartx.data import open_recordings, window_s
from hartx.data.source import Recording
from hartx.run import load_run
from hartx.streaming.__main__ import main
from hartx.streaming.metrics import (
    CURVE_THRESHOLDS,
    NOTHING,
    Outcome,
    confusions,
    delay_s,
    figures,
    is_false_alarm,
    outcome,
    threshold_curve,
    window_truth,
)
from hartx.streaming.report import show
from hartx.streaming.sequence import ContinuousSequence, Instance, join_recordings, sequences_of_side
from hartx.streaming.windows import Watched, watch
from hartx.train import train
from tests.hartx import small_config

LABELS = ("wave", "clap", "push")


# --- the sequence ---------------------------------------------------------------------------------------


def made_up(label, count, rate_hz=10.0):
    """A recording whose joints, frames and inertial samples all hold 100 label + seconds."""
    depth = [np.full((2, 2), 100 * label + i / rate_hz) for i in range(count)]
    joints = 100 * label + np.arange(count)[:, None, None] / rate_hz + np.zeros((1, 20, 3))
    inertial = 100 * label + np.arange(3 * count)[:, None] / (3 * rate_hz) + np.zeros((1, 6))
    tracks = {
        "depth": regular_track(depth, rate_hz),
        "skeleton": regular_track(joints, rate_hz),
        "inertial": regular_track(inertial, 3 * rate_hz),
    }
    return Recording(f"a{label}_s1_t1", 1, label, tracks)


def joined(counts, rest_s=1.0):
    recordings = [made_up(label, count) for label, count in enumerate(counts)]
    return join_recordings(recordings, range(10, 10 + len(counts)), [f"l{i}" for i in range(len(counts))], rest_s)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(2, 40), min_size=1, max_size=5), st.floats(0, 3))
def test_durations_add_up_and_labels_are_where_their_recording_is(counts, rest_s):
    sequence = joined(counts, rest_s)
    assert sequence.duration_s == pytest.approx(sum(counts) / 10 + (len(counts) + 1) * rest_s)
    now_s = rest_s
    for i, (instance, count) in enumerate(zip(sequence.instances, counts, strict=True)):
        assert (instance.action, instance.name, instance.index) == (f"l{i}", f"a{i}_s1_t1", 10 + i)
        assert instance.start_s == pytest.approx(now_s) and instance.stop_s == pytest.approx(now_s + count / 10)
        now_s = instance.stop_s + rest_s


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(2, 40), min_size=1, max_size=5), st.floats(0.2, 3), st.floats(0, 0.999))
def test_inside_a_recording_all_tracks_show_what_it_showed_then(counts, rest_s, phase):
    sequence = joined(counts, rest_s)
    for label, (instance, count) in enumerate(zip(sequence.instances, counts, strict=True)):
        at_s = phase * (count - 1) / 10
        instants = np.array([instance.start_s + at_s])
        shown = {name: np.asarray(read_track(name, track, instants)) for name, track in sequence.tracks.items()}
        np.testing.assert_allclose(shown["skeleton"], 100 * label + at_s, atol=1e-3)  # float32
        np.testing.assert_allclose(shown["inertial"], 100 * label + at_s, atol=1e-3)
        assert 100 * label + at_s - 0.1 - 1e-6 <= shown["depth"].min() <= 100 * label + at_s + 1e-5


def test_between_two_recordings_frames_are_cut_and_joints_move_in_a_straight_line():
    sequence = joined([5, 5], rest_s=1.0)  # 1.0 to 1.5 and 2.5 to 3.0; the last entry of the first is at 1.4
    instants = np.array([0.0, 0.7, 1.45, 1.95, 2.05, 2.45, 2.5, 3.9])
    depth = [float(frame[0, 0]) for frame in read_track("depth", sequence.tracks["depth"], instants)]
    np.testing.assert_allclose(depth, [0, 0, 0.4, 0.4, 100, 100, 100, 100.4])
    joints = read_track("skeleton", sequence.tracks["skeleton"], instants)[:, 0, 0]
    line = 0.4 + (instants - 1.4) / 1.1 * (100 - 0.4)
    np.testing.assert_allclose(joints, [0, 0, *line[2:6], 100, 100.4], rtol=1e-5, atol=1e-6)


def test_no_rest_joins_them_without_a_gap():
    sequence = joined([5, 5], rest_s=0.0)
    assert sequence.duration_s == pytest.approx(1.0)
    depth = [float(f[0, 0]) for f in read_track("depth", sequence.tracks["depth"], np.array([0.45, 0.5, 0.6]))]
    np.testing.assert_allclose(depth, [0.4, 100, 100.1])


def test_a_track_that_is_longer_than_the_others_is_cut():
    recording = made_up(0, 10)
    recording.tracks["skeleton"] = Track(recording.tracks["skeleton"].values[:6], np.arange(6) / 10)
    sequence = join_recordings([recording, made_up(1, 10)], [0, 1], LABELS, 1.0)
    assert sequence.instances[0].stop_s == pytest.approx(1.6)
    shown = read_track("depth", sequence.tracks["depth"], np.array([2.0]))
    assert shown[0][0, 0] == pytest.approx(0.5)


# --- what is counted ------------------------------------------------------------------------------------


def instance(start_s, stop_s, action):
    return Instance(start_s, stop_s, action, f"{action}_{start_s}", 0)


# 20 seconds; the window is 2 seconds long, so wave is heard from 1 to 6 and from 13 to 18, clap from 6 to 11.
INSTANCES = (instance(1.0, 4.0, "wave"), instance(6.0, 9.0, "clap"), instance(13.0, 16.0, "wave"))


def timeline(*said, start_s=2.0, hop_s=1.0):
    """What was said at 2, 3, 4 ... seconds, and the windows with certain predictions of the same."""
    times = start_s + hop_s * np.arange(len(said))
    rows = [
        [0.9 if label == word else 0.05 for label in LABELS] if word != NONE else [0.34, 0.33, 0.33] for word in said
    ]
    spans = np.stack([times - 2.0, times], axis=1)
    narration = narrate(LABELS, StreamRule(0.5, 1), spans, np.array(rows))
    assert [d.action for d in narration.decisions] == list(said)
    return Watched(ContinuousSequence(7, 20.0, INSTANCES, {}), spans, np.array(rows)), narration


@pytest.mark.parametrize(
    "span, truth",
    [
        ((1.5, 3.5), "wave"),
        ((0.0, 1.98), NONE),  # the middle lies before the start
        ((0.0, 2.0), "wave"),  # at the start
        ((3.0, 5.0), NONE),  # at the stop
        ((2.9, 4.9), "wave"),
        ((10.0, 12.0), NONE),
        ((0.0, 12.5), "clap"),  # 2.9 seconds of wave, 3 of clap
    ],
)
def test_a_window_has_the_label_of_its_larger_part_if_its_middle_lies_in_an_action(span, truth):
    instances = (instance(1.0, 3.9, "wave"), *INSTANCES[1:]) if span == (0.0, 12.5) else INSTANCES
    assert window_truth(np.array(span), instances) == truth


def test_several_instances_of_a_label_count_together():
    instances = (instance(0.0, 2.0, "wave"), instance(2.0, 5.0, "clap"), instance(5.0, 7.0, "wave"))
    assert window_truth(np.array([0.0, 7.0]), instances) == "wave"


def narration_of(*pairs):
    return Narration(tuple(Decision(t, a, 1.0, np.zeros(3), False, None) for t, a in pairs), ())


@pytest.mark.parametrize(
    "pairs, expected",
    [
        ([(0.9, "wave"), (6.1, "wave")], None),  # before the start and after stop + window
        ([(0.9, "wave"), (1.0, "wave")], 0.0),
        ([(2.0, "clap"), (3.0, NONE), (4.5, "wave"), (5.0, "wave")], 3.5),
        ([(6.0, "wave")], 5.0),
        ([], None),
    ],
)
def test_the_delay_is_until_the_right_name_while_the_instance_is_heard(pairs, expected):
    assert delay_s(INSTANCES[0], narration_of(*pairs), window_s=2.0) == expected


@pytest.mark.parametrize(
    "start_s, stop_s, action, wrong",
    [
        (0.0, 0.9, "wave", True),
        (0.0, 1.0, "wave", False),
        (6.0, 8.0, "wave", False),
        (6.1, 12.9, "wave", True),
        (7.0, 8.0, "clap", False),
        (12.0, 14.0, "clap", True),
        (0.0, 20.0, "push", True),
    ],
)
def test_an_event_is_a_false_alarm_if_it_overlaps_no_instance_of_its_label_while_heard(start_s, stop_s, action, wrong):
    assert is_false_alarm(Event(start_s, stop_s, action, 1.0), INSTANCES, window_s=2.0) == wrong


def test_all_figures_of_a_hand_made_timeline():
    # said at     2     3       4       5     6     7       8       9       10    11    12     13    14      15
    said = [NONE, "wave", "wave", NONE, NONE, "push", "clap", "clap", NONE, NONE, "clap", NONE, "push", NONE]
    watched, narration = timeline(*said)
    counted = outcome(watched, LABELS, narration, window_s=2.0)
    # Middles of the windows: 1, 2, 3 are wave; 4, 5 rest; 6, 7, 8 clap; 9 to 12 rest; 13, 14 wave.
    assert [w.truth for w in counted.windows] == ["wave"] * 3 + [NONE] * 2 + ["clap"] * 3 + [NONE] * 4 + ["wave"] * 2
    found = figures(counted)
    assert found["minutes"] == pytest.approx(1 / 3)
    assert (found["windows"], found["rest_windows"]) == (8, 6)
    assert found["decision_accuracy"] == 4 / 8  # 3, 4 and 8, 9
    assert found["window_accuracy"] == 6 / 8  # where none was said, wave was the most likely: at 2 and 15 as well
    assert found["none_accuracy"] == 5 / 6  # clap at 12
    assert found["instances"] == 3 and found["detection_rate"] == 2 / 3  # the second wave was missed
    assert found["events"] == 5 and found["false_alarms"] == 3  # push twice, clap at 12
    assert found["false_alarms_per_minute"] == pytest.approx(9)
    assert found["delay_median_s"] == 2.0 and found["delay_p90_s"] == 2.0
    assert found["f1"] == pytest.approx(2 * (2 / 3) * (2 / 5) / (2 / 3 + 2 / 5))
    wave, push = figures(counted.of("wave")), figures(counted.of("push"))
    assert (wave["instances"], wave["detection_rate"], wave["windows"], wave["decision_accuracy"]) == (2, 0.5, 5, 0.4)
    assert (wave["false_alarms"], wave["delay_median_s"]) == (0, 2.0)
    assert (push["instances"], push["detection_rate"], push["f1"]) == (0, None, None)
    assert (push["false_alarms"], push["false_alarms_per_minute"], push["window_accuracy"]) == (
        2,
        pytest.approx(6),
        None,
    )
    # rows: wave, clap, push, none; columns: what was said
    assert confusions(counted, LABELS) == [[2, 0, 1, 2], [0, 2, 1, 0], [0, 0, 0, 0], [0, 1, 0, 5]]


def test_delays_are_summed_up_by_median_and_p90():
    watched, narration = timeline(*[NONE, "wave"] + [NONE] * 2 + ["clap"] + [NONE] * 9 + ["wave"])
    found = figures(outcome(watched, LABELS, narration, window_s=2.0))
    assert found["detection_rate"] == 1.0  # after 2, 0 and 3 seconds
    assert found["delay_median_s"] == 2.0 and found["delay_p90_s"] == pytest.approx(2.8)


def test_sequences_are_counted_together():
    one = outcome(*_with_labels(timeline("wave", "wave")), window_s=2.0)
    total = sum([one, one], NOTHING)
    assert isinstance(total, Outcome)
    assert total.minutes == pytest.approx(2 / 3) and len(total.windows) == 4 and len(total.detections) == 6


def _with_labels(pair):
    watched, narration = pair
    return watched, LABELS, narration


def test_nothing_to_count_is_none():
    found = figures(NOTHING)
    assert found["detection_rate"] is None and found["delay_p90_s"] is None and found["none_accuracy"] is None


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_a_higher_threshold_detects_no_more_and_rests_no_less(seed, smoothing):
    rng = np.random.default_rng(seed)
    spans = np.stack([np.arange(18.0), np.arange(18.0) + 2], axis=1)
    watched = Watched(ContinuousSequence(7, 20.0, INSTANCES, {}), spans, rng.dirichlet(np.full(3, 0.3), 18))
    rows = threshold_curve([watched], LABELS, smoothing, 1.0, 2.0)  # a release of 1 is no hysteresis
    assert tuple(row["threshold"] for row in rows) == CURVE_THRESHOLDS and CURVE_THRESHOLDS[-1] == 0.95
    assert np.all(np.diff([row["detection_rate"] for row in rows]) <= 0)
    assert np.all(np.diff([row["none_accuracy"] for row in rows]) >= 0)
    assert len({row["window_accuracy"] for row in rows}) == 1
    at_half = narrate(LABELS, StreamRule(0.5, smoothing), spans, watched.probabilities)
    assert rows[10] == {"threshold": 0.5} | figures(outcome(watched, LABELS, at_half, 2.0))


def test_the_curve_is_of_the_hysteresis_that_the_device_has():
    spans = np.stack([np.arange(18.0), np.arange(18.0) + 2], axis=1)
    rows = np.full((18, 3), 0.3)
    rows[4, 0], rows[5:, 0] = 0.6, 0.45  # named once, and not sure enough to be named again
    watched = Watched(ContinuousSequence(7, 20.0, INSTANCES, {}), spans, rows)
    at_half = narrate(LABELS, StreamRule(0.5, 1, release=0.4), spans, rows)
    assert [d.action for d in at_half.decisions] == [NONE] * 4 + [LABELS[0]] * 14
    curve = threshold_curve([watched], LABELS, 1, None, 2.0)
    assert curve[10] == {"threshold": 0.5} | figures(outcome(watched, LABELS, at_half, 2.0))
    without = threshold_curve([watched], LABELS, 1, 0.5, 2.0)
    assert without[10] != curve[10]


# --- the command ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_folder(small_data, tmp_path_factory):
    config = small_config.get_config()
    config.dataset.data_dir = str(small_data)
    config.streams = ("skeleton",)
    config.num_epochs = 1
    workdir = tmp_path_factory.mktemp("streaming") / "run"
    train(config, workdir)
    (workdir / "report.json").write_text('{"top1": 0.25}')  # as if it had been tested
    return workdir, config


def test_an_order_is_drawn_once_for_a_seed_and_holds_every_recording(run_folder):
    recordings = open_recordings(run_folder[1])
    first, again, other = (sequences_of_side(recordings, "test", 1.0, seed) for seed in (0, 0, 1))
    assert [s.subject for s in first] == [2, 4, 6, 8]

    def names(sequences):
        return [[i.name for i in s.instances] for s in sequences]

    assert names(first) == names(again) != names(other)
    assert [sorted(row) for row in names(first)] == [sorted(row) for row in names(other)]
    orders = [[i.action for i in s.instances] for s in first]
    assert orders[0] != orders[1], "each subject has an order of its own"
    for sequence in first:
        for i in sequence.instances:
            recording = recordings.source[i.index]
            assert (recording.name, recording.subject) == (i.name, sequence.subject)
            assert recordings.labels[recording.label] == i.action
            assert i.stop_s - i.start_s == pytest.approx(common_span(recording.tracks)[1])


def test_the_command_measures_a_run(run_folder, capsys):
    workdir, config = run_folder
    assert main([f"--workdir={workdir}", "--threshold=0.04", "--smoothing=2", "--strip_recordings=2"]) == 0
    report = json.loads((workdir / "streaming" / "streaming.json").read_text())
    assert "detection rate" in capsys.readouterr().out
    recordings = open_recordings(config)
    assert report["window_s"] == pytest.approx(window_s(config, recordings))
    assert report["hop_s"] == pytest.approx(report["window_s"] / 2) and report["stride"] == 4
    assert report["release"] == pytest.approx(0.8 * 0.04)
    assert report["trimmed_top1"] == 0.25
    overall = report["overall"]
    assert overall["instances"] == 108 == sum(c["instances"] for c in report["per_class"].values())
    assert overall["minutes"] == pytest.approx(sum(s["duration_s"] for s in report["sequences"]) / 60)
    windows = sum(1 + int((s["duration_s"] - report["window_s"]) / report["hop_s"]) for s in report["sequences"])
    assert np.sum(report["confusion_matrix"]) == windows == overall["windows"] + overall["rest_windows"]
    assert overall["events"] == sum(len(s["events"]) for s in report["sequences"])
    assert set(report["threshold_curves"]) == {"1", "2"} and report["best_threshold"] is None
    for name in ("confusion_matrix.png", "threshold.png", "strip.png"):
        assert (workdir / "streaming" / name).read_bytes().startswith(b"\x89PNG")
    again = workdir.parent / "again"
    assert (
        main(
            [
                f"--workdir={workdir}",
                "--threshold=0.04",
                "--smoothing=2",
                "--strip_recordings=2",
                f"--output={again}",
            ]
        )
        == 0
    )
    assert json.loads((again / "streaming.json").read_text()) == report


LONG = "draw_circle_counter_clockwise"


def a_report():
    one = {"instances": 4, "windows": 31, "detection_rate": 1.0, "window_accuracy": 1.0, "decision_accuracy": 0.9}
    one |= {"minutes": 6.0, "rest_windows": 30, "none_accuracy": 0.5, "false_alarms_per_minute": 12.34}
    one |= {"delay_median_s": 12.25, "delay_p90_s": 13.75}
    fields = {"dataset": "utd_mhad", "protocol": "loso:7", "streams": ["skeleton"], "side": "test", "window_s": 2.0}
    fields |= {"hop_s": 0.25, "smoothing": 5, "threshold": 0.5, "release": 0.4, "trimmed_top1": 0.9}
    return fields | {"overall": one, "per_class": {LONG: one}, "per_subject": {"7": one}, "best_threshold": None}


def test_a_file_gets_whole_lines(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    show(a_report(), tmp_path)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if LONG in line]
    cells = [cell.strip() for cell in line.split("│")[1:-1]]
    assert cells == [LONG, "4", "100.0%", "100.0%", "90.0%", "12.34", "12.25", "13.75"]


def test_a_narrow_terminal_gets_cells_that_fold_and_nothing_is_cut(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("hartx.streaming.report.Console", lambda: Console(force_terminal=True, width=50))
    show(a_report(), tmp_path)
    said = capsys.readouterr().out
    assert "…" not in said
    table = said.split("each action")[1]
    columns = zip(*[line.split("│")[1:-1] for line in table.splitlines() if line.startswith("│")], strict=True)
    whole = ["".join(cell.strip() for cell in column) for column in columns]
    assert whole == [LONG, "4", "100.0%", "100.0%", "90.0%", "12.34", "12.25", "13.75"]


def test_the_threshold_is_suggested_by_those_who_trained_and_never_by_the_test_side(run_folder, capsys):
    workdir, _ = run_folder
    options = ["--side=train", "--window_s=1.5", "--stride=8", "--rest_s=0.5", "--strip_recordings=1"]
    assert main([f"--workdir={workdir}", *options]) == 0
    report = json.loads((workdir / "streaming_train" / "streaming.json").read_text())
    assert list(report["per_subject"]) == ["1", "3", "5", "7"]
    assert (report["window_s"], report["hop_s"]) == (1.5, 1.5)
    assert report["trimmed_top1"] is None  # the report is of the test side
    curve = report["threshold_curves"]["5"]
    best = max(row["f1"] for row in curve)
    assert report["best_threshold"]["f1"] == best
    assert report["best_threshold"]["threshold"] == max(row["threshold"] for row in curve if row["f1"] == best)
    assert "best F1" in capsys.readouterr().out


def test_a_fitted_temperature_makes_what_is_said_surer_and_keeps_its_order(run_folder):
    workdir, _ = run_folder
    run = load_run(workdir)
    sequences = sequences_of_side(open_recordings(run.config), "test", 1.0, 0)[:1]
    (before,) = watch(run, sequences, 2.0, 4.0)
    path = workdir / "temperature.json"
    path.write_text('{"temperature": 0.25}')
    (after,) = watch(run, sequences, 2.0, 4.0)
    path.unlink()
    expected = before.probabilities**4 / (before.probabilities**4).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(after.probabilities, expected, rtol=1e-4, atol=1e-7)


def test_an_empty_side_is_one_clear_error(run_folder, capsys):
    workdir, _ = run_folder
    assert main([f"--workdir={workdir}", "--side=validation"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: there are no recordings on the validation side") and "--side=test" in error
    assert not (workdir / "streaming_validation").exists()


def test_a_folder_without_a_finished_run_is_one_clear_error(run_folder, tmp_path, capsys):
    assert main([f"--workdir={tmp_path}"]) == 1
    assert "holds no run" in capsys.readouterr().err
    (tmp_path / "config.json").write_text((run_folder[0] / "config.json").read_text())
    assert main([f"--workdir={tmp_path}"]) == 1
    assert "is not finished" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option, message",
    [
        ("--threshold=1.5", "a number from 0 to 1 is expected"),
        ("--threshold=nan", "a number from 0 to 1 is expected"),
        ("--threshold=high", "invalid number value: 'high'"),
        ("--smoothing=0", "a whole number from 1 is expected"),
        ("--rest_s=-1", "a number from 0 is expected"),
        ("--window_s=0", "a number above 0 is expected"),
        ("--side=both", "invalid choice"),
    ],
)
def test_a_mistyped_option_is_refused(option, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--workdir=x", option])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_help_tells_the_defaults(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "(default: 0.5)" in said and "RUN/streaming" in said and "0.8 of the threshold" in said
