"""How a command ends, whatever comes in between."""

import errno

import pytest

from edge import bench, live, predict
from edge.command import run_command
from edge.errors import EdgeError


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (EdgeError("no"), 1, "error: no\n"),
        (OSError(errno.EACCES, "Permission denied", "a.mp4"), 1, "error: a.mp4: Permission denied\n"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "error: what is printed: No space left on device\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_ends_a_command_is_a_line_and_an_exit_code(raised, code, said, capsys):
    def command():
        raise raised

    assert run_command(command) == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        (predict.main, ["a.mp4", "--output="]),
        (live.main, ["--source=0", "--jsonl="]),
        (live.main, ["--source=0", "--record="]),
        (bench.main, ["--json="]),
    ],
)
def test_an_empty_name_is_a_variable_that_was_not_set(main, arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--bundle=b", *arguments])
    assert "is a variable of the shell not set?" in capsys.readouterr().err


def test_an_error_that_is_ours_is_not_hidden():
    def command():
        raise OSError(errno.EINVAL, "Invalid argument")

    with pytest.raises(OSError, match="Invalid argument"):
        run_command(command)
