"""The training loop.

A run that begins with the network of another (`hartx.source_run`) differs in its first state only.

A run resumes in this order: config.json is compared, the recordings are opened and compared, the newest
checkpoint puts back parameters, BatchNorm statistics, optimiser, average and step, the batches begin after that
step, and the logs forget what came after it. From there on every step is the one that an undisturbed run would take.
It stops at the end of a step when it is asked to (Ctrl-C, SIGTERM), and keeps that step.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from pathlib import Path

import jax
from ml_collections import ConfigDict

from hartx import config as configs
from hartx import finetuning
from hartx import run as runs
from hartx.calibration import forget_temperature
from hartx.checkpoint import Checkpoints
from hartx.costs import Stopwatch
from hartx.data import Recordings, open_recordings, training_batches
from hartx.evaluate import predict
from hartx.interrupt import Stopped, StopRequest
from hartx.jit import jit
from hartx.mesh import Devices, make_devices
from hartx.plots import draw_training_curves
from hartx.pretraining import stream_config, stream_workdir, with_trained_streams
from hartx.progress import TrainingProgress
from hartx.pruning import start as pruning
from hartx.train_step import TrainState, train_step

_log = logging.getLogger(__name__)


def train(config: ConfigDict, workdir: Path) -> None:
    """Train the config's model, or go on where a run in `workdir` stopped, until its last step.

    Raises:
      HartxError: for a config that cannot run, another run in `workdir`, or a loss that is not finite.
      datasets.errors.DatasetError: if the recordings cannot be prepared.
      Stopped: when asked to end by SIGINT or SIGTERM; the step it had come to is kept.
    """
    # --- what there is to learn from ---------------------------------------------------------------
    configs.check(config)
    if not (workdir / "config.json").exists():
        runs.check_model(config)  # before recordings are prepared, streams are trained or anything is written
    for stream in config.pretraining:
        configs.check(stream_config(config, stream))
    configs.check_same(config, workdir)
    runs.check_config(workdir, config)
    # The streams of a finished run may be gone: they are in it.
    for stream in () if runs.is_finished(workdir) else config.pretraining:
        _log.info("first the stream %s", stream)
        _train_stream(stream_config(config, stream), stream_workdir(config, workdir, stream))
    stopwatch = Stopwatch(workdir)
    recordings = open_recordings(config)
    length = runs.run_length(config, recordings)
    runs.check_record(workdir, length, recordings)
    if "finetune" in config and not (workdir / "run.json").exists():
        finetuning.check_source(config, recordings)
    if runs.is_finished(workdir):
        _log.info("the run in %s is finished", workdir)
        return
    devices = make_devices()
    devices.check_batch(config.batch_size)
    with runs.held(workdir):
        _learn(config, workdir, recordings, length, devices, stopwatch)


def _train_stream(config: ConfigDict, workdir: Path) -> None:
    """Train the run of one stream, as `train`, and draw its curves: no test follows that would."""
    finished = runs.is_finished(workdir)
    train(config, workdir)
    if not finished:  # what is finished may be shared, and lie where nothing can be written
        draw_training_curves(workdir)


def _learn(
    config: ConfigDict,
    workdir: Path,
    recordings: Recordings,
    length: runs.RunLength,
    devices: Devices,
    stopwatch: Stopwatch,
) -> None:
    configs.keep(config, workdir)
    runs.keep_record(config, workdir, length, recordings)

    # --- where the run stands ----------------------------------------------------------------------
    recipe, state = runs.make_recipe(config, len(recordings.labels), length)
    if config.pretraining:
        state = with_trained_streams(config, workdir, state)
    checkpoints = Checkpoints(workdir)
    start_step = checkpoints.latest_step() or 0
    if start_step < length.num_steps:
        # What remains of a network of before would be taken for this training's.
        (workdir / "report.json").unlink(missing_ok=True)
        forget_temperature(workdir)
        checkpoints.forget_best_after(start_step)
    if "prune" in config and not start_step:
        state = pruning.first_state(config, workdir, state)
    if "finetune" in config and not start_step:
        state = finetuning.first_state(config, recordings.labels, state)
    state = devices.put_replicated(state)
    if start_step:
        state = checkpoints.restore(state)
    batches = training_batches(recordings, config, after=start_step)
    _say_what_runs(config, recordings, length, start_step)

    # --- the loop ----------------------------------------------------------------------------------
    key = devices.put_replicated(jax.random.key(config.seed))
    step_fn = jit(functools.partial(train_step, recipe), donate_argnums=0)
    checkpoint_steps = max(1, round(config.checkpoint_epochs * length.steps_per_epoch))
    best_score = checkpoints.best_score()
    progress = TrainingProgress(
        workdir, start_step, length.num_steps, config.batch_size, config.log_steps, losses=checkpoints.losses()
    )
    with contextlib.closing(checkpoints), contextlib.closing(batches), progress, StopRequest() as stop:
        for step in range(start_step + 1, length.num_steps + 1):
            asked = time.perf_counter()
            batch = next(batches)
            progress.waited(time.perf_counter() - asked)
            if step == start_step + 1:
                progress.write_clips(step, batch["inputs"])
            inputs, labels = devices.put_batch((batch["inputs"], batch["label"]))
            with jax.transfer_guard("disallow"):  # a hidden copy to the host is an error, not a slow run
                state, metrics = step_fn(state, inputs, labels, key)
            progress.update(step, metrics, [str(name) for name in batch["name"]])
            if step == start_step + 1:
                stop.listen()  # not while it compiles: that takes long, and there is nothing to keep
            if step % checkpoint_steps == 0 or step == length.num_steps:
                progress.flush()  # raises before a state that is not finite replaces a good one
                score = _score(config, recipe, state, recordings, progress, step)
                checkpoints.save(step, state, best_score=score if score > best_score else None)
                best_score = max(best_score, score)
                progress.checkpointed(step)
                stopwatch.keep()
            elif stop.made:
                progress.flush()
                checkpoints.save(step, state, losses=progress.losses)
                stopwatch.keep()
            if stop.made:
                _log.info("stopping after step %d of %d, which is kept", step, length.num_steps)
                raise Stopped


def _say_what_runs(config: ConfigDict, recordings: Recordings, length: runs.RunLength, start_step: int) -> None:
    given = "" if config.dataset.raw_dir else " (no --config.dataset.raw_dir was given)"
    _log.info("dataset %s%s, protocol %s", configs.dataset_name(config), given, config.protocol)
    _log.info(
        "%d recordings train, %d validate, %d test; streams %s",
        len(recordings.sides.train),
        len(recordings.sides.validation),
        len(recordings.sides.test),
        " + ".join(config.streams),
    )
    if not recordings.sides.test:
        present = sorted({recording.subject for recording in recordings.ids})
        _log.warning(
            "nobody is on the test side of %s: nothing will be tested (subjects present: %s)", config.protocol, present
        )
    trained, tested = recordings.shown("train"), recordings.shown("test")
    if tested - trained:
        _log.warning("nobody trains %s: these will be named wrongly", ", ".join(sorted(tested - trained)))
    if tested and trained - tested:
        _log.warning("nobody is tested in %s: the accuracy says nothing of these", ", ".join(sorted(trained - tested)))
    _log.info(
        "%s step %d of %d on %d %s device(s)",
        "resuming after" if start_step else "starting before",
        start_step or 1,
        length.num_steps,
        len(jax.devices()),
        jax.default_backend(),
    )


def _score(
    config: ConfigDict,
    recipe: runs.Recipe,
    state: TrainState,
    recordings: Recordings,
    progress: TrainingProgress,
    step: int,
) -> float:
    """Return what "best" means: accuracy on the validation subject, else the training loss, negated."""
    loss = progress.mean_loss()
    if not recordings.sides.validation:
        return -loss
    params = runs.tested_params(state)
    top1 = predict(config, recipe.graphdef, params, state.batch_stats, recordings, "validation").top1
    assert top1 is not None  # there are recordings
    progress.write(step, {"validation_top1": top1})
    return top1
