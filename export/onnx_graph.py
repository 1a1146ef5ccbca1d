"""A trained model as an ONNX graph that a device can run: traced, rewritten, checked, labelled."""

from __future__ import annotations

import json
from collections.abc import Mapping

import onnx
import onnx_ir as ir
from flax import nnx

from edge.bundle import FORMAT_VERSION
from edge.preprocess import spec_to_dict
from export import structure
from export.formats import Options
from export.head import Head
from export.inputs import ModelInput
from export.passes import PASSES, fix_batch
from export.trace import trace

PRODUCER = "hartx"


def build(
    model: nnx.Module,
    inputs: tuple[ModelInput, ...],
    labels: tuple[str, ...],
    versions: Mapping[str, str],
    options: Options,
    head: Head,
) -> onnx.ModelProto:
    """Return the float32 graph of a trained model.

    Args:
      model: the trained model, over a dictionary of modalities.
      inputs: what it reads.
      labels: names of its classes, kept in the file.
      versions: of the packages that made it, kept in the file.
      options: version of the operators, and clips at a time.
      head: what comes out.

    Raises:
      ExportError: if what comes out is not fit for a device.
    """
    graph = ir.from_proto(trace(model, inputs, options.opset))
    structure.check_opset(graph)  # now, as the passes run the graph and would fail in their own words
    for rewrite in PASSES:
        rewrite(graph)
    head.append_to(graph)
    if options.batch is not None:
        fix_batch(graph, options.batch)
    structure.check(graph)
    proto = to_proto(graph)
    proto.producer_name = PRODUCER
    proto.producer_version = ""
    proto.graph.name = PRODUCER
    onnx.helper.set_model_props(proto, properties(inputs, labels, versions, head))
    return proto


def to_proto(graph: ir.Model) -> onnx.ModelProto:
    """Return a graph as it goes into a file: without notes on shapes, which some loaders take at their word."""
    proto = ir.to_proto(graph)
    del proto.graph.value_info[:]
    return proto


def properties(
    inputs: tuple[ModelInput, ...], labels: tuple[str, ...], versions: Mapping[str, str], head: Head
) -> dict[str, str]:
    """Return what a file says of itself, so that it can be used without its bundle; each value is JSON."""
    preprocessing = {
        entry.name: {"modality": entry.modality, "layout": entry.layout, **spec_to_dict(entry.spec)} for entry in inputs
    }
    values = {
        "labels": list(labels),
        "preprocessing": preprocessing,
        "versions": dict(versions),
        "output": {"is": head.output, "temperature": head.temperature},
        "format_version": FORMAT_VERSION,
    }
    return {name: json.dumps(value, sort_keys=True) for name, value in values.items()}
