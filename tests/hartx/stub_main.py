"""Stands in for main.py under a sweep: leaves the files of a run in no time, or does what ROOT/stub.json says.

stub.json: "PROTOCOL SEED" to "fail" (an error for the user), "crash", "die" (killed) or "hang".
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from hartx.predictions import Predictions, keep_predictions
from hartx.run import fingerprint
from tests.hartx.stub_recordings import recordings

flags = dict(argument.split("=", 1) for argument in sys.argv[1:])
workdir = Path(flags["--workdir"])
config = json.loads((workdir / "config.json").read_text())
with (workdir / "starts").open("a") as file:
    file.write(f"{flags.get('--mode', 'train')} {sorted(os.sched_getaffinity(0))}\n")
(workdir / "preallocates").write_text(os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"])
behaviour = json.loads((workdir.parent / "stub.json").read_text()).get(f"{config['protocol']} {config['seed']}")
if behaviour == "fail":
    sys.exit("error: the recordings are gone\n  Bring them back")
if behaviour == "crash":
    raise RuntimeError("a bug")
if behaviour == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if behaviour == "hang":
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        (workdir / "interrupted").touch()
        raise
trained, tested = (fingerprint(recordings().split(config["protocol"]).names(side)) for side in ("train", "test"))
record = {"num_steps": 1, "steps_per_epoch": 1.0, "labels": ["swipe", "wave"], "train_recordings": trained}
(workdir / "run.json").write_text(json.dumps(record))
(workdir / "checkpoints/last/1").mkdir(parents=True, exist_ok=True)
subject = int(config["protocol"].split(":")[1])
probabilities = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
subjects = np.full(2, subject)
keep_predictions(
    Predictions([f"a1_s{subject}_t1", f"a2_s{subject}_t1"], subjects, np.arange(2), probabilities), workdir
)
report = {
    "top1": 1.0,
    "clips": 2,
    "training_s": 60.0,
    "peak_memory_bytes": 2**30,
    "commit": "c" * 40,
    "missing": [],
    "per_class": {"swipe": {}, "wave": {}},
    "test_recordings": tested,
    "config": config,
}
(workdir / "report.json").write_text(json.dumps(report))
