"""The int8 format: ranges measured on training clips, Q/DQ pairs placed, the graph checked."""

from __future__ import annotations

import onnx
import onnx_ir as ir

from export import onnx_graph, parity
from export.calibration import Calibration, Calibrator, calibrate
from export.calibrator_choice import choose_estimator
from export.errors import ExportError
from export.estimators import AUTO
from export.formats import BY_NAME
from export.lint import lint
from export.product import Job, Product
from export.quantize import NOTHING_TO_QUANTIZE, Placement, plan, quantize
from export.session import Session


def make_int8(job: Job) -> Product | None:
    """Return the int8 model; None if it was not asked for by name and is of no use.

    Raises:
      ExportError: if it was asked for and is of no use, or breaks a placement rule, or is too far from the
        trained model.
    """
    graph = ir.from_proto(job.base())
    placement = plan(graph)
    if not placement.convs:
        if job.named:
            raise ExportError(f"--formats names onnx-int8, but {NOTHING_TO_QUANTIZE}\n  Export without it")
        job.steps.say(f"          int8: left out, {NOTHING_TO_QUANTIZE}")
        return None
    calibration = _calibration(job, placement)
    model = _quantized(job, graph, placement, calibration)
    compute = Session(model).logits
    found = parity.check(compute, job.reference, job.inputs, job.checked, BY_NAME["onnx-int8"].tolerance)
    check = f"placement rules hold; {found}"
    return Product(model.SerializeToString(), compute, check, onnx=model, calibration=calibration)


def _calibration(job: Job, placement: Placement) -> Calibration:
    calibrator = Calibrator(job.base(), placement.activations, job.inputs, job.clips, job.steps.each)
    estimator, candidates, count = job.options.calibrator, None, job.options.calibration_clips
    if estimator == AUTO:
        with job.steps.step("int8 calibrator") as note:
            choice = choose_estimator(calibrator, count)
            estimator, candidates = choice.estimator, choice.to_json()
            note.text = f"{estimator} is the most accurate on {choice.clips} clips of subject {choice.held_out}"
        job.steps.console.print(choice.table())
    with job.steps.step("int8 calibration") as note:
        calibration = calibrate(calibrator, job.run.labels, count, estimator, candidates)
        classes = sum(number > 0 for number in calibration.clips_per_class.values())
        note.text = (
            f"{len(calibration.ranges)} scales by {estimator} from {len(calibration.clips)} training clips "
            f"of {classes} actions"
        )
    return calibration


def _quantized(job: Job, graph: ir.Model, placement: Placement, calibration: Calibration) -> onnx.ModelProto:
    with job.steps.step("int8 graph") as note:
        quantize(graph, placement, calibration.scale)
        if violations := lint(graph):
            raise ExportError("the int8 graph breaks placement rules\n" + "\n".join(f"  {v}" for v in violations))
        model = onnx_graph.to_proto(graph)
        onnx.checker.check_model(model, full_check=True)
        adds = len(placement.residuals)
        note.text = f"{len(placement.convs)} convolutions, {adds} residual adds; placement rules hold"
    return model
