"""What a user gets wrong on the command line of main.py: one clear error, exit code 1 or 2, nothing lost."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from hartx import config as configs
from tests.hartx import small_config

SMALL = "--config=tests/hartx/small_config.py"


def run(repository, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "main.py", *arguments],
        cwd=repository,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--config=configs/fusion.py:dpeth"], "one of rgb, skeleton_inertial, depth"),
        (["--workdir=x", "--config.clip.views=3"], "--config.clip.views was given without --config; --config="),
        (["--config=configs/nope.py"], "there is no config file configs/nope.py; configs/depth.py, "),
        (["--config=configs/skeletn.py"], "did you mean 'configs/skeleton.py'"),
        (["--config=configs/skeleton.py", "--config.optim.learning_rat=1"], 'Did you mean "learning_rate"'),
        (["--config=configs/skeleton.py", "--config.optmi.learning_rate=1"], 'Did you mean "optim"'),
        (
            ["--config=configs/fusion.py:all", "--config.pretraining.depth.augment.flip=1"],
            "--config.augment.flip sets it",
        ),
        (["--config=configs/fusion.py:all", "--config.pretraining.dept.num_epochs=1"], 'Did you mean "depth"'),
        (["--config=configs/skeleton.py", "--config.optim.learning_rate=fast"], "could not convert"),
        (["--config=configs/skeleton.py", "--config.dataset.protocol=loso:1"], "no field dataset.protocol"),
        (["--config=configs/prune.py", "--config.prune.keep_flop=0.5"], 'Did you mean "keep_flops"'),
        (["--config=configs/prune.py", "--config.clip.crop=32"], "prune.py and finetune.py have a few of their own"),
        (["--confg=configs/skeleton.py"], "Did you mean: config"),
        (["--config=configs/skeleton.py", "--mode=evalute"], "train|evaluate"),
    ],
)
def test_a_mistyped_flag_is_one_line_and_exit_code_2(repository, arguments, message):
    done = run(repository, *arguments)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "give --config=configs/fusion.py"),
        ([SMALL, "surplus"], "unexpected arguments: surplus"),
        (["--workdir={tmp}/none"], "holds no run"),
        ([SMALL, "--workdir={tmp}/none", "--mode=evaluate"], "holds no run"),
        (
            ["--config=configs/skeleton.py", "--config.dataset.raw_dir={tmp}/none", "--workdir={tmp}/a"],
            "does not exist",
        ),
        (["--config=configs/skeleton.py", "--config.dataset.raw_dir={tmp}", "--workdir={tmp}/a"], "no recording"),
        ([SMALL, "--config.dataset.raw_dir={tmp}", "--workdir={tmp}/a"], "leave one of them out"),
        ([SMALL, "--config.protocol=losso:7", "--workdir={tmp}/a"], "did you mean 'loso'"),
        (["--config=configs/prune.py", "--workdir={tmp}/a"], "config.prune.workdir is empty"),
        (["--config=configs/finetune.py", "--workdir={tmp}/a"], "config.finetune.workdir is empty"),
        ([SMALL, "--config.batch_size=0", "--workdir={tmp}/a"], "at least 1"),
        ([SMALL, "--config.protocol=random80", "--workdir={tmp}/a"], "random80:SEED is expected\n"),
    ],
)
def test_what_cannot_run_is_one_error_and_exit_code_1(repository, tmp_path, arguments, message):
    done = run(repository, *(argument.format(tmp=tmp_path) for argument in arguments))
    assert done.returncode == 1
    assert message in done.stdout + done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "a").exists(), "a run that cannot start leaves no folder"


def test_more_recordings_in_a_batch_than_there_are_is_refused(repository, small_data, tmp_path):
    done = run(
        repository,
        SMALL,
        f"--config.dataset.data_dir={small_data}",
        "--config.batch_size=109",
        f"--workdir={tmp_path}/a",
    )
    assert done.returncode == 1
    assert "error: config.batch_size=109 is more than the 108 training recordings" in done.stderr
    assert "--config.batch_size=64" in done.stderr


def test_a_file_in_the_place_of_the_folder_is_one_clear_error(repository, small_data, tmp_path):
    (tmp_path / "a").write_text("notes")
    done = run(repository, SMALL, f"--config.dataset.data_dir={small_data}", f"--workdir={tmp_path}/a")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"error: {tmp_path}/a cannot be the folder of a run" in done.stderr
    assert (tmp_path / "a").read_text() == "notes"


def command(repository, *arguments):
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=repository, capture_output=True, text=True, timeout=300
    )


def test_a_file_in_the_place_of_the_root_of_sweeps_is_one_clear_error(repository, small_data, tmp_path):
    (tmp_path / "a").write_text("notes")
    data = f"--config.dataset.data_dir={small_data}"
    done = command(repository, "hartx.sweep", SMALL, data, f"--root={tmp_path}/a", "--protocol=loso:1")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "cannot be the folder of a sweep" in done.stderr and "Give another --root" in done.stderr


@pytest.mark.parametrize("field", ["seed=1", "streams_dir={tmp}/streams"])
def test_what_a_sweep_sets_by_itself_is_refused(repository, tmp_path, field):
    given = f"--config.{field.format(tmp=tmp_path)}"
    done = command(repository, "hartx.sweep", SMALL, given, f"--root={tmp_path}/runs")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "error: config.seed or config.streams_dir was given; a sweep has the seeds 0, 1, ..." in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_sweep_of_what_only_changes_a_run_is_one_clear_error(repository):
    done = command(repository, "hartx.sweep", "--config=configs/prune.py")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "only changes a finished run" in done.stderr


def test_a_summary_of_clips_that_are_not_there_is_one_clear_error(repository, tmp_path):
    clips = ["--config.dataset.name=video_folder", f"--config.dataset.raw_dir={tmp_path}/none"]
    done = command(repository, "hartx.summary", "--config=configs/rgb.py:small", *clips)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and "Traceback" not in done.stderr


def test_a_run_of_an_older_version_says_so(repository, small_data, tmp_path):
    config = small_config.get_config()
    config.dataset.data_dir = str(small_data)
    configs.keep(config, tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    del values["augment"]["limb_scale"]
    (tmp_path / "config.json").write_text(json.dumps(values))
    done = run(repository, f"--workdir={tmp_path}")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "error: the config has no augment.limb_scale: it is of an older version" in done.stderr


def test_help_helps(repository):
    done = run(repository, "--help")
    assert done.returncode == 0
    assert "--config=configs/fusion.py" in done.stdout and "--workdir" in done.stdout


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MiB; skips where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system of limited size cannot be mounted here (it needs root)")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_clear_error(repository, small_data, small_disk):
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * (2600 * 1024))
    arguments = (SMALL, f"--config.dataset.data_dir={small_data}", f"--workdir={small_disk}/a")
    done = run(repository, *arguments)
    assert done.returncode == 1
    assert "error: " in done.stderr and "No space left" in done.stderr and "Traceback" not in done.stderr
    assert str(small_disk) in done.stderr
