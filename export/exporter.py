"""A finished run -> a bundle: the steps, top to bottom."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export import accuracy, formats, model_card
from export.bundle import (
    CALIBRATION_FILE,
    MODEL_CARD_FILE,
    Description,
    Export,
    check_target,
    identify,
    staged,
    write_description,
)
from export.clips import Clips, choose_stratified
from export.errors import ExportError
from export.formats import BY_NAME, Format, Options
from export.head import Head
from export.inputs import ModelInput, model_inputs
from export.parity import Compute
from export.product import Job
from export.steps import Steps
from export.tensorrt import cache
from export.trace import reference
from hartx.calibration import read_temperature
from hartx.commit import git_commit
from hartx.run import Run

# Clips on which a format is compared with the model: each alone, and all as one batch.
PARITY_CLIPS = 3

_PACKAGES = ("jax", "flax", "jax2onnx", "onnx", "onnxruntime", "numpy")


def export(
    run: Run, clips: Clips, bundle: Path, chosen: Sequence[Format] | None, options: Options, steps: Steps
) -> None:
    """Write the bundle of a finished run.

    Args:
      run: the run.
      clips: its recordings.
      bundle: the folder to write; a bundle of the same run there is replaced.
      chosen: rows of `formats.FORMATS` in their order; None for those of `formats.DEFAULT` that the model has a
        use for.
      options: what else the user asked for.
      steps: where to say what is being done.

    Raises:
      ExportError: if the run cannot be exported or a check fails; then nothing was written.
    """
    check_target(bundle, run)
    rows = chosen or [BY_NAME[name] for name in formats.DEFAULT]
    formats.check_options(rows, options)
    job = _job(run, clips, options, steps, named=chosen is not None)
    seconds = {}
    for row in rows:
        started = time.perf_counter()
        product = row.load_maker()(job)
        if product is not None:
            job.products[row.name] = product
            seconds[row.name] = time.perf_counter() - started
    _write(bundle, job, _describe(job, seconds))


def versions(opset: int) -> dict[str, str]:
    """Return the versions of what makes a bundle; "hartx" is the commit, where there is one."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES} | {
        "python": platform.python_version(),
        "opset": str(opset),
        "hartx": git_commit() or "unknown",
    }


def _job(run: Run, clips: Clips, options: Options, steps: Steps, *, named: bool) -> Job:
    inputs = model_inputs(run.specs)
    head = Head(options.softmax, read_temperature(run.workdir))
    return Job(
        run=run,
        inputs=inputs,
        clips=clips,
        options=options,
        head=head,
        reference=trained(run, inputs, head),
        checked=parity_clips(clips),
        versions=versions(options.opset),
        steps=steps,
        named=named,
        products={},
    )


def trained(run: Run, inputs: tuple[ModelInput, ...], head: Head) -> Compute:
    """Return the trained model, head and all, as a function of named inputs, run by JAX."""
    logits = reference(run.model, inputs)
    return lambda feeds: head.of_logits(logits(feeds))


def window_s(clips: Clips) -> float:
    """Return the seconds that one prediction sees, as a bundle has them."""
    return round(clips.window_s(), 3)


def parity_clips(clips: Clips) -> list[Mapping[str, np.ndarray]]:
    """Return the training clips on which formats are held against the trained model.

    Raises:
      ExportError: if there are none.
    """
    names = [entry.name for entry in choose_stratified(clips.entries("train"), PARITY_CLIPS)]
    if not names:
        raise ExportError("there is no training recording to hold the formats against the trained model on")
    return [clip.inputs for clip in clips.load("train", names)]


def _right(job: Job) -> dict[str, tuple[bool, ...]]:
    """Return for each format of which test recordings it is right."""
    with job.steps.step("accuracy") as note:
        count = len(job.clips.entries("test"))
        loaded = job.steps.each(job.clips.load("test") if count else (), count)
        found = accuracy.measure({name: made.compute for name, made in job.products.items()}, job.inputs, loaded)
        results = ", ".join(
            f"{name} {model_card.percent(accuracy.accuracy_of(right))}" for name, right in found.items()
        )
        note.text = f"{results} on {count} test recordings" if count else "no recordings on the test side"
    return found


def _describe(job: Job, seconds: Mapping[str, float]) -> Description:
    right = _right(job)
    return Description(
        model=job.run.config.name,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        run=identify(job.run),
        inputs=job.inputs,
        labels=job.run.labels,
        window_s=window_s(job.clips),
        head=job.head,
        options=job.options,
        exports=tuple(
            Export(
                format=BY_NAME[name],
                seconds=seconds[name],
                size_bytes=made.size_bytes,
                check=made.check,
                accuracy=accuracy.accuracy_of(right[name]),
                mcnemar=None
                if name == formats.BASE
                else accuracy.mcnemar(formats.BASE, right[formats.BASE], right[name]),
                details=made.details,
            )
            for name, made in job.products.items()
        ),
        versions=dict(job.versions),
    )


def _write(bundle: Path, job: Job, description: Description) -> None:
    calibration = next((made.calibration for made in job.products.values() if made.calibration is not None), None)
    files = {BY_NAME[name].file: made.content for name, made in job.products.items()}
    files |= {name: content for made in job.products.values() for name, content in made.beside.items()}
    if calibration is not None:
        files[CALIBRATION_FILE] = _as_json(calibration.to_json())
        files[cache.CACHE_FILE] = cache.to_text({**calibration.scales, **calibration.output_scales}).encode()
    card = model_card.text(description, job.run.report, job.run.config.protocol, calibration)
    files[MODEL_CARD_FILE] = card.encode()
    with job.steps.step("bundle") as note:
        with staged(bundle) as folder:
            for name, content in files.items():
                (folder / name).write_bytes(content)
            write_description(folder, description)
        note.text = f"{bundle}, read back by edge.bundle"
    for entry in description.exports:
        path = bundle / entry.format.file
        job.steps.say(f"{entry.seconds:6.1f} s  {entry.format.name}: {path}  {entry.size_bytes:,} bytes; {entry.check}")
    job.steps.table(f"bundle {bundle}", description.exports)


def _as_json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=1) + "\n").encode()
