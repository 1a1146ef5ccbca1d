"""float32: the trained model as a graph, which the other precisions start from."""

from __future__ import annotations

from export import onnx_graph, parity
from export.formats import BY_NAME
from export.product import Job, Product
from export.session import Session


def make_fp32(job: Job) -> Product:
    """Return the model as a float32 graph.

    Raises:
      ExportError: if the graph is not fit for a device, or does not agree with the trained model.
    """
    options, steps = job.options, job.steps
    with steps.step("fp32 graph") as note:
        model = onnx_graph.build(job.run.model, job.inputs, job.run.labels, job.versions, options, job.head)
        size = f"{options.batch} clips at a time, every shape fixed" if options.batch else "any number of clips"
        note.text = f"{len(model.graph.node)} nodes, opset {options.opset}, {size}; channels first, no loops"
    with steps.step("parity with JAX") as note:
        compute = Session(model).output
        found = parity.check(compute, job.reference, job.inputs, job.checked, BY_NAME["onnx-fp32"].tolerance)
        note.text = str(found)
    return Product(model.SerializeToString(), compute, str(found), onnx=model)
