"""Which files are found, and what is said of those that should not be as they are."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets import utd_mhad
from datasets.errors import DatasetError
from datasets.utd_mhad import RecordingId
from datasets.utd_mhad.layout import Inventory, scan
from datasets.utd_mhad.recordings import parse_name

EXPECTED = frozenset(RecordingId(a, s, t) for a in (1, 2) for s in (1, 2) for t in (1, 2))
PATHS = [
    f"{folder}/{recording.name}_{ending}"
    for folder, ending in (("RGB", "color.avi"), ("Depth", "depth.mat"), ("Skeleton", "skeleton.mat"))
    for recording in sorted(EXPECTED)
]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for path in PATHS:
        add(tmp_path / path)
    return tmp_path


def add(path: Path, content: bytes = b"content") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def problems(inventory: Inventory) -> list[str]:
    return [str(problem) for problem in inventory.problems]


def found(inventory: Inventory) -> dict[str, set[str]]:
    return {recording.id.name: set(recording.files) for recording in inventory.recordings}


def test_the_authors_recordings_are_861() -> None:
    assert len(utd_mhad.ACTIONS) == len(set(utd_mhad.ACTIONS)) == 27
    assert len(utd_mhad.EXPECTED) == 861
    assert not {(8, 1, 4), (23, 6, 4), (27, 8, 4)} & utd_mhad.EXPECTED
    assert {(1, 1, 1), (27, 8, 3)} <= utd_mhad.EXPECTED


@given(st.integers(1, 99), st.integers(1, 99), st.integers(1, 99), st.booleans())
def test_names_are_read_back(action: int, subject: int, trial: int, upper: bool) -> None:
    recording = RecordingId(action, subject, trial)
    name = f"{recording.name}_depth.mat"
    assert parse_name(name.upper() if upper else name) == (recording, "depth")


@pytest.mark.parametrize(
    "name", ["a1_s1_t1_depth.avi", "a1_s1_depth.mat", "xa1_s1_t1_depth.mat", "a1_s1_t1_depth.mat.part"]
)
def test_other_names_are_none(name: str) -> None:
    assert parse_name(name) is None


def test_everything_is_found(raw: Path) -> None:
    inventory = scan(raw, EXPECTED)
    assert found(inventory) == {recording.name: {"rgb", "depth", "skeleton"} for recording in EXPECTED}
    assert problems(inventory) == []
    assert inventory.absent == ("no inertial",)


def test_case_and_nesting_do_not_matter(raw: Path) -> None:
    fingerprint = scan(raw, EXPECTED).fingerprint
    shutil.move(raw / "Depth", raw / "data" / "more" / "DEPTH")
    for path in (raw / "Skeleton").iterdir():
        path.rename(path.with_name(path.name.upper()))
    inventory = scan(raw, EXPECTED)
    assert problems(inventory) == []
    assert len(inventory.recordings) == len(EXPECTED)
    assert inventory.fingerprint == fingerprint


def test_linked_folders_are_followed_once(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.move(raw / "RGB", elsewhere / "RGB")
    (raw / "RGB").symlink_to(elsewhere / "RGB")
    (raw / "loop").symlink_to(raw)
    inventory = scan(raw, EXPECTED)
    assert problems(inventory) == []
    assert all("rgb" in recording.files for recording in inventory.recordings)


def test_harmless_files_are_passed_over(raw: Path) -> None:
    for name in (
        "Skeleton/Skeleton_joint_order.txt",
        "Depth/.DS_Store",
        "__MACOSX/._a1_s1_t1_depth.mat",
        "readme.pdf",
        "Sample/a.m",
    ):
        add(raw / name)
    add(raw / "Depth" / "._a1_s1_t1_depth.mat")
    with zipfile.ZipFile(raw / "Sample_Code.zip", "w") as archive:
        archive.writestr("Sample_Code/example.mat", b"")
    assert problems(scan(raw, EXPECTED)) == []


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("Depth/a28_s1_t1_depth.mat", "action 28 is not in 1..2"),
        ("Depth/a1_s9_t1_depth.mat", "subject 9 is not in 1..2"),
        ("Depth/a1_s1_t3_depth.mat", "trial 3 is not in 1..2"),
        ("Depth/a1_s1_t1_depht.mat", "is unexpected, not named"),
        ("Depth/a1_s1_t1_depth (1).mat", "is unexpected, not named"),
        ("RGB/holiday.avi", "is unexpected, not named"),
        ("RGB/a1_s1_t1_color.mp4", "is unexpected, not named"),
        ("Copy/a1_s1_t1_depth.mat", "duplicate of"),
        ("Skeleton/a1_s1_t1_skeleton.txt", "duplicate of Skeleton/a1_s1_t1_skeleton.mat"),
    ],
)
def test_unexpected_files_are_named(raw: Path, path: str, message: str) -> None:
    fingerprint = scan(raw, EXPECTED).fingerprint
    add(raw / path)
    inventory = scan(raw, EXPECTED)
    [problem] = problems(inventory)
    assert "a1_s1_t1_depth.mat" in problem if "duplicate" in message and "Copy" in path else path in problem
    assert message in problem
    assert inventory.fingerprint != fingerprint


def test_a_recording_that_the_authors_dropped_is_unexpected(tmp_path: Path) -> None:
    add(tmp_path / "a8_s1_t4_depth.mat")
    add(tmp_path / "a8_s1_t3_depth.mat")
    unexpected = [p for p in problems(scan(tmp_path, utd_mhad.EXPECTED)) if "unexpected" in p]
    assert unexpected == ["a8_s1_t4_depth.mat: is unexpected, there is no recording a8_s1_t4"]


def test_missing_is_only_what_lacks_beside_others(raw: Path) -> None:
    (raw / "Depth" / "a2_s1_t1_depth.mat").unlink()
    for path in (raw / "RGB").glob("*_s2_*"):
        path.unlink()
    inventory = scan(raw, EXPECTED)
    assert problems(inventory) == ["a2_s1_t1 depth: is missing, other depth of subject 1 is there"]
    assert inventory.absent == ("no rgb of subject 2", "no inertial")


def test_an_absent_subject_is_told(raw: Path) -> None:
    for path in raw.rglob("*_s1_*"):
        path.unlink()
    inventory = scan(raw, EXPECTED)
    assert problems(inventory) == []
    assert inventory.absent == ("nothing of subject 1", "no inertial")


def test_zips_are_read_like_folders(raw: Path) -> None:
    unpacked = scan(raw, EXPECTED)
    shutil.make_archive(str(raw / "Depth"), "zip", raw, "Depth")
    beside = scan(raw, EXPECTED)
    assert problems(beside) == []
    shutil.rmtree(raw / "Depth")
    packed = scan(raw, EXPECTED)
    assert unpacked.fingerprint == beside.fingerprint == packed.fingerprint
    assert packed.recordings[0].files["depth"].read() == b"content"


def test_a_zip_that_is_cut_off_is_a_problem(raw: Path) -> None:
    archive = Path(shutil.make_archive(str(raw / "Depth"), "zip", raw, "Depth"))
    shutil.rmtree(raw / "Depth")
    archive.write_bytes(archive.read_bytes()[:-30])
    [problem] = problems(scan(raw, EXPECTED))
    assert problem.startswith("Depth.zip: is not a whole zip file")


def test_the_fingerprint_follows_sizes(raw: Path) -> None:
    before = scan(raw, EXPECTED).fingerprint
    add(raw / PATHS[0], b"longer than before")
    assert scan(raw, EXPECTED).fingerprint != before


def test_no_folder_and_no_recordings(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="absent does not exist"):
        scan(tmp_path / "absent", EXPECTED)
    with pytest.raises(DatasetError, match="is not a folder"):
        scan(add(tmp_path / "file"), EXPECTED)
    with pytest.raises(DatasetError, match="holds no recordings"):
        scan(tmp_path, EXPECTED)
