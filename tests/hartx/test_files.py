"""Files that are there as a whole or not at all."""

import json

import pytest

from hartx.files import whole, write_json


def test_a_file_is_replaced_at_the_end(tmp_path):
    path = tmp_path / "a.png"
    path.write_text("old")
    with whole(path) as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".png"
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_stays_and_nothing_else_where_writing_fails(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="full"), whole(path) as temporary:
        temporary.write_text("ne")
        raise OSError("the disk is full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_json_leaves_the_old_file_if_it_cannot_finish(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
