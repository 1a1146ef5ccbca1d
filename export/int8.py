"""The int8 format: ranges measured on training clips, Q/DQ pairs placed, the graph checked.

A model without 3D convolutions has nothing to calibrate. If int8 is asked for by name, its weights are stored so.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import onnx
import onnx_ir as ir

from export import layers, max_drop, onnx_graph, parity
from export.calibration import Calibration, Calibrator, calibrate
from export.calibrator_choice import choose_estimator
from export.errors import ExportError
from export.estimators import AUTO
from export.formats import BY_NAME
from export.held_out import named
from export.layers import LayerChoice
from export.lint import lint
from export.parity import Compute, Parity
from export.product import Job, Product
from export.quantize import NOTHING_TO_QUANTIZE, Placement, outputs, plan, quantize, store_weights_in_int8
from export.session import Session

_TOO_FAR = (
    "Let the layers that it hurts stay in float: --max_drop=0.5, or --keep_float by name; or take another --calibrator"
)


def make_int8(job: Job) -> Product | None:
    """Return the int8 model; None if it was not asked for by name and would compute nothing in int8.

    Raises:
      ExportError: if nothing of it can be in int8, or it breaks a placement rule, or is too far from the trained
        model, or a layer that is to stay in float is unknown, or too much accuracy is lost.
    """
    graph = ir.from_proto(job.base())
    names = layers.layer_names(job.base())
    if not names:
        return _weights_alone(job, graph)
    matched = layers.match(job.options.keep_float, names)
    kept = {name: f"--keep_float={pattern}" for name, pattern in matched.items()}
    choice = LayerChoice(tuple(name for name in names if name not in kept), kept)
    if not choice.int8:
        raise ExportError("--keep_float leaves no layer for int8\n  Export without onnx-int8")
    calibrator = Calibrator(job.base(), plan(graph, choice.int8).activations, job.inputs, job.clips, job.steps.each)
    estimator, candidates = _estimator(job, calibrator, choice)
    choice = _within_budget(job, calibrator, choice, estimator)
    placement = plan(graph, choice.int8)
    calibrator = dataclasses.replace(calibrator, tensors=placement.activations)
    calibration = _calibration(job, calibrator, choice, estimator, candidates, outputs(placement))
    model = _quantized(job, graph, placement, calibration)
    compute, found = _checked(job, model, _TOO_FAR)
    in_float = f"; {len(choice.kept)} of {len(names)} layers in float" if choice.kept else ""
    check = f"placement rules hold{in_float}; {found}"
    details = {"layers": choice.to_json()}
    return Product(model.SerializeToString(), compute, check, details, onnx=model, calibration=calibration)


def _weights_alone(job: Job, graph: ir.Model) -> Product | None:
    """Return a model that computes in float, with its weights in int8; None if int8 was not asked for by name."""
    needs_layers = [name for name in ("calibrator", "keep_float", "max_drop") if name in job.options.changed()]
    if needs_layers:
        raise ExportError(f"--{needs_layers[0]} was given, but {NOTHING_TO_QUANTIZE}\n  Export without it")
    if not job.named:
        job.steps.say(f"          int8: left out, {NOTHING_TO_QUANTIZE}")
        return None
    with job.steps.step("int8 graph") as note:
        model, stored = _stored(graph)
        if not stored:
            raise ExportError(
                f"onnx-int8 was asked for, but {NOTHING_TO_QUANTIZE}, and its weights are few\n  Export without it"
            )
        note.text = f"{stored} weights stored in int8; {NOTHING_TO_QUANTIZE}"
    compute, found = _checked(job, model, "Export without it")
    return Product(model.SerializeToString(), compute, f"{stored} weights stored in int8; {found}", onnx=model)


def _checked(job: Job, model: onnx.ModelProto, advice: str) -> tuple[Compute, Parity]:
    """Return an int8 model as a function, and how close it is to the trained one; the advice is for one too far off."""
    compute = Session(model).output
    found = parity.compare(compute, job.reference, job.inputs, job.checked, BY_NAME["onnx-int8"].tolerance)
    if not found.holds:
        raise ExportError(f"int8 changes too much: {found}\n  No bundle was written. {advice}")
    return compute, found


def _estimator(job: Job, calibrator: Calibrator, choice: LayerChoice) -> tuple[str, dict[str, Any] | None]:
    """Return the estimator, and how it compared with the others if it was not asked for by name."""
    if job.options.calibrator != AUTO:
        return job.options.calibrator, None
    with job.steps.step("int8 calibrator") as note:
        found = choose_estimator(calibrator, job.options.calibration_clips, choice.int8)
        note.text = f"{found.estimator} is the most accurate on {found.clips} clips of {named(found.held_out)}"
    job.steps.console.print(found.table())
    return found.estimator, found.to_json()


def _within_budget(job: Job, calibrator: Calibrator, choice: LayerChoice, estimator: str) -> LayerChoice:
    """Return the choice after `--max_drop`, and say what it returned to float and why."""
    budget = job.options.max_drop
    if budget is None:
        return choice
    with job.steps.step("int8 accuracy budget") as note:
        found = max_drop.search(
            calibrator, choice.int8, estimator, job.options.calibration_clips, budget, job.steps.tick
        )
        note.text = (
            f"{found.drop_points:.2f} points of top-1 lost ({budget:g} are allowed) on {found.clips} clips of "
            f"{named(found.held_out_subject)}, where a clip is {100 / found.clips:.2f}; "
            f"{len(found.returned)} layers returned to float"
        )
    reasons = found.reasons()
    for name, reason in reasons.items():
        job.steps.say(f"          {name} stays in float: {reason}")
    int8 = tuple(name for name in choice.int8 if name not in reasons)
    return LayerChoice(int8, {**choice.kept, **reasons}, found.to_json())


def _calibration(
    job: Job,
    calibrator: Calibrator,
    choice: LayerChoice,
    estimator: str,
    candidates: dict[str, Any] | None,
    more: tuple[str, ...],
) -> Calibration:
    with job.steps.step("int8 calibration") as note:
        count = job.options.calibration_clips
        calibration = calibrate(calibrator, job.run.labels, count, estimator, candidates, more)
        classes = sum(number > 0 for number in calibration.clips_per_class.values())
        note.text = (
            f"{len(calibration.ranges)} scales by {estimator} from {len(calibration.clips)} training clips "
            f"of {classes} actions"
        )
    return dataclasses.replace(calibration, layers=choice.to_json())


def _quantized(job: Job, graph: ir.Model, placement: Placement, calibration: Calibration) -> onnx.ModelProto:
    with job.steps.step("int8 graph") as note:
        quantize(graph, placement, calibration.scale)
        model, stored = _stored(graph)
        adds = len(placement.residuals)
        others = f"; {stored} other weights stored in int8" if stored else ""
        note.text = f"{len(placement.convs)} convolutions, {adds} residual adds; placement rules hold{others}"
    return model


def _stored(graph: ir.Model) -> tuple[onnx.ModelProto, int]:
    """Return a graph whose other weights are stored in int8, and how many these are."""
    stored = store_weights_in_int8(graph)
    if violations := lint(graph):
        raise ExportError("the int8 graph breaks placement rules\n" + "\n".join(f"  {v}" for v in violations))
    model = onnx_graph.to_proto(graph)
    onnx.checker.check_model(model, full_check=True)
    return model, stored
