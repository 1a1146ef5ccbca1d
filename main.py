"""Train and test an action recogniser.

python main.py --config=configs/fusion.py                        train, then test
python main.py --config=configs/skeleton.py --config.num_epochs=50 --workdir=runs/a
python main.py --workdir=runs/a                                  go on with a run
python main.py --workdir=runs/a --mode=evaluate                  test it again
"""

from __future__ import annotations

import errno
import logging
import sys
from pathlib import Path

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from datasets.errors import DatasetError
from hartx.errors import HartxError

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The experiment: configs/NAME.py or configs/NAME.py:VARIANT. --config.FIELD=VALUE overrides.",
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run. Default: runs/ and the config's name.")
_MODE = flags.DEFINE_enum("mode", "train", ["train", "evaluate"], "train: train, then test. evaluate: test only.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    _speak()
    # Imported here, so that --help and a mistyped flag answer at once.
    from hartx import config as configs
    from hartx.evaluate import evaluate
    from hartx.train import train

    config = _CONFIG.value
    if config is None and _WORKDIR.value is None:
        raise app.UsageError("give --config=configs/fusion.py to start a run, or --workdir=... to go on with one")
    workdir = Path(_WORKDIR.value or f"runs/{config.name}")
    if config is None:
        config = configs.load(workdir)
    if _MODE.value == "train":
        train(config, workdir)
    if _MODE.value == "evaluate" or not (workdir / "report.json").exists():
        evaluate(config, workdir)


def _speak() -> None:
    """Let our own rooms tell what they do; the libraries need not."""
    absl_logging.set_verbosity(absl_logging.FATAL)  # errors come as exceptions; Orbax prints each of them as well
    for room in ("hartx", "datasets"):
        logger = logging.getLogger(room)
        logger.setLevel(logging.INFO)
        logger.addHandler(logging.StreamHandler())
        logger.propagate = False


def _parse(argv: list[str]) -> list[str]:
    """Return what is left of the command line after the flags; a mistake in them is one line, exit code 2."""
    try:
        rest = flags.FLAGS(argv)
        if _CONFIG.value is not None:
            _ = _CONFIG.value.name  # a config that could not be loaded says so only when it is used
        return rest
    except (flags.Error, OSError, AttributeError, KeyError, TypeError) as error:  # the last three: no such field
        print("error:", _in_short(error), file=sys.stderr)
        sys.exit(2)


def _in_short(error: Exception) -> str:
    """Return what an error of the flags or of a config file says, without the traceback some of them carry."""
    lines = str(error).replace("\\n", " ").replace("\\'", "").strip("\"'").splitlines()
    said = [line.strip() for line in lines if line.strip()]
    start = next((i for i, line in enumerate(said) if line.startswith("Traceback")), None)
    return said[-1].removeprefix("ValueError: ") if start is not None else " ".join(said)


if __name__ == "__main__":
    try:
        app.run(main, flags_parser=_parse)
    except (HartxError, DatasetError) as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        sys.exit(f"error: {error}\n  Mend that and start again: a run goes on from its last checkpoint")
    except KeyboardInterrupt:
        sys.exit("stopped; go on with the same command, or python main.py --workdir=...")
