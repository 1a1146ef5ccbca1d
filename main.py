"""Train and test an action recogniser.

python main.py --config=configs/fusion.py                        train, then test
python main.py --config=configs/skeleton.py --config.num_epochs=50 --workdir=runs/a
python main.py --config=configs/rgb.py:small --config.dataset.name=video_folder --config.dataset.raw_dir=CLIPS
python main.py --config=configs/prune.py --config.prune.workdir=runs/a --workdir=runs/b      a smaller one of it
python main.py --config=configs/finetune.py --config.finetune.workdir=runs/a --config.dataset.raw_dir=CLIPS \
  --config.dataset.name=video_folder --workdir=runs/c            its network, with your own actions
python main.py --workdir=runs/a                                  go on with a run
python main.py --workdir=runs/a --mode=evaluate                  test it again
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import sys
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from datasets.errors import DatasetError
from hartx.command import parser, speak
from hartx.errors import HartxError
from hartx.interrupt import Stopped

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The experiment: configs/NAME.py or configs/NAME.py:VARIANT. --config.FIELD=VALUE overrides.",
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run. Default: runs/ and the config's name.")
_MODE = flags.DEFINE_enum("mode", "train", ["train", "evaluate"], "train: train, then test. evaluate: test only.")

_STOPPED = "stopped; go on with the same command, or python main.py --workdir=..."


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    speak()
    # Imported here, so that --help and a mistyped flag answer at once.
    from hartx import config as configs
    from hartx.evaluate import evaluate, is_tested
    from hartx.finetuning import finetuned_config
    from hartx.pruning.start import pruned_config
    from hartx.train import train

    config = _CONFIG.value
    if config is None and _WORKDIR.value is None:
        raise app.UsageError("give --config=configs/fusion.py to start a run, or --workdir=... to go on with one")
    workdir = Path(_WORKDIR.value or f"runs/{config.name}")
    if config is None:
        config = configs.load(workdir)
    elif "prune" in config:
        config = pruned_config(config, workdir)
    elif "finetune" in config:
        config = finetuned_config(config, workdir)
    if _MODE.value == "train":
        train(config, workdir)
    if _MODE.value == "evaluate" or not is_tested(config, workdir):
        evaluate(config, workdir)


if __name__ == "__main__":
    try:
        app.run(main, flags_parser=parser(_CONFIG))
    except (HartxError, DatasetError) as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        sys.exit(f"error: {error}\n  Mend that and start again: a run goes on from its last checkpoint")
    except Stopped:
        sys.exit(_STOPPED)
    except KeyboardInterrupt:
        print(_STOPPED, file=sys.stderr, flush=True)
        # Not by way of Python's own end: a compilation that still goes on may crash it.
        for child in multiprocessing.active_children():
            child.terminate()
        os._exit(1)
