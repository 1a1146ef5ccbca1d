"""What the README, the Dockerfiles and the systemd unit say is so in the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import edge
from edge import live
from edge.engines import ENGINES

EDGE = Path(edge.__file__).resolve().parent
REPOSITORY = EDGE.parent
README = EDGE / "README.md"
DOCKERFILES = sorted((EDGE / "docker").glob("*.Dockerfile"))
UNIT = EDGE / "systemd" / "hartx-live.service"


def engine_rows() -> dict:
    rows = [
        [cell.strip(" `*") for cell in line.strip("|").split("|")]
        for line in README.read_text(encoding="utf-8").splitlines()
    ]
    known = {entry.name for entry in ENGINES}
    return {row[0]: row for row in rows if row[0] in known and len(row) == 5}


def test_the_table_of_engines_is_that_of_the_code():
    rows = engine_rows()
    assert list(rows) == [entry.name for entry in ENGINES]  # the order, too, is what "auto" does
    for entry in ENGINES:
        _, runs_on, by_itself, _, tolerance = rows[entry.name]
        assert runs_on == entry.runs_on
        if entry.model_file is None:
            assert by_itself == (", ".join(entry.by_itself) or "by name only")
        assert tolerance == "(reference)" or float(tolerance) == entry.tolerance


def test_there_is_a_dockerfile_for_each_jetpack_and_the_readme_names_it():
    assert [path.stem for path in DOCKERFILES] == ["jetpack5", "jetpack6", "jetpack7", "nano46"]
    for path in DOCKERFILES:
        assert f"`{path.relative_to(REPOSITORY).as_posix()}`" in README.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_a_dockerfile_copies_what_is_there_and_says_that_it_was_not_run(path):
    text = path.read_text(encoding="utf-8")
    assert "Not built and not run by us" in text
    assert re.search(r"^FROM nvcr\.io/nvidia/\S+:\S+$", text, re.MULTILINE)
    sources = re.findall(r"^COPY (\S+) ", text, re.MULTILINE)
    assert "edge" in sources
    for source in sources:
        assert (REPOSITORY / source).exists(), source
    (command,) = re.findall(r'^CMD \["python", "-m", "(\S+)"\]$', text, re.MULTILINE)
    assert command == "edge.doctor"


def test_the_unit_starts_a_command_that_takes_its_options():
    text = UNIT.read_text(encoding="utf-8")
    assert "Not run by us" in text
    (command,) = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
    program, flag, module, *options = shlex.split(command)
    assert (program.rsplit("/", 1)[1], flag, module) == ("python", "-m", "edge.live")
    args = live._parser().parse_args(options)
    assert (args.source, args.bundle) == ("0", "/opt/hartx/bundles/a")
