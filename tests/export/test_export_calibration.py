"""Calibration: what is measured on which clips, which estimator is chosen, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from export.calibration import Calibration, Calibrator, calibrate
from export.calibrator_choice import FLOAT, Score, best, choose_estimator, score
from export.clips import Entry, check_trained_on, load_for_calibration
from export.errors import ExportError
from export.estimators import ESTIMATORS
from export.held_out import hold_out
from export.inputs import to_feeds
from export.quantize import plan
from export.session import Session
from hartx.data import Clip
from tests.export.conftest import write_plan


@dataclasses.dataclass(frozen=True)
class Altered:
    """Recordings of which other ones are listed, or other clips loaded, than there are."""

    real: Any
    listed: Callable[[str, list[Entry]], list[Entry]] = lambda side, entries: entries
    loaded: Callable[[Clip], list[Clip]] = lambda clip: [clip]

    def entries(self, side: str) -> list[Entry]:
        return self.listed(side, self.real.entries(side))

    def load(self, side: str, names: Sequence[str] | None = None) -> Iterator[Clip]:
        real = "test" if side == "validation" else side
        for clip in self.real.load(real, names):
            yield from self.loaded(clip)


def calibrator_of(exported, clips=None) -> Calibrator:
    tensors = plan(ir.from_proto(exported.graph)).activations
    return Calibrator(exported.graph, tensors, exported.inputs, clips or exported.clips)


@pytest.fixture(scope="module")
def calibration(fusion) -> Calibration:
    return calibrate(calibrator_of(fusion), fusion.run.labels, 10, "max")


@pytest.fixture(scope="module")
def choice(fusion):
    return choose_estimator(calibrator_of(fusion), 10)


# --- what is measured -------------------------------------------------------------------------------


def test_calibration_reads_training_recordings_only(fusion, calibration):
    assert set(calibration.clips) <= {entry.name for entry in fusion.clips.entries("train")}
    assert calibration.clips_per_class == dict.fromkeys(fusion.run.labels, 2)
    assert calibration.subjects == (1, 3)


def test_every_value_of_every_clip_is_counted(fusion):
    model = onnx.ModelProto()
    model.CopyFrom(fusion.graph)
    model.graph.output.append(onnx.helper.make_tensor_value_info("MaxPool_0", onnx.TensorProto.FLOAT, None))
    calibrator = calibrator_of(fusion)
    chosen = calibrator.choose(3)
    clips = fusion.clips.load("train", [entry.name for entry in chosen])
    values = Session(model).run(to_feeds(fusion.inputs, [clip.inputs for clip in clips]), ["MaxPool_0"])[0]
    found = calibrator.measure(chosen)["MaxPool_0"]
    assert found.largest == pytest.approx(np.abs(values).max(), rel=1e-6)
    expected, _ = np.histogram(np.abs(values), 16, (0, found.largest))
    expected[0] -= (values == 0).sum()
    np.testing.assert_allclose(found.counts.reshape(16, -1).sum(axis=1), expected, atol=1)
    assert found.counts.sum() == (values != 0).sum() > 0


def test_scales_are_ranges_over_127(calibration):
    for name, scale in calibration.scales.items():
        assert scale == np.float32(calibration.ranges[name] / 127) > 0


def test_more_recordings_only_widen_the_largest_magnitudes(fusion, calibration):
    wider = calibrate(calibrator_of(fusion), fusion.run.labels, 20, "max")
    assert all(wider.ranges[name] >= calibration.ranges[name] for name in calibration.ranges)
    assert len(wider.clips) == 20


def test_dead_tensor_gets_a_usable_scale():
    calibration = Calibration("max", (), {}, {"dead": 0.0}, "")
    assert calibration.scale("dead") == 1


# --- the choice -------------------------------------------------------------------------------------


def test_all_estimators_are_compared_on_a_subject_that_no_range_came_from(fusion, choice):
    assert list(choice.scores) == [FLOAT, *ESTIMATORS]
    assert (choice.subjects, choice.held_out, choice.trained_on, choice.clips) == ((1,), 3, True, 10)
    assert choice.estimator == best(choice.scores)
    candidates = {name: s for name, s in choice.scores.items() if name != FLOAT}
    assert max(s.top1 for s in candidates.values()) == candidates[choice.estimator].top1
    assert len({s.nll for s in choice.scores.values()}) >= 4  # of a few values, percentiles are the largest


def test_score_is_that_of_the_logits(fusion):
    clips = list(fusion.clips.load("train"))
    logits = fusion.reference(to_feeds(fusion.inputs, [clip.inputs for clip in clips]))
    labels = np.asarray([clip.label for clip in clips])
    share = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = score({FLOAT: fusion.graph}, fusion.inputs, clips)[FLOAT]
    assert found.top1 == pytest.approx(np.mean(logits.argmax(axis=1) == labels))
    assert found.nll == pytest.approx(-np.mean(np.log(share[np.arange(len(labels)), labels])), rel=1e-4)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"max": (0.9, 0.1), "entropy": (0.95, 0.5)}, "entropy"),
        ({"max": (0.9, 0.3), "entropy": (0.9, 0.2), "mse": (0.9, 0.25)}, "entropy"),
        ({"mse": (0.9, 0.2), "max": (0.9, 0.2)}, "max"),
        ({FLOAT: (1.0, 0.0), "mse": (0.5, 0.2)}, "mse"),
    ],
)
def test_highest_top1_wins_then_the_lowest_likelihood_loss_then_the_first(scores, expected):
    assert best({name: Score(*values) for name, values in scores.items()}) == expected


def test_validation_subject_is_compared_on_where_there_is_one(fusion):
    def listed(side: str, entries: list[Entry]) -> list[Entry]:
        return {"validation": fusion.clips.entries("test"), "test": []}.get(side, entries)

    found = choose_estimator(calibrator_of(fusion, Altered(fusion.clips, listed)), 5)
    assert (found.subjects, found.held_out, found.trained_on, found.clips) == ((1, 3), 2, False, 5)


def test_of_one_training_subject_a_fifth_of_the_recordings_is_held_out(fusion):
    alone = Altered(fusion.clips, lambda side, entries: [e for e in entries if e.subject != 3])
    train = alone.entries("train")
    held_out = hold_out(calibrator_of(fusion, alone), 1000)
    assert len(held_out.entries) == len(train) // 5 and held_out.subject is None and held_out.subjects == (1,)
    assert {*held_out.entries, *held_out.others} == set(train) and not {*held_out.entries} & {*held_out.others}
    choice = choose_estimator(calibrator_of(fusion, alone), 10)
    assert (choice.subjects, choice.held_out, choice.trained_on) == ((1,), None, True)
    assert "a fifth of the training recordings" in choice.table().title


def test_a_single_training_recording_cannot_be_held_out(fusion):
    alone = Altered(fusion.clips, lambda side, entries: entries[:1])
    with pytest.raises(ExportError, match="there is only one to train on"):
        hold_out(calibrator_of(fusion, alone), 10)


# --- the file ---------------------------------------------------------------------------------------


def test_same_recordings_give_the_same_file(fusion, choice):
    def write() -> str:
        chosen = choose_estimator(calibrator_of(fusion), 10)
        return json.dumps(calibrate(calibrator_of(fusion), fusion.run.labels, 10, "mse", chosen.to_json()).to_json())

    first = write()
    assert first == write()
    values = json.loads(first)
    assert (values["estimator"], values["subjects"], len(values["clips"])) == ("mse", [1, 3], 10)
    assert values["candidates"]["held_out_subject"] == 3
    assert values["candidates"]["scores"]["entropy"] == dataclasses.asdict(choice.scores["entropy"])


# --- what is refused --------------------------------------------------------------------------------


def test_value_that_is_not_finite_is_refused_with_the_recording(fusion):
    def broken(clip: Clip) -> list[Clip]:
        return [dataclasses.replace(clip, inputs={m: np.full_like(v, np.inf) for m, v in clip.inputs.items()})]

    calibrator = calibrator_of(fusion, Altered(fusion.clips, loaded=broken))
    with pytest.raises(ExportError, match="a1_s1_t1"):
        calibrator.measure(calibrator.choose(1))


def test_recording_of_a_test_subject_is_refused(fusion):
    tested = fusion.clips.entries("test")[:1]
    with pytest.raises(ExportError, match=r"a1_s2_t1 is on the test side; .* training subjects"):
        calibrator_of(fusion).measure(tested)
    with pytest.raises(ExportError, match="the test side were asked for"):
        next(load_for_calibration(fusion.clips, "test", tested))


def test_recording_on_both_sides_is_refused(fusion):
    both = Altered(fusion.clips, lambda side, entries: fusion.clips.entries("train"))
    calibrator = calibrator_of(fusion, both)
    with pytest.raises(ExportError, match=r"and 7 more are on the test side"):
        calibrate(calibrator, fusion.run.labels, 10, "max")


def test_recording_that_is_not_there_is_refused(fusion):
    with pytest.raises(ExportError, match="a9_s1_t1 is not among the recordings of the train side"):
        calibrator_of(fusion).measure([Entry("a9_s1_t1", 1, 0)])


def test_missing_clip_is_refused(fusion):
    lossy = Altered(fusion.clips, loaded=lambda clip: [] if clip.name == "a2_s1_t1" else [clip])
    with pytest.raises(ExportError, match=r"clips are missing: a2_s1_t1(.|\n)*raw_dir"):
        calibrate(calibrator_of(fusion, lossy), fusion.run.labels, 10, "max")


def test_clip_that_nobody_chose_is_refused(fusion):
    foreign = next(fusion.clips.load("test"))
    mixed = Altered(fusion.clips, loaded=lambda clip: [clip, foreign])
    with pytest.raises(ExportError, match=f"{foreign.name} was read for calibration without being chosen"):
        calibrate(calibrator_of(fusion, mixed), fusion.run.labels, 10, "max")


def test_run_is_calibrated_on_the_recordings_it_was_trained_on(fusion, tmp_path):
    trained, tested = ([entry.name for entry in fusion.clips.entries(side)] for side in ("train", "test"))
    write_plan(tmp_path, trained)
    check_trained_on(tmp_path, trained)
    for others in (trained[1:], [*trained, *tested]):
        with pytest.raises(ExportError, match=r"not those that the run(.|\n)*raw_dir"):
            check_trained_on(tmp_path, others)


def test_of_a_few_recordings_of_one_subject_one_is_held_out(fusion):
    few = Altered(fusion.clips, lambda side, entries: [e for e in entries if e.subject == 1][:3])
    held_out = hold_out(calibrator_of(fusion, few), 10)
    assert (len(held_out.entries), len(held_out.others)) == (1, 2)


def test_no_more_is_judged_on_than_was_asked_for_and_nothing_else_is_calibrated_on(fusion):
    held_out = hold_out(calibrator_of(fusion), 4)
    assert len(held_out.entries) == len({entry.label for entry in held_out.entries}) == 4
    assert {entry.subject for entry in held_out.others} == {1}
