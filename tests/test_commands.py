"""What holds for the command line of every command."""

from __future__ import annotations

import importlib

import pytest

ROOMS = ("edge", "export", "hartx/streaming")
COMMANDS = (
    "edge.bench",
    "edge.live",
    "edge.predict",
    "edge.serve",
    "export.__main__",
    "export.sensitivity",
    "export.tensorrt.__main__",
    "export.verify",
    "hartx.streaming.__main__",
)


def test_every_command_reads_its_flags_by_the_same_parser(repository):
    found = set()
    for path in (path for room in ROOMS for path in (repository / room).rglob("*.py")):
        text = path.read_text()
        assert "argparse.ArgumentParser(" not in text, f"{path} makes a parser that takes one spelling of a flag only"
        if "def _parser()" in text:
            found.add(".".join(path.relative_to(repository).with_suffix("").parts))
    assert found == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_flags_are_taken_with_hyphens_and_with_underscores(name):
    parser = importlib.import_module(name)._parser()
    flags = {}
    for action in parser._actions:
        action.required, action.type, action.choices = False, None, None
        flags.update(dict.fromkeys((flag for flag in action.option_strings if flag.startswith("--")), action))
    for flag, action in flags.items():
        if flag == "--help":
            continue
        name = flag[2:]
        for other in (name.replace("_", "-"), name.replace("-", "_")):
            arguments = [f"--{other}"] if action.nargs == 0 else [f"--{other}=value"]
            found = getattr(parser.parse_args(arguments), action.dest)
            assert found is True if action.nargs == 0 else found in ("value", ["value"])
