"""A finished run -> a bundle: the steps, top to bottom."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir

from export import accuracy, model_card, onnx_graph, parity, tensorrt_cache
from export.bundle import (
    CALIBRATION_FILE,
    MODEL_CARD_FILE,
    Description,
    check_target,
    identify,
    model_file,
    staged,
    write_description,
)
from export.calibration import Calibration, Calibrator, calibrate
from export.calibrator_choice import choose_estimator
from export.clips import Clips, choose_stratified
from export.errors import ExportError
from export.estimators import AUTO
from export.inputs import ModelInput, model_inputs
from export.lint import lint
from export.quantize import NOTHING_TO_QUANTIZE, plan, quantize
from export.steps import Steps
from export.trace import OPSET, reference
from hartx.calibration import read_temperature
from hartx.run import Run

PRECISIONS = ("fp32", "int8")

# Clips on which the graph is compared with the model: each alone, and all as one batch.
_PARITY_CLIPS = 3

_PACKAGES = ("jax", "flax", "jax2onnx", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Quantized:
    """An int8 model and what its scales come from."""

    model: onnx.ModelProto
    calibration: Calibration


def export(
    run: Run,
    clips: Clips,
    bundle: Path,
    precisions: Sequence[str] | None,
    calibration_clips: int,
    steps: Steps,
    calibrator: str = AUTO,
) -> None:
    """Write the bundle of a finished run.

    Args:
      run: the run.
      clips: its recordings.
      bundle: the folder to write; a bundle of the same run there is replaced.
      precisions: of `PRECISIONS`, "fp32" among them; None for all that the model has a use for.
      calibration_clips: number of training clips that the int8 scales come from.
      steps: where to say what is being done.
      calibrator: one of `export.estimators.ESTIMATORS`, or `AUTO` for the most accurate of them.

    Raises:
      ExportError: if the run cannot be exported or a check fails; then nothing was written.
    """
    check_target(bundle, run)
    inputs = model_inputs(run.specs)
    models = {"fp32": _float_model(run, inputs, clips, steps)}
    quantized = _int8_model(models["fp32"], run, inputs, clips, precisions, calibration_clips, steps, calibrator)
    if quantized is not None:
        models["int8"] = quantized.model
    description = Description(
        model=run.config.name,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        run=identify(run),
        inputs=inputs,
        labels=run.labels,
        window_s=round(clips.window_s(), 3),
        temperature=read_temperature(run.workdir),
        accuracy=_accuracy(models, inputs, clips, steps),
        versions=versions(),
    )
    calibration = None if quantized is None else quantized.calibration
    _write(bundle, run, models, calibration, description, steps)


def versions() -> dict[str, str]:
    """Return the versions of what makes a bundle."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES} | {
        "python": platform.python_version(),
        "opset": str(OPSET),
    }


def _float_model(run: Run, inputs: tuple[ModelInput, ...], clips: Clips, steps: Steps) -> onnx.ModelProto:
    with steps.step("fp32 graph") as note:
        model = onnx_graph.build(run.model, inputs, run.labels, versions())
        note.text = f"{len(model.graph.node)} nodes, opset {OPSET}; valid ONNX, channels first, no loops"
    with steps.step("parity with JAX") as note:
        names = [entry.name for entry in choose_stratified(clips.entries("train"), _PARITY_CLIPS)]
        chosen = [clip.inputs for clip in clips.load("train", names)]
        found = parity.check(model, reference(run.model, inputs), inputs, chosen)
        note.text = f"logits differ by at most {found.max_difference:.1g} on {found.clips} clips, alone and as a batch"
    return model


def _int8_model(
    model: onnx.ModelProto,
    run: Run,
    inputs: tuple[ModelInput, ...],
    clips: Clips,
    precisions: Sequence[str] | None,
    count: int,
    steps: Steps,
    calibrator: str,
) -> Quantized | None:
    """Return the int8 model; None if it is not wanted, or not named and of no use."""
    if precisions is not None and "int8" not in precisions:
        return None
    graph = ir.from_proto(model)
    placement = plan(graph)
    if not placement.convs:
        if precisions is not None:
            raise ExportError(f"--precisions names int8, but {NOTHING_TO_QUANTIZE}\n  Export with --precisions=fp32")
        steps.say(f"          int8: left out, {NOTHING_TO_QUANTIZE}")
        return None
    calibration = _calibration(
        Calibrator(model, placement.activations, inputs, clips, steps.each), run, count, steps, calibrator
    )
    with steps.step("int8 graph") as note:
        quantize(graph, placement, calibration.scale)
        if violations := lint(graph):
            raise ExportError("the int8 graph breaks placement rules\n" + "\n".join(f"  {v}" for v in violations))
        quantized = onnx_graph.to_proto(graph)
        onnx.checker.check_model(quantized, full_check=True)
        adds = len(placement.residuals)
        note.text = f"{len(placement.convs)} convolutions, {adds} residual adds; placement rules hold"
    return Quantized(quantized, calibration)


def _calibration(calibrator: Calibrator, run: Run, count: int, steps: Steps, estimator: str) -> Calibration:
    candidates = None
    if estimator == AUTO:
        with steps.step("int8 calibrator") as note:
            choice = choose_estimator(calibrator, count)
            estimator, candidates = choice.estimator, choice.to_json()
            note.text = f"{estimator} is the most accurate on {choice.clips} clips of subject {choice.held_out}"
        steps.console.print(choice.table())
    with steps.step("int8 calibration") as note:
        calibration = calibrate(calibrator, run.labels, count, estimator, candidates)
        classes = sum(number > 0 for number in calibration.clips_per_class.values())
        note.text = (
            f"{len(calibration.ranges)} scales by {estimator} from {len(calibration.clips)} training clips "
            f"of {classes} actions"
        )
    return calibration


def _accuracy(
    models: dict[str, onnx.ModelProto], inputs: tuple[ModelInput, ...], clips: Clips, steps: Steps
) -> dict[str, accuracy.Accuracy]:
    with steps.step("accuracy") as note:
        count = len(clips.entries("test"))
        loaded = steps.each(clips.load("test") if count else (), count)
        found = accuracy.measure(models, inputs, loaded)
        results = ", ".join(f"{name} {model_card.percent(entry)}" for name, entry in found.items())
        note.text = f"{results} on {count} test recordings" if count else "no recordings on the test side"
    return found


def _write(
    bundle: Path,
    run: Run,
    models: dict[str, onnx.ModelProto],
    calibration: Calibration | None,
    description: Description,
    steps: Steps,
) -> None:
    files = {model_file(name): model.SerializeToString() for name, model in models.items()}
    sizes = {name: len(files[model_file(name)]) for name in models}
    if calibration is not None:
        files[CALIBRATION_FILE] = (json.dumps(calibration.to_json(), indent=1) + "\n").encode()
        files[tensorrt_cache.CACHE_FILE] = tensorrt_cache.write(calibration.scales).encode()
    card = model_card.write(description, sizes, run.report, run.config.protocol, calibration)
    files[MODEL_CARD_FILE] = card.encode()
    with steps.step("bundle") as note:
        with staged(bundle) as folder:
            for name, content in files.items():
                (folder / name).write_bytes(content)
            write_description(folder, description)
        note.text = f"{bundle}, read back by edge.bundle"
    for path in sorted(bundle.iterdir()):
        steps.say(f"          {path}  {path.stat().st_size:,} bytes")
    steps.table(f"bundle {bundle}", description.accuracy, sizes)
