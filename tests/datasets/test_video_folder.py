"""Folders of anybody's clips: what their folders say, what is stored of them, and what stops it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets import video_folder
from datasets.errors import DatasetError
from datasets.video_folder.__main__ import main as command
from datasets.video_folder.layout import _numbered, scan
from tests.datasets.video_clips import SIZE, write_clip


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, two people; not to be changed."""
    folder = tmp_path_factory.mktemp("clips")
    for name in ("push/anna/a.mp4", "push/ben/a.mkv", "wave/anna/a.avi", "wave/anna/b.mp4", "wave/ben/a.webm"):
        write_clip(folder / name, codec="libvpx" if name.endswith("webm") else "mpeg4")
    return folder


def prepare(raw_dir: Path, data_dir: Path, **options: object):
    return video_folder.prepare(raw_dir, data_dir, num_workers=1, progress=False, **options)


def records(builder) -> list[dict]:
    source = builder.as_data_source("+".join(sorted(builder.info.splits)))
    return [source[i] for i in range(len(source))]


# --- what folders say -------------------------------------------------------------------------------------


def listed(tmp_path: Path, *names: str):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return scan(tmp_path)


def test_a_folder_is_a_class_and_a_folder_in_it_a_person(tmp_path):
    listing = listed(tmp_path, "wave/ben/1.mp4", "push/anna/1.MP4", "wave/anna/1.mov")
    assert listing.actions == ("push", "wave") and listing.people == {1: "anna", 2: "ben"}
    found = [(clip.name, clip.action, clip.subject) for clip in listing.clips]
    assert found == [("push/anna/1.MP4", 0, 1), ("wave/anna/1.mov", 1, 1), ("wave/ben/1.mp4", 1, 2)]


def test_without_folders_of_people_nobody_is_told(tmp_path):
    listing = listed(tmp_path, "wave/1.mp4", "push/1.mp4")
    assert listing.people == {} and {clip.subject for clip in listing.clips} == {0}


def test_a_clip_of_another_size_is_another_dataset(tmp_path):
    before = listed(tmp_path, "wave/1.mp4", "push/1.mp4").fingerprint
    (tmp_path / "wave/1.mp4").write_bytes(b"longer")
    assert scan(tmp_path).fingerprint != before


def test_what_is_no_clip_is_passed_over(tmp_path):
    names = ("wave/1.mp4", "push/1.mp4", "wave/.1.mp4", "wave/notes.txt", ".cache/1.mp4", "readme.md")
    assert [clip.name for clip in listed(tmp_path, *names).clips] == ["push/1.mp4", "wave/1.mp4"]


def test_a_class_may_be_a_link_and_a_link_in_a_ring_is_followed_once(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    listed(tmp_path / "elsewhere", "zoom/1.mp4", "pan/1.mp4")
    (tmp_path / "clips").mkdir()
    for name in ("zoom", "pan"):
        (tmp_path / "clips" / name).symlink_to(tmp_path / "elsewhere" / name)
    (tmp_path / "elsewhere/zoom/ring").symlink_to(tmp_path / "elsewhere/zoom")
    assert [clip.name for clip in scan(tmp_path / "clips").clips] == ["pan/1.mp4", "zoom/1.mp4"]


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "wave").mkdir()
    with open(os.fsencode(tmp_path / "wave") + b"/\xff.mp4", "wb"):
        pass
    with pytest.raises(DatasetError, match=r"is not in UTF-8; rename it"):
        scan(tmp_path)


