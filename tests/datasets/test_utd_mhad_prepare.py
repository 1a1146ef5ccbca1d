"""The whole way from raw files to records, and what stops it."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds

from datasets import utd_mhad
from datasets.errors import DatasetError
from datasets.locking import locked
from datasets.utd_mhad import MODALITIES, RecordingId
from datasets.utd_mhad.__main__ import main
from datasets.utd_mhad.utd_mhad_dataset_builder import Builder
from datasets.workers import Workers
from tests.datasets import utd_mhad_raw as raw

ROOT = Path(__file__).parents[2]
REAL = Path(os.environ.get("HARTX_UTD_MHAD") or ROOT.parent / "shared" / "utd_mhad")
FIRST = min(raw.EXPECTED)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw recordings without a fault; not to be changed."""
    return raw.write_raw(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def raw_dir(sound: Path, tmp_path: Path) -> Path:
    """A copy of them to be changed."""
    return Path(shutil.copytree(sound, tmp_path / "raw"))


def prepare(raw_dir: Path, data_dir: Path, **options: object) -> tfds.core.DatasetBuilder:
    return utd_mhad.prepare(
        raw_dir, data_dir, **{"expected": raw.EXPECTED, "num_workers": 1, "progress": False} | options
    )


def records(builder: tfds.core.DatasetBuilder) -> dict[RecordingId, dict]:
    source = builder.as_data_source("+".join(sorted(builder.info.splits)))
    return {
        RecordingId(r["action"] + 1, r["subject"], r["trial"]): r for r in map(source.__getitem__, range(len(source)))
    }


def assert_nothing_half_made(data_dir: Path) -> None:
    left = [path for path in data_dir.rglob("*") if path.is_file() and path.name != ".lock"]
    assert left == []
    assert not list((data_dir / "utd_mhad").glob("*/"))


# --- sound recordings -----------------------------------------------------------------------------


def test_round_trip(sound: Path, tmp_path: Path) -> None:
    builder = prepare(sound, tmp_path, num_workers=2)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {"s1": 4, "s2": 4}
    read_back = records(builder)
    assert set(read_back) == raw.EXPECTED
    for key, record in read_back.items():
        assert record["name"] == key.name.encode()
        assert builder.info.features["action"].int2str(record["action"]) == utd_mhad.ACTIONS[key.action - 1]
        np.testing.assert_array_equal(raw.decode_depth(record["depth"]), raw.depth_of(key))
        np.testing.assert_array_equal(
            record["skeleton"]["joints"], np.moveaxis(raw.skeleton_of(key), -1, 0).astype(np.float32)
        )
        np.testing.assert_array_equal(record["inertial"]["samples"], raw.inertial_of(key).astype(np.float32))
        frames = [cv2.imdecode(np.frombuffer(f, np.uint8), cv2.IMREAD_COLOR_RGB) for f in record["rgb"]["frames"]]
        assert np.abs(np.stack(frames).astype(float) - raw.rgb_of(key)).mean() < 4
        np.testing.assert_allclose(record["rgb"]["time_s"], np.arange(len(frames)) / 15, rtol=1e-6)
        np.testing.assert_allclose(record["skeleton"]["time_s"], np.arange(raw.num_frames(key)) / 30, rtol=1e-6)


def test_records_come_in_the_authors_order(sound: Path, tmp_path: Path) -> None:
    source = prepare(sound, tmp_path).as_data_source("s2+s1")
    names = [source[i]["name"].decode() for i in range(len(source))]
    assert names == [f"a{a}_s{s}_t{t}" for s in (2, 1) for a in (1, 2) for t in (1, 2)]


@pytest.mark.parametrize("modalities", [(m,) for m in MODALITIES] + [("depth", "skeleton")])
def test_any_subset_of_modalities(
    tmp_path: Path, modalities: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    raw_dir = raw.write_raw(tmp_path / "raw", raw.EXPECTED, modalities)
    read_back = records(prepare(raw_dir, tmp_path / "data"))
    for record in read_back.values():
        assert {m for m in MODALITIES if len(record[m]["time_s"])} == set(modalities)
    assert {f"no {m}" for m in MODALITIES if m not in modalities} <= {r.args[1] for r in caplog.records if r.args}


def test_zips_give_what_folders_give(sound: Path, tmp_path: Path) -> None:
    zips = tmp_path / "zips"
    for folder in sound.iterdir():
        shutil.make_archive(str(zips / folder.name), "zip", sound, folder.name)
    from_folders = records(prepare(sound, tmp_path / "a"))
    from_zips = records(prepare(zips, tmp_path / "b", num_workers=2))
    assert from_folders.keys() == from_zips.keys()
    for key, record in from_folders.items():
        for modality in MODALITIES:
            for feature, value in record[modality].items():
                np.testing.assert_array_equal(from_zips[key][modality][feature], value)


def test_a_prepared_dataset_is_reused(raw_dir: Path, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    first = Path(prepare(raw_dir, data_dir).data_path)
    written = {path: path.stat().st_mtime_ns for path in first.iterdir()}
    again = Path(prepare(raw_dir, data_dir).data_path)
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in again.iterdir()} == written
    skeleton = raw.raw_path(raw_dir, FIRST, "skeleton")
    skeleton.write_bytes(raw.mat(d_skel=np.ones((20, 3, 50))))
    changed = prepare(raw_dir, data_dir)
    assert Path(changed.data_path) != first
    assert len(records(changed)[FIRST]["skeleton"]["joints"]) == 50
    assert first.exists()


def test_one_process_converts_while_others_wait(sound: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as threads:
        with locked(tmp_path / "utd_mhad"):
            waiting = threads.submit(prepare, sound, tmp_path)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.5)
            assert not list(tmp_path.glob("utd_mhad/*/"))
        prepared = waiting.result(timeout=60)
    with locked(tmp_path / "utd_mhad"):  # who only reads waits for nobody
        assert prepare(sound, tmp_path).data_path == prepared.data_path


def test_no_tensorflow_and_no_tfds_in_workers() -> None:
    code = "import sys, datasets.utd_mhad.examples; print({'tensorflow_datasets', 'jax'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "set()\n"
    assert "tensorflow" not in sys.modules


def test_the_builder_finds_its_papers() -> None:
    metadata = Builder.get_metadata()
    assert "ICIP" in metadata.citation
    assert "861 recordings" in metadata.description
    assert not set(metadata.tags) - set(tfds.core.dataset_metadata.valid_tags())
    assert {url.rpartition("/")[2] for url in Builder.url_infos} == {
        "RGB.zip",
        "Depth.zip",
        "Skeleton.zip",
        "Inertial.zip",
    }


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real recordings are not in {REAL} (set HARTX_UTD_MHAD)")
def test_real_recordings(tmp_path: Path) -> None:
    chosen = [RecordingId(1, 1, 1), RecordingId(27, 7, 4)]
    for key in chosen:
        for modality in ("depth", "skeleton", "inertial"):
            link = raw.raw_path(tmp_path / "raw", key, modality)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(raw.raw_path(REAL, key, modality))
    read_back = records(prepare(tmp_path / "raw", tmp_path / "data", expected=frozenset(chosen)))
    assert set(read_back) == set(chosen)
    for key, record in read_back.items():
        depth = scipy.io.loadmat(raw.raw_path(REAL, key, "depth"))["d_depth"]
        np.testing.assert_array_equal(raw.decode_depth(record["depth"]), depth)
        joints = scipy.io.loadmat(raw.raw_path(REAL, key, "skeleton"))["d_skel"]
        np.testing.assert_array_equal(record["skeleton"]["joints"], np.moveaxis(joints, -1, 0).astype(np.float32))
        samples = scipy.io.loadmat(raw.raw_path(REAL, key, "inertial"))["d_iner"]
        step_s = depth.shape[-1] / 30 / len(samples)
        np.testing.assert_allclose(np.diff(record["inertial"]["time_s"]), step_s, rtol=1e-4)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real recordings are not in {REAL} (set HARTX_UTD_MHAD)")
def test_real_depth_shows_what_the_skeletons_said_before() -> None:
    """The outline moves when the joints move; compared with a frame before and a frame after, it is late."""

    def agreement(key: RecordingId) -> tuple[float, float]:
        depth = scipy.io.loadmat(raw.raw_path(REAL, key, "depth"))["d_depth"]
        joints = scipy.io.loadmat(raw.raw_path(REAL, key, "skeleton"))["d_skel"]
        outline = np.sqrt(np.abs(np.diff((depth > 0).astype(np.float32))).sum((0, 1)))
        moved = np.sqrt(np.linalg.norm(np.diff(joints), axis=1).sum(0))
        before, after = (outline[1:], moved[:-1]), (outline[:-1], moved[1:])
        return np.corrcoef(*before)[0, 1], np.corrcoef(*after)[0, 1]

    before, after = zip(*(agreement(RecordingId(a, s, 1)) for a in range(1, 22, 2) for s in (1, 3)), strict=True)
    assert np.mean(before) > np.mean(after) + 0.03


# --- faulty ones ----------------------------------------------------------------------------------


def damage_everything(raw_dir: Path) -> set[str]:
    """Put one fault of each kind into raw recordings; return the parts of the message that name them."""
    depth = raw.raw_path(raw_dir, RecordingId(1, 1, 1), "depth")
    depth.write_bytes(depth.read_bytes()[:200])
    raw.raw_path(raw_dir, RecordingId(2, 1, 1), "rgb").write_bytes(b"")
    raw.raw_path(raw_dir, RecordingId(1, 2, 2), "skeleton").write_bytes(raw.mat(d_depth=np.ones(3)))
    raw.raw_path(raw_dir, RecordingId(2, 2, 1), "inertial").unlink()
    shutil.copy(depth, raw_dir / "Depth" / "a28_s1_t1_depth.mat")
    shutil.copytree(raw_dir / "RGB", raw_dir / "Copy", ignore=lambda _, names: sorted(names)[1:])
    return {
        "Depth/a1_s1_t1_depth.mat: is damaged or truncated",
        "RGB/a2_s1_t1_color.avi: is empty (0 bytes)",
        "Skeleton/a1_s2_t2_skeleton.mat: holds no variable d_skel",
        "a2_s2_t1 inertial: is missing",
        "Depth/a28_s1_t1_depth.mat: is unexpected, action 28",
        "RGB/a1_s1_t1_color.avi: is a duplicate of Copy/a1_s1_t1_color.avi",
    }


def test_faults_stop_the_conversion_with_the_whole_list(raw_dir: Path, tmp_path: Path) -> None:
    faults = damage_everything(raw_dir)
    with pytest.raises(DatasetError) as caught:
        prepare(raw_dir, tmp_path / "data")
    message = str(caught.value)
    assert all(fault in message for fault in faults)
    assert len(message.splitlines()) == len(faults) + 2
    assert "--allow_partial" in message
    assert_nothing_half_made(tmp_path / "data")


def test_allow_partial_goes_on_with_what_is_sound(
    raw_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    faults = damage_everything(raw_dir)
    builder = prepare(raw_dir, tmp_path / "data", allow_partial=True)
    left_out = builder.info.metadata["left_out"]
    assert len(left_out) == len(faults)
    assert all(any(entry.startswith(fault) for entry in left_out) for fault in faults)
    assert all(f"left out: {entry}" in caplog.messages for entry in left_out)
    read_back = records(builder)
    assert set(read_back) == raw.EXPECTED
    gone = {(key.name, m) for key, record in read_back.items() for m in MODALITIES if not len(record[m]["time_s"])}
    assert gone == {("a1_s1_t1", "depth"), ("a2_s1_t1", "rgb"), ("a1_s2_t2", "skeleton"), ("a2_s2_t1", "inertial")}
    np.testing.assert_array_equal(
        raw.decode_depth(read_back[RecordingId(2, 1, 1)]["depth"]), raw.depth_of(RecordingId(2, 1, 1))
    )


def test_a_partial_dataset_is_not_taken_for_a_whole_one(raw_dir: Path, tmp_path: Path) -> None:
    raw.raw_path(raw_dir, FIRST, "rgb").write_bytes(b"")
    prepare(raw_dir, tmp_path / "data", allow_partial=True)
    with pytest.raises(DatasetError, match="is empty"):
        prepare(raw_dir, tmp_path / "data")


def test_a_subject_without_a_sound_file_is_dropped(tmp_path: Path) -> None:
    raw_dir = raw.write_raw(tmp_path / "raw", raw.EXPECTED, ("skeleton",))
    for path in (raw_dir / "Skeleton").glob("*_s2_*"):
        path.write_bytes(b"damaged")
    builder = prepare(raw_dir, tmp_path / "data", allow_partial=True)
    assert set(builder.info.splits) == {"s1"}
    for path in (raw_dir / "Skeleton").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(DatasetError, match="no sound file is left"):
        prepare(raw_dir, tmp_path / "data", allow_partial=True)


def test_a_damaged_zip_member(sound: Path, tmp_path: Path) -> None:
    zips = tmp_path / "zips"
    archive = Path(shutil.make_archive(str(zips / "Skeleton"), "zip", sound, "Skeleton"))
    content = bytearray(archive.read_bytes())
    content[len(content) // 4] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(DatasetError, match=r"Skeleton.zip:Skeleton/\S+: cannot be read"):
        prepare(zips, tmp_path / "data")


# --- interruptions --------------------------------------------------------------------------------

PREPARE = """
import sys
from datasets import utd_mhad
from tests.datasets import utd_mhad_raw as raw
if __name__ == "__main__":
    utd_mhad.prepare(sys.argv[1], sys.argv[2], expected=raw.EXPECTED, num_workers=2, progress=False)
"""


def wait_until(condition: object, what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_kill_9_leaves_nothing_half_made(sound: Path, tmp_path: Path) -> None:
    script, data_dir = tmp_path / "script.py", tmp_path / "data"
    script.write_text(PREPARE)
    process = subprocess.Popen(
        [sys.executable, script, sound, data_dir],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: list(data_dir.glob("utd_mhad/*/incomplete.*")), "the conversion to begin")
        wait_until(lambda: len(children(process.pid)) >= 2, "the workers to begin")
        workers = children(process.pid)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not list(data_dir.glob("utd_mhad/*/1.*"))
    wait_until(lambda: not any(map(is_running, workers)), "the workers to end")
    builder = prepare(sound, data_dir)
    assert set(records(builder)) == raw.EXPECTED
    assert not list(data_dir.rglob("incomplete.*"))


def test_a_worker_that_is_killed_is_an_error() -> None:
    with Workers(2, progress=False) as workers, pytest.raises(DatasetError, match="a worker process was killed"):
        list(workers.map("Ending", os._exit, [1, 1, 1]))


IN_A_SMALL_TMPFS = """
set -e
mount -t tmpfs -o size=128k none "$2"
"$0" -m datasets.utd_mhad --raw_dir="$1" --data_dir="$2/data" --allow_partial --num_workers=1 || echo "exit code $?"
find "$2" -type f -not -name .lock
"""


def test_a_full_disk(tmp_path: Path) -> None:
    probe = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"no mount namespace to put a small tmpfs in: {probe.stderr.decode().strip()}")
    raw_dir, disk = tmp_path / "raw", tmp_path / "disk"
    disk.mkdir()
    noise = np.random.default_rng(0).integers(1, 9999, (100, 100, 20)).astype(np.uint16)
    raw.raw_path(raw_dir, FIRST, "depth").parent.mkdir(parents=True)
    raw.raw_path(raw_dir, FIRST, "depth").write_bytes(raw.mat(d_depth=noise))
    result = subprocess.run(
        ["unshare", "-rm", "sh", "-c", IN_A_SMALL_TMPFS, sys.executable, raw_dir, disk],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"error: the disk of {disk}/data is full" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == "exit code 1\n"  # and no file is left


# --- the command ----------------------------------------------------------------------------------


def test_the_command_prepares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw.write_raw(tmp_path / "raw", modalities=("skeleton",))
    arguments = [f"--raw_dir={tmp_path / 'raw'}", f"--data_dir={tmp_path / 'data'}", "--num_workers=1"]
    assert main(arguments) == 1
    assert "a1_s1_t3 skeleton: is missing" in capsys.readouterr().err
    assert main([*arguments, "--allow_partial"]) == 0
    assert capsys.readouterr().out.endswith("  s1: 4, s2: 4\n")


def test_the_command_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.CRITICAL):
        assert main([f"--raw_dir={tmp_path / 'absent'}", f"--data_dir={tmp_path}"]) == 1
    assert capsys.readouterr().err.startswith(f"error: raw_dir {tmp_path / 'absent'} does not exist")
    for wrong in (["--num_workers=0"], ["--rawdir=x"]):
        with pytest.raises(SystemExit) as caught:
            main(wrong)
        assert caught.value.code == 2
