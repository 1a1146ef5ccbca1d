"""Which files of folders belong together, and which are no recordings."""

from __future__ import annotations

import pytest

from edge import EdgeError
from edge.items import Item, items_of_folders, output_names


@pytest.fixture
def folders(tmp_path):
    def make(**names):
        for folder, files in names.items():
            (tmp_path / folder).mkdir(exist_ok=True)
            for file in files:
                (tmp_path / folder / file).write_bytes(b"x")
        return [str(tmp_path / folder) for folder in names]

    return make


def test_files_of_one_recording_are_found_by_their_names(folders):
    depth, skeletons, inertial = folders(
        depth=["a1_depth.mat", "a2_depth.mat", "a3_depth.npy", "read.me"],
        skeleton=["a1_skeleton.mat", "a3.txt", "a9_skeleton.mat"],
        inertial=["a2_inertial.mat"],
    )
    items = items_of_folders(depth, skeletons, inertial, "depth")
    assert [item.key for item in items] == ["a1", "a2", "a3"]
    assert items[0] == Item(f"{depth}/a1_depth.mat", f"{skeletons}/a1_skeleton.mat", None)
    assert items[1] == Item(f"{depth}/a2_depth.mat", None, f"{inertial}/a2_inertial.mat")
    assert items[2].skeleton == f"{skeletons}/a3.txt"
    assert [item.key for item in items_of_folders(None, skeletons, inertial, None)] == ["a1", "a3", "a9"]


def test_a_file_that_could_belong_to_two_recordings_is_given_to_none(folders, tmp_path):
    skeletons, inertial = folders(skeleton=["x_skeleton.mat"], inertial=["x_inertial.mat"])
    assert len(items_of_folders(None, skeletons, inertial, None)) == 1
    (tmp_path / "skeleton/more").mkdir()
    (tmp_path / "skeleton/more/x_skeleton.mat").write_bytes(b"x")
    assert len(items_of_folders(None, skeletons, None, None)) == 2
    with pytest.raises(EdgeError, match=r"2 recordings are named x (.|\n)*x_inertial.mat can belong to one"):
        items_of_folders(None, skeletons, inertial, None)


def test_drawn_videos_are_no_recordings_wherever_they_lie(folders, tmp_path):
    (clips,) = folders(clips=["a.mp4", "b.avi"])
    (tmp_path / "clips/out").mkdir()
    for name in ("a.mp4", "c.mp4"):
        (tmp_path / "clips/out" / name).write_bytes(b"x")
    (tmp_path / "clips/out/.drawn.jsonl").write_text('{"name": "a", "of": ""}\n{"name": "')
    (tmp_path / "clips/report.jsonl").write_text("{}")  # results beside clips do not hide them
    found = items_of_folders(clips, None, None, "rgb")
    assert [item.clip for item in found] == [f"{clips}/a.mp4", f"{clips}/b.avi", f"{clips}/out/c.mp4"]


def test_one_folder_may_hold_all_kinds(folders):
    (mixed,) = folders(mixed=["a1_depth.npy", "a1_skeleton.npy", "a1_inertial.npy"])
    (item,) = items_of_folders(mixed, mixed, mixed, "depth")
    assert item == Item(*(f"{mixed}/a1_{kind}.npy" for kind in ("depth", "skeleton", "inertial")))


def test_hidden_files_are_left_alone(folders):
    clips, _ = folders(clips=["a.avi", "._a.avi"], **{"clips/.trash": ["b.avi"]})
    assert [item.clip for item in items_of_folders(clips, None, None, "rgb")] == [f"{clips}/a.avi"]


def test_what_cannot_be_told_apart_is_refused(folders):
    one, two, nothing = folders(one=["a.avi"], two=["a_skeleton.npy", "a.txt"], nothing=["a.doc"])
    with pytest.raises(EdgeError, match="of the same name"):
        items_of_folders(one, two, None, "rgb")
    with pytest.raises(EdgeError, match="no file that could be read"):
        items_of_folders(nothing, None, None, "rgb")
    with pytest.raises(EdgeError, match="all of them must be"):
        items_of_folders(one, f"{two}/a.txt", None, "rgb")
    names = output_names([Item("x/a.avi", None, None), Item("y/a.avi", None, None), Item("y/b.avi", None, None)])
    assert names == ["x_a", "y_a", "b"]
    people = ("wave/anna/0.mp4", "wave/ben/0.mp4", "run/anna/0.mp4")
    assert output_names([Item(path, None, None) for path in people]) == ["wave_anna_0", "ben_0", "run_anna_0"]
    with pytest.raises(EdgeError, match="would both be written to"):
        output_names([Item("x/a.avi", None, None), Item("x/a.avi", None, None)])


def test_two_containers_of_one_name_are_told_apart_by_their_suffix():
    paths = ("x/a.avi", "x/a.mp4", "x/b.mp4")
    names = output_names([Item(path, None, None) for path in paths])
    assert len(set(names)) == 3 and names[0].endswith("x_a_avi") and names[1].endswith("x_a_mp4") and names[2] == "b"


def test_the_ending_of_a_name_may_be_in_capitals(folders):
    clips, skeletons = folders(clips=["IMG_1.MP4"], skeletons=["IMG_1.CSV"])
    assert items_of_folders(clips, skeletons, None, "rgb") == [
        Item(f"{clips}/IMG_1.MP4", f"{skeletons}/IMG_1.CSV", None)
    ]
