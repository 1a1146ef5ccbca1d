"""Sweeps: which runs there are, that none is run twice, and that one that fails is a row."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from configs import base
from hartx import sweep_runs
from hartx.errors import HartxError
from hartx.protocol import folds
from hartx.run import fingerprint, run_name
from hartx.sweep import Sweep, plan, run_sweep
from hartx.sweep_runs import is_done, shares
from tests.hartx.stub_recordings import recordings


@pytest.fixture
def sweep(tmp_path, monkeypatch, repository):
    """A sweep of subjects 1 and 3 with two seeds, whose runs are `stub_main.py`."""
    monkeypatch.setattr("hartx.sweep.recordings_present", recordings)
    monkeypatch.setattr(sweep_runs, "_MAIN", repository / "tests/hartx/stub_main.py")
    monkeypatch.setenv("PYTHONPATH", str(repository))
    (tmp_path / "stub.json").write_text("{}")
    return Sweep("test", base.get_config(), "loso", 2, tmp_path, "python -m hartx.sweep")


def behave(sweep, **behaviour):
    values = {f"loso:{name[1]} {name[3]}": value for name, value in behaviour.items()}
    (sweep.root / "stub.json").write_text(json.dumps(values))


def starts(sweep):
    """How often each run was started, by (fold, seed)."""
    files = {(p.fold, p.seed): p.workdir / "starts" for p in plan(sweep)}
    return {key: len(path.read_text().splitlines()) if path.exists() else 0 for key, path in files.items()}


@pytest.mark.parametrize(
    "protocol, expected",
    [
        ("loso", ("loso:1", "loso:3", "loso:5")),
        ("loso:5,1", ("loso:1", "loso:5")),
        ("loso:3", ("loso:3",)),
        ("loso:5+1,1+3,3+1", ("loso:1+3", "loso:1+5")),
        ("loso:5,3+1", ("loso:1+3", "loso:5")),
        ("cross_subject", ("cross_subject",)),
        ("random80", ("random80:7",)),
        ("random80:2", ("random80:2",)),
    ],
)
def test_the_folds_of_a_protocol(protocol, expected):
    assert folds(protocol, 7, [5, 3, 1, 3]) == expected


@pytest.mark.parametrize(
    "protocol, message",
    [
        ("losso", "did you mean 'loso'"),
        ("loso:", "one of loso"),
        ("loso:1,3+9", r"no recording: \[9\].*\[1, 3\]"),
    ],
)
def test_a_protocol_that_cannot_be_is_refused(protocol, message):
    with pytest.raises(HartxError, match=message):
        folds(protocol, 0, [1, 3])


def test_a_run_is_named_by_what_it_computes():
    config = base.get_config()
    name = run_name(config)
    assert name.startswith("base-cross_subject-s0-")
    config.dataset.data_dir, config.clip.views = "/elsewhere", 3
    assert run_name(config) == name
    config.optim.learning_rate = 0.5
    assert run_name(config) != name


def test_real_and_synthetic_recordings_do_not_share_a_run():
    config = base.get_config()
    name = run_name(config)
    config.dataset.raw_dir = "UTD-MHAD"
    assert run_name(config) != name
    config.dataset.name = "synthetic_mhad"
    assert run_name(config) == name


def test_a_sweep_leaves_its_results(sweep):
    described = run_sweep(sweep, jobs=1)
    assert [(run["fold"], run["seed"]) for run in described["runs"]] == [
        ("loso:1", 0),
        ("loso:3", 0),
        ("loso:1", 1),
        ("loso:3", 1),
    ]
    assert all(run["top1"] == 1 and run["training_min"] == 1 and run["error"] is None for run in described["runs"])
    assert json.loads((sweep.folder / "sweep.json").read_text())["runs"] == described["runs"]
    summary = json.loads((sweep.folder / "summary.json").read_text())
    assert summary["top1"]["mean"] == 1 and summary["clips"] == 4 and summary["seeds"] == {"0": 1.0, "1": 1.0}
    for picture in ("confusion_matrix", "folds", "per_class"):
        assert (sweep.folder / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_the_confusion_matrix_says_how_many_seeds_its_counts_are_of(sweep, monkeypatch):
    titles = []
    monkeypatch.setattr("hartx.sweep.draw_confusion_matrix", lambda matrix, names, title, path: titles.append(title))
    run_sweep(sweep, jobs=1)
    assert titles == ["test: top-1 100.0%, 2 seed(s) added up"]


def test_what_is_finished_is_not_run_again_and_more_seeds_are_added(sweep):
    run_sweep(sweep, jobs=1)
    run_sweep(sweep, jobs=1)
    assert set(starts(sweep).values()) == {1}
    more = Sweep("test", sweep.config, "loso", 3, sweep.root, "")
    run_sweep(more, jobs=1)
    assert set(starts(more).values()) == {1}


def test_other_views_test_again_and_do_not_train(sweep):
    run_sweep(sweep, jobs=1)
    sweep.config.clip.views = 4
    run_sweep(sweep, jobs=1)
    for entry in plan(sweep):
        lines = (entry.workdir / "starts").read_text().splitlines()
        assert [line.split()[0] for line in lines] == ["train", "evaluate"]


@pytest.mark.parametrize(
    "behaviour, message",
    [("fail", "the recordings are gone Bring them back"), ("crash", "a bug"), ("die", "killed by SIGKILL")],
)
def test_a_run_that_fails_is_a_row_and_is_run_the_next_time(sweep, behaviour, message):
    behave(sweep, s1_0=behaviour)
    described = run_sweep(sweep, jobs=1)
    failed = [run for run in described["runs"] if run["error"]]
    assert [(run["fold"], run["seed"]) for run in failed] == [("loso:1", 0)]
    assert message in failed[0]["error"] and failed[0]["top1"] is None
    assert json.loads((sweep.folder / "summary.json").read_text())["left_out"] == [0]
    behave(sweep)
    assert not any(run["error"] for run in run_sweep(sweep, jobs=1)["runs"])
    assert starts(sweep) == {("loso:1", 0): 2, ("loso:3", 0): 1, ("loso:1", 1): 1, ("loso:3", 1): 1}


def test_two_jobs_share_the_cores(sweep):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core cannot be shared out")
    run_sweep(sweep, jobs=2)
    lines = {(entry.workdir / "starts").read_text().split(" ", 1)[1] for entry in plan(sweep)}
    used = [json.loads(line) for line in lines]
    assert used and all(0 < len(cores) < len(os.sched_getaffinity(0)) for cores in used)


@pytest.mark.parametrize("given, expected", [(None, "false"), ("true", "true")])
def test_runs_leave_memory_of_a_gpu_to_each_other_unless_told_otherwise(sweep, monkeypatch, given, expected):
    if given:
        monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", given)
    else:
        monkeypatch.delenv("XLA_PYTHON_CLIENT_PREALLOCATE", raising=False)
    run_sweep(sweep, 1)
    assert [(p.workdir / "preallocates").read_text() for p in plan(sweep)] == [expected] * 4


def test_shares_are_disjoint_and_no_more_than_there_are():
    cores = os.sched_getaffinity(0)
    parts = shares(len(cores)) if len(cores) > 1 else []
    assert sum(len(part) for part in parts) == len(frozenset().union(*parts))
    with pytest.raises(HartxError, match="at most"):
        shares(len(cores) + 1)


def test_a_run_on_other_recordings_is_not_taken_for_one_of_now(sweep, monkeypatch):
    run_sweep(sweep, jobs=1)
    monkeypatch.setattr("hartx.sweep.recordings_present", lambda config: recordings(trials=2))
    described = run_sweep(sweep, jobs=1)
    assert all("trained on other recordings" in run["error"] for run in described["runs"])
    assert json.loads((sweep.folder / "summary.json").read_text())["top1"] is None
    assert set(starts(sweep).values()) == {1}


def test_a_run_that_was_tested_on_other_recordings_is_tested_again(sweep):
    one = Sweep("test", sweep.config, "loso:3", 1, sweep.root, "")
    run_sweep(one, jobs=1)
    (planned,) = plan(one)
    assert is_done(planned)
    later = fingerprint(["a1_s3_t1", "a1_s3_t2", "a2_s3_t1"])
    assert not is_done(dataclasses.replace(planned, test_recordings=later))


def test_the_summary_is_of_the_runs_that_are_done(sweep):
    """A sweep that is repeated with other views, and stopped, has no results of both."""
    run_sweep(sweep, jobs=1)
    sweep.config.clip.views = 2
    behave(sweep, s1_1="fail", s3_0="fail", s3_1="fail")
    run_sweep(sweep, jobs=1)
    assert list(json.loads((sweep.folder / "summary.json").read_text())["folds"]) == ["loso:1"]


def test_another_sweep_of_the_same_name_is_refused(sweep):
    run_sweep(sweep, jobs=1)
    sweep.config.optim.learning_rate = 0.5
    with pytest.raises(HartxError, match=r"optim\.learning_rate: 0\.001 there, 0\.5 now") as refused:
        run_sweep(sweep, jobs=1)
    assert "protocol" not in str(refused.value)
    sweep.config.optim.learning_rate = 0.001
    with pytest.raises(HartxError, match="holds another sweep\n  protocol: loso there, loso:1 now\n  Give"):
        run_sweep(dataclasses.replace(sweep, protocol="loso:1"), jobs=1)


@pytest.mark.parametrize(
    "name, suggested", [("a/b", "a-b"), ("../b/", "b"), ("/a", "a"), ("..", "skeleton-loso"), (".", "skeleton-loso")]
)
def test_a_name_that_is_none_of_a_folder_is_refused_before_anything_is_read_or_made(
    sweep, monkeypatch, name, suggested
):
    monkeypatch.setattr("hartx.sweep.recordings_present", None)
    before = sorted(sweep.root.rglob("*"))
    with pytest.raises(HartxError, match=f"--name={name} was given; .* without / is expected, such as {suggested}$"):
        run_sweep(dataclasses.replace(sweep, name=name), jobs=1)
    assert sorted(sweep.root.rglob("*")) == before


def test_a_dataset_by_its_name_is_not_said_to_differ_from_auto(sweep):
    sweep.config.dataset.raw_dir = "UTD-MHAD"
    run_sweep(sweep, jobs=1)
    sweep.config.dataset.name, sweep.config.optim.learning_rate = "utd_mhad", 0.5
    with pytest.raises(HartxError, match=r"optim\.learning_rate: 0\.001 there, 0\.5 now") as refused:
        run_sweep(sweep, jobs=1)
    assert "dataset.name" not in str(refused.value)


def test_an_interrupted_sweep_stops_its_runs_and_goes_on(sweep, repository):
    behave(sweep, s1_0="hang")
    script = (
        "import signal, sys; from pathlib import Path; from hartx import sweep, sweep_runs; from configs import base\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from tests.hartx.stub_recordings import recordings; sweep.recordings_present = recordings\n"
        f"sweep_runs._MAIN = Path({str(repository / 'tests/hartx/stub_main.py')!r})\n"
        f"sweep.run_sweep(sweep.Sweep('test', base.get_config(), 'loso', 2, Path({str(sweep.root)!r}), ''), 1)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=repository, stderr=subprocess.DEVNULL)
    hanging = plan(sweep)[0].workdir
    while not (hanging / "starts").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait() != 0
    assert (hanging / "interrupted").exists()
    behave(sweep)
    assert not any(run["error"] for run in run_sweep(sweep, jobs=1)["runs"])
    assert starts(sweep)[("loso:1", 0)] == 2


def test_a_real_run(repository, small_data, tmp_path):
    """main.py starts a run from the config alone, and its report has what a sweep reads."""
    command = [
        sys.executable,
        "-m",
        "hartx.sweep",
        "--config=tests/hartx/small_config.py",
        "--config.streams=('skeleton',)",
        "--config.num_epochs=1",
        f"--config.dataset.data_dir={small_data}",
        "--protocol=loso:1",
        "--seeds=1",
        f"--root={tmp_path}",
    ]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "least recalled" in done.stdout and "loso:1 seed 0: top-1" in done.stdout
    sweep = json.loads((tmp_path / "sweeps/small-loso_1/sweep.json").read_text())
    (run,) = sweep["runs"]
    report = json.loads((Path(run["workdir"]) / "report.json").read_text())
    assert report["top1"] == run["top1"] and report["test_subjects"] == [1] and report["clips"] == 27
    assert 0 <= report["ece"] <= 1 and report["nll"] > 0 and report["missing"] == []
    assert report["training_s"] > 0 and report["peak_memory_bytes"] > 2**20
