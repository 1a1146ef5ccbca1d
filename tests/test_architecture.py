"""Who may import whom, as the design draws it."""

import ast

import pytest

ROOMS = {"hartx", "export", "edge", "datasets", "configs", "tests", "main"}
ALLOWED = {
    "main": {"hartx", "configs", "datasets.errors"},
    "hartx": {
        "hartx",
        "datasets",
        "edge.arguments",
        "edge.preprocess",
        "edge.sampling",
        "edge.joints",
        "edge.streaming",
    },
    "export": {"export", "hartx", "edge", "datasets.errors"},
    "datasets": {"datasets"},
    "edge": {"edge"},
    "configs": {"configs"},
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_arrows(room, repository):
    files = [repository / "main.py"] if room == "main" else sorted((repository / room).rglob("*.py"))
    assert files
    for path in files:
        for name in imported(path):
            if name.split(".")[0] in ROOMS:
                reach = {".".join(name.split(".")[: i + 1]) for i in range(len(name.split(".")))}
                assert reach & ALLOWED[room], f"{path.relative_to(repository)} must not import {name}"


def test_the_top_level_is_what_the_design_says(repository):
    folders = {p.name for p in repository.iterdir() if p.is_dir() and not p.name.startswith(".")}
    assert {"hartx", "configs", "datasets", "export", "edge", "tests"} <= folders
    assert folders <= {"hartx", "configs", "datasets", "export", "edge", "tests", "docs", "runs", "bundles"}
