"""A bundle is whole or not there: full disks, interruptions, kills."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from export.bundle import check_target, staged
from export.errors import ExportError
from tests.export.conftest import contents, run_export


@pytest.mark.parametrize("failing", ["model.fp32.onnx", "calibration.json", "model_card.md"])
@pytest.mark.parametrize("there_before", [True, False])
def test_full_disk_leaves_the_old_bundle(fusion, tmp_path, traced_once, monkeypatch, failing, there_before):
    if there_before:
        run_export(fusion, tmp_path / "a")
    before = contents(tmp_path / "a") if there_before else None
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == failing:
            write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ExportError, match=r"cannot be written: No space left on device"):
        run_export(fusion, tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == (["a"] if there_before else [])
    if there_before:
        assert contents(tmp_path / "a") == before


_FILL = """
import sys
from pathlib import Path
from export.bundle import staged
from export.errors import ExportError
from export.formats import Options, Tolerance, parse
bundle = Path(sys.argv[1]) / "a"
bundle.mkdir()
(bundle / "old").write_text("old")
try:
    with staged(bundle) as folder:
        (folder / "new").write_bytes(b"x" * 1_000_000)
except ExportError as error:
    print(error, [p.name for p in bundle.parent.iterdir()], (bundle / "old").read_text())
"""


def test_real_full_disk(tmp_path, repository):
    script = f'mount -t tmpfs -o size=256k tmpfs "{tmp_path}" && "{sys.executable}" -c \'{_FILL}\' "{tmp_path}"'
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    try:
        allowed = subprocess.run([*unshare, f'mount -t tmpfs tmpfs "{tmp_path}"'], capture_output=True).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("this machine does not let us mount a small file system (unshare --user --mount)")
    done = subprocess.run([*unshare, script], capture_output=True, text=True, cwd=repository)
    assert "No space left on device" in done.stdout, done.stderr
    assert "['a'] old" in done.stdout


def test_interrupted_export_leaves_the_old_bundle(tmp_path):
    bundle = tmp_path / "a"
    bundle.mkdir()
    (bundle / "old").write_text("old")
    with pytest.raises(KeyboardInterrupt), staged(bundle) as folder:
        (folder / "new").write_text("new")
        raise KeyboardInterrupt
    assert contents(bundle) == {"old": b"old"}
    assert list(tmp_path.iterdir()) == [bundle]


def test_exchange_that_fails_half_way_puts_the_old_bundle_back(tmp_path, monkeypatch):
    bundle = tmp_path / "a"
    bundle.mkdir()
    (bundle / "old").write_text("old")
    rename = Path.rename

    def interrupted(path: Path, target: Path) -> Path:
        if path.name == ".a.partial":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), staged(bundle) as folder:
        (folder / "new").write_text("new")
    assert contents(bundle) == {"old": b"old"}
    assert list(tmp_path.iterdir()) == [bundle]


def test_next_export_cleans_up_after_a_killed_one(tmp_path):
    for name in (".a.partial", ".a.replaced"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old").write_text("old")
    # Killed between the two renames: the old bundle is still there, under its other name.
    with pytest.raises(KeyboardInterrupt), staged(tmp_path / "a"):
        raise KeyboardInterrupt
    assert contents(tmp_path / "a") == {"old": b"old"}
    with staged(tmp_path / "a") as folder:
        (folder / "new").write_text("new")
    assert contents(tmp_path / "a") == {"new": b"new"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_link_leads_to_the_new_bundle_every_time(tmp_path):
    (tmp_path / "disk").mkdir()
    bundle = tmp_path / "a"
    bundle.symlink_to(tmp_path / "disk")
    for text in ("one", "two", "three"):
        with staged(bundle) as folder:
            (folder / "x").write_text(text)
        assert bundle.is_symlink() and (bundle / "x").read_text() == text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "disk"]


def test_a_disk_that_is_found_full_when_files_are_synced_leaves_the_old_bundle(tmp_path, monkeypatch):
    """Some file systems (NFS, delayed allocation) say so only then."""
    bundle = tmp_path / "a"
    bundle.mkdir()
    (bundle / "old").write_text("old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("export.bundle.os.fsync", full)
    unchanged = pytest.raises(ExportError, match="No space left on device; the one that was there is unchanged")
    with unchanged, staged(bundle) as folder:
        (folder / "new").write_text("new")
    assert contents(bundle) == {"old": b"old"}


def test_an_empty_folder_is_written_into_and_a_disk_of_its_own_is_refused(fusion, tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    check_target(tmp_path / "a", fusion.run)
    monkeypatch.setattr("export.bundle.os.path.ismount", lambda path: path == tmp_path / "a")
    with pytest.raises(ExportError, match="is a disk of its own"):
        check_target(tmp_path / "a", fusion.run)
