"""What the commands that take --config have in common: parsing flags, telling mistakes, speaking."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags
from absl import logging as absl_logging

from datasets.errors import DatasetError
from hartx.errors import HartxError, suggestion


def parser(config: flags.FlagHolder[Any]) -> Callable[[list[str]], list[str]]:
    """Return a `flags_parser` for `app.run`: a mistake in the flags is one line and exit code 2, --help is no mistake.

    Args:
      config: the command's --config; one that cannot be loaded counts as such a mistake.
    """

    def parse(argv: list[str]) -> list[str]:
        if (missing := _missing_file(argv)) is not None:
            print("error:", missing, file=sys.stderr)
            sys.exit(2)
        try:
            rest = flags.FLAGS(argv)
            if config.value is not None:
                _ = config.value.name  # a config that could not be loaded says so only when it is used
            return rest
        except (AttributeError, KeyError) as error:
            print("error:", _no_such_field(error, argv), file=sys.stderr)
            sys.exit(2)
        except SystemExit as end:
            sys.exit(0 if end.code == 1 else end.code)  # absl has shown its help, and ends with 1 as if by mistake
        except flags.UnrecognizedFlagError as error:
            print("error:", _unknown_flag(error), file=sys.stderr)
            sys.exit(2)
        except (flags.Error, OSError, TypeError) as error:
            print("error:", _in_short(error), file=sys.stderr)
            sys.exit(2)

    return parse


def _missing_file(argv: list[str]) -> str | None:
    """Return what to say of a --config whose file there is not; None if it is there or none is given."""
    path = next((word.removeprefix("--config=").split(":")[0] for word in argv if word.startswith("--config=")), None)
    if path is None or Path(path).is_file():
        return None
    known = sorted(str(file) for file in Path("configs").glob("*.py") if file.stem not in ("__init__", "base"))
    return f"there is no config file {path}; {', '.join(known)} are there{suggestion(path, known)}"


def _no_such_field(error: Exception, argv: list[str]) -> str:
    """Return which --config.FIELD there is not: the error itself names no more than the last part of it."""
    said = _in_short(error)
    name = said.split()[0]
    fields = (word.removeprefix("--config.").split("=")[0] for word in argv if word.startswith("--config."))
    field = next((field for field in fields if name in field.split(".")), name)
    hint = said.removeprefix(name).strip()
    if field.startswith("pretraining.") and name in field.split(".")[2:]:
        shared = field.split(".", 2)[2]
        return (
            f"the config has no field {field}: a stream has values of its own only where its config differs from the "
            f"fusion's. --config.{shared} sets it for every stream without one. {hint}"
        ).strip()
    lists = "configs/base.py lists those of an experiment, prune.py and finetune.py have a few of their own"
    return f"the config has no field {field}; {lists}. {hint}".strip()


def _unknown_flag(error: flags.UnrecognizedFlagError) -> str:
    """Return what to say of a flag there is not; a config's fields are flags only beside the config itself."""
    if not error.flagname.startswith("config."):
        return _in_short(error)
    return (
        f"--{error.flagname} was given without --config; --config=configs/NAME.py --{error.flagname}=... is expected, "
        f"also to go on with a run or to test it otherwise"
    )


def _in_short(error: Exception) -> str:
    """Return what an error of the flags or of a config file says, without the traceback some of them carry."""
    text = str(error).replace("\\n", " ").replace("\\'", "")
    while len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":  # a KeyError says its text in quotes
        text = text[1:-1]
    lines = text.splitlines()
    said = [line.strip() for line in lines if line.strip()]
    start = next((i for i, line in enumerate(said) if line.startswith("Traceback")), None)
    return said[-1].removeprefix("ValueError: ") if start is not None else " ".join(said)


def run_command(command: Callable[[], object], stopped: str = "stopped") -> int:
    """Return the exit code of a command; a user's mistake, a file that cannot be written and Ctrl-C are one line and 1.

    Args:
      command: what is done.
      stopped: what to say after Ctrl-C.
    """
    try:
        command()
        return 0
    except (HartxError, DatasetError) as error:
        said = f"error: {error}"
    except OSError as error:
        if error.filename is None:
            raise
        said = f"error: {error.filename}: {error.strerror}"
    except KeyboardInterrupt:
        said = stopped
    print(said, file=sys.stderr)
    return 1


def speak() -> None:
    """Let our own rooms tell what they do; the libraries need not."""
    absl_logging.set_verbosity(absl_logging.FATAL)  # errors come as exceptions; Orbax prints each of them as well
    for room in ("hartx", "datasets"):
        logger = logging.getLogger(room)
        logger.setLevel(logging.INFO)
        logger.addHandler(logging.StreamHandler())
        logger.propagate = False