@pytest.mark.parametrize(
    "names, message",
    [
        ((), "holds no clips"),
        (("notes.txt",), "holds no clips"),
        (("1.mp4", "wave/1.mp4"), r"holds 1.mp4 and wave/1.mp4; CLASS/CLIP, or CLASS/PERSON/CLIP"),
        (("wave/1.mp4", "push/anna/1.mp4"), "holds wave/1.mp4 and push/anna/1.mp4; CLASS/CLIP"),
        (("a/wave/anna/1.mp4", "a/push/anna/1.mp4"), "CLASS/PERSON/CLIP for all of them is expected"),
        (("wave/1.mp4", "wave/2.mp4"), "clips of one class, wave; two or more are expected"),
    ],
)
def test_clips_that_lie_otherwise_are_refused(tmp_path, names, message):
    with pytest.raises(DatasetError, match=message):
        listed(tmp_path, *names)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="does not exist; give the folder with a folder of clips for each class"):
        scan(tmp_path / "none")


@pytest.mark.parametrize(
    "people, expected",
    [
        ({"s3", "s12"}, {3: "s3", 12: "s12"}),
        ({"7", "person2"}, {7: "7", 2: "person2"}),
        ({"anna", "s3"}, {1: "anna", 2: "s3"}),
        ({"s1", "t1"}, {1: "s1", 2: "t1"}),
        ({"s0", "s1"}, {1: "s0", 2: "s1"}),
        ({"1_2", "3"}, {1: "1_2", 2: "3"}),
        ({"5551234567", "3"}, {1: "3", 2: "5551234567"}),
        ({"2147483647", "3"}, {3: "3", 2147483647: "2147483647"}),
    ],
)
def test_people_keep_the_numbers_of_their_names_where_all_have_one(people, expected):
    assert _numbered(people) == expected


@given(st.sets(st.text("ab019", min_size=1), min_size=1))
def test_each_person_has_a_number_of_their_own(people):
    numbered = _numbered(people)
    assert set(numbered.values()) == people and len(numbered) == len(people) and min(numbered) >= 1


# --- what is stored ---------------------------------------------------------------------------------------


def test_records_are_the_frames_with_their_times(clips, tmp_path):
    builder = prepare(clips, tmp_path)
    assert builder.info.features["action"].names == ["push", "wave"]
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {"s1": 3, "s2": 2}
    found = records(builder)
    assert [record["name"].decode() for record in found] == [
        *("push/anna/a.mp4", "wave/anna/a.avi", "wave/anna/b.mp4"),
        *("push/ben/a.mkv", "wave/ben/a.webm"),
    ]
    for record in found:
        np.testing.assert_allclose(record["rgb"]["time_s"], np.arange(9) / 15, atol=2e-3)  # mkv: milliseconds
        pictures = [cv2.imdecode(np.frombuffer(f, np.uint8), cv2.IMREAD_COLOR) for f in record["rgb"]["frames"]]
        assert {picture.shape for picture in pictures} == {(SIZE[1], SIZE[0], 3)}
        widths = [int((picture.mean(axis=(0, 2)) > 128).sum()) for picture in pictures]
        np.testing.assert_allclose(widths, np.arange(8, 17), atol=1)


def test_the_second_time_nothing_is_converted_and_other_clips_are_another_dataset(clips, tmp_path, monkeypatch):
    first = prepare(clips, tmp_path / "data").data_path
    monkeypatch.setattr("datasets.video_folder.preparing._convert", lambda *_: pytest.fail("converted again"))
    assert prepare(clips, tmp_path / "data").data_path == first
    monkeypatch.undo()
    more = Path(shutil.copytree(clips, tmp_path / "more"))
    write_clip(more / "wave/ben/b.mp4")
    assert prepare(more, tmp_path / "data").data_path != first


def test_times_that_are_those_of_decoding_are_put_in_order(tmp_path):
    """H.264 in AVI has B frames, and AVI has no place for when they are shown."""
    path = write_clip(tmp_path / "clips/wave/1.avi", codec="libx264")
    with av.open(str(path)) as container:
        told = [frame.time for frame in container.decode(video=0)]
    assert told != sorted(told)  # else this tests nothing
    write_clip(tmp_path / "clips/push/1.mp4")
    time_s = records(prepare(tmp_path / "clips", tmp_path / "data"))[1]["rgb"]["time_s"]
    assert np.all(np.diff(time_s) > 0) and time_s[0] == 0


