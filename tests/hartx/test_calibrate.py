"""A run's temperature: fitted on training subjects only, kept with the run, read by the export."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import base
from hartx import calibrate as command
from hartx import config as configs
from hartx.calibrate import calibrate, from_sweep
from hartx.calibration import read_temperature
from hartx.errors import HartxError
from hartx.predictions import Predictions, keep_predictions, pool, read_predictions

CLASSES = 4


def make_run(workdir, subject, right=6, clips=10, **fields):
    """A tested run, overconfident: sure of itself, and `right` of its `clips` recordings right."""
    config = base.get_config()
    config.update_from_flattened_dict(fields)
    configs.keep(config, workdir)
    labels = np.arange(clips) % CLASSES
    predicted = np.where(np.arange(clips) < right, labels, (labels + 1) % CLASSES)
    probabilities = np.where(np.eye(CLASSES)[predicted] == 1, 0.97, 0.01).astype(np.float32)
    names = [f"a{label + 1}_s{subject}_t{index}" for index, label in enumerate(labels)]
    keep_predictions(Predictions(names, np.full(clips, subject), labels, probabilities), workdir)
    return config


def make_sweep(root, subjects, **changes):
    """A LOSO sweep over subjects, written by hand."""
    runs = []
    for subject in subjects:
        workdir = root / f"loso_{subject}"
        make_run(workdir, subject, protocol=f"loso:{subject}")
        runs.append({"fold": f"loso:{subject}", "seed": 0, "workdir": str(workdir), "error": None})
    folder = root / "sweeps/loso"
    folder.mkdir(parents=True)
    config = base.get_config()
    values = {"protocol": "loso", "streams": list(config.streams), "runs": runs, "config": config.to_dict()} | changes
    (folder / "sweep.json").write_text(json.dumps(values))
    return folder


def test_overconfidence_is_cooled_and_kept(tmp_path):
    run = tmp_path / "run"
    make_run(run, subject=2)
    folder = make_sweep(tmp_path, [1, 3, 5, 7])
    values = calibrate(run, folder)
    assert json.loads((run / "temperature.json").read_text()) == values
    assert read_temperature(run) == values["temperature"] > 1
    fitted = values["fitted_on"]
    assert fitted["subjects"] == [1, 3, 5, 7] and fitted["clips"] == 40
    # 24 of 40 are right: a confidence of 0.6, but for targets of 41 / 42 where right and a third of 1 / 42 where wrong.
    sure = (24 * 41 / 42 + 16 * (1 / 42) / 3) / 40
    assert values["temperature"] == pytest.approx(np.log(97) / np.log(sure / ((1 - sure) / 3)), abs=1e-3)
    assert fitted["before"]["ece"] == pytest.approx(0.37, abs=1e-4)
    assert fitted["after"]["ece"] == pytest.approx(0.6 - sure, abs=1e-4)
    assert values["test"]["subjects"] == [2] and values["test"]["after"]["ece"] < values["test"]["before"]["ece"]


@pytest.fixture(scope="module")
def everyone(tmp_path_factory):
    """A sweep that left out each of 8 subjects."""
    return make_sweep(tmp_path_factory.mktemp("sweep"), range(1, 9))


@settings(deadline=None, max_examples=30)
@given(
    st.sets(st.integers(1, 8), min_size=1),
    st.one_of(st.just("cross_subject"), st.integers(1, 8).map(lambda k: f"loso:{k}")),
)
def test_no_test_subject_is_ever_fitted_on(everyone, subjects, protocol):
    sweep = json.loads((everyone / "sweep.json").read_text())
    sweep["runs"] = [run for run in sweep["runs"] if int(run["fold"][5:]) in subjects]
    folder = everyone.with_name("drawn")
    folder.mkdir(exist_ok=True)
    (folder / "sweep.json").write_text(json.dumps(sweep))
    config = base.get_config()
    config.protocol = protocol
    tests = {2, 4, 6, 8} if protocol == "cross_subject" else {int(protocol[5:])}
    if subjects <= tests:
        with pytest.raises(HartxError, match="no fold"):
            from_sweep(config, folder)
        return
    held_out = from_sweep(config, folder)
    assert set(held_out.predictions.subjects.tolist()) == subjects - tests
    assert {name.split("_s")[1][0] for name in held_out.predictions.names} == {str(s) for s in subjects - tests}
    assert len(held_out.runs) == len(subjects - tests)


def test_a_sweep_over_another_dataset_is_refused(tmp_path):
    folder = make_sweep(tmp_path, [1, 3])
    config = base.get_config()
    config.dataset.raw_dir = "UTD-MHAD"
    with pytest.raises(HartxError, match="is a sweep over synthetic_mhad, the run is of utd_mhad"):
        from_sweep(config, folder)
    values = json.loads((folder / "sweep.json").read_text())
    values["config"]["dataset"] |= {"name": "video_folder", "raw_dir": "dogs"}
    (folder / "sweep.json").write_text(json.dumps(values))
    config.dataset.name, config.dataset.raw_dir = "video_folder", "people"
    with pytest.raises(HartxError, match="is a sweep over dogs, the run is of other clips"):
        from_sweep(config, folder)
    config.dataset.raw_dir = "./dogs"
    assert from_sweep(config, folder).runs == ["loso_1", "loso_3"]


def test_a_failed_fold_is_left_out(tmp_path):
    folder = make_sweep(tmp_path, [1, 3])
    values = json.loads((folder / "sweep.json").read_text())
    values["runs"][0]["error"] = "killed"
    (folder / "sweep.json").write_text(json.dumps(values))
    assert from_sweep(base.get_config(), folder).runs == ["loso_3"]


def test_a_fold_that_left_out_a_test_subject_as_well_is_dropped_whole(tmp_path):
    folder = make_sweep(tmp_path, [1, 3])
    make_run(tmp_path / "other", subject=2)
    both = pool([read_predictions(tmp_path / name) for name in ("loso_1", "other")])
    keep_predictions(both, tmp_path / "loso_1")
    held_out = from_sweep(base.get_config(), folder)
    assert held_out.runs == ["loso_3"] and set(held_out.predictions.subjects) == {3}


@pytest.mark.parametrize(
    "changes, fields, message",
    [
        ({"protocol": "cross_subject"}, {}, "loso is expected"),
        ({"streams": ["depth"]}, {}, "sweep of \\['depth'\\]"),
        ({}, {"protocol": "random80:1"}, "every subject on its test side"),
    ],
)
def test_a_sweep_that_does_not_fit_is_refused(tmp_path, changes, fields, message):
    make_run(tmp_path / "run", subject=2, **fields)
    with pytest.raises(HartxError, match=message):
        calibrate(tmp_path / "run", make_sweep(tmp_path, [1, 3], **changes))
    assert not (tmp_path / "run/temperature.json").exists()


def test_with_nothing_to_fit_on_the_error_says_what_to_do(tmp_path, capsys):
    make_run(tmp_path / "run", subject=2)
    assert command.main([f"--workdir={tmp_path / 'run'}"]) == 1
    said = capsys.readouterr().err
    assert "no validation subject" in said and "python -m hartx.sweep" in said and "--sweep=" in said


def test_a_run_without_a_temperature_has_1_and_a_damaged_one_says_so(tmp_path):
    assert read_temperature(tmp_path) == 1
    (tmp_path / "temperature.json").write_text("{}")
    with pytest.raises(HartxError, match="damaged"):
        read_temperature(tmp_path)