@pytest.mark.parametrize("matrix", [(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)])
def test_a_clip_is_turned_as_its_file_says(tmp_path, matrix):
    """A phone stores its pictures lying; OpenCV turns them as players do."""
    path = write_clip(tmp_path / "clips/wave/1.mp4", codec="libx264")
    data = bytearray(path.read_bytes())
    identity = b"".join(n.to_bytes(4, "big") for n in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
    at = data.index(identity, data.index(b"tkhd"))
    for place, value in zip((0, 4, 12, 16), matrix, strict=True):
        data[at + place : at + place + 4] = (value << 16).to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    write_clip(tmp_path / "clips/push/1.mp4")
    stored = records(prepare(tmp_path / "clips", tmp_path / "data"))[1]["rgb"]["frames"][0]
    _, shown = cv2.VideoCapture(str(path)).read()
    picture = cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == shown.shape
    np.testing.assert_allclose(picture.astype(int), shown.astype(int), atol=40)  # JPEG, at the bright side's edge


# --- what stops it ----------------------------------------------------------------------------------------


@pytest.fixture
def damaged(clips, tmp_path) -> Path:
    """Two of five clips are not whole."""
    folder = Path(shutil.copytree(clips, tmp_path / "damaged"))
    whole = folder / "wave/anna/b.mp4"
    whole.write_bytes(whole.read_bytes()[:-300])
    (folder / "push/anna/a.mp4").write_bytes(b"")
    return folder


def test_all_damaged_clips_are_listed_and_nothing_is_made(damaged, tmp_path):
    with pytest.raises(DatasetError) as caught:
        prepare(damaged, tmp_path / "data")
    message = str(caught.value)
    assert "2 of 5 clips are damaged" in message and "--allow_partial" in message
    assert "push/anna/a.mp4: cannot be decoded" in message and "wave/anna/b.mp4: cannot be decoded" in message
    assert list((tmp_path / "data/video_folder").iterdir()) == []


def test_with_allow_partial_the_sound_clips_are_kept_and_the_others_named(damaged, tmp_path, caplog):
    builder = prepare(damaged, tmp_path / "data", allow_partial=True)
    assert [record["name"].decode() for record in records(builder)] == [
        *("wave/anna/a.avi", "push/ben/a.mkv", "wave/ben/a.webm"),
    ]
    assert len(builder.info.metadata["left_out"]) == 2 and "left out: push/anna/a.mp4" in caplog.text


def test_without_a_sound_clip_nothing_is_made_even_in_part(tmp_path):
    for name in ("wave/1.mp4", "push/1.mp4"):
        (tmp_path / "clips" / name).parent.mkdir(parents=True)
        (tmp_path / "clips" / name).write_bytes(b"no video")
    with pytest.raises(DatasetError, match=r"No sound clip is left\."):
        prepare(tmp_path / "clips", tmp_path / "data", allow_partial=True)


# --- the command ------------------------------------------------------------------------------------------


def test_the_command_says_what_it_found(clips, tmp_path, capsys):
    assert command([f"--raw_dir={clips}", f"--data_dir={tmp_path}"]) == 0
    out = capsys.readouterr().out
    assert "5 clips" in out and "classes: push 2, wave 3" in out and "people: 1 anna, 2 ben" in out


def test_the_command_counts_the_clips_that_are_kept(damaged, tmp_path, capsys):
    assert command([f"--raw_dir={damaged}", f"--data_dir={tmp_path / 'data'}", "--allow_partial"]) == 0
    out = capsys.readouterr().out
    assert "3 clips" in out and "classes: push 1, wave 2" in out


def test_the_command_ends_with_an_error_and_no_traceback(tmp_path, capsys):
    assert command([f"--raw_dir={tmp_path / 'none'}", f"--data_dir={tmp_path}"]) == 1
    assert capsys.readouterr().err.startswith("error: raw_dir")
