"""A trained model as an ONNX graph that a device can run: traced, rewritten, checked, labelled."""

from __future__ import annotations

import json
from collections.abc import Mapping

import onnx
import onnx_ir as ir
from flax import nnx

from edge.preprocess import spec_to_dict
from export import structure
from export.inputs import ModelInput
from export.passes import PASSES
from export.trace import trace

PRODUCER = "hartx"


def build(
    model: nnx.Module,
    inputs: tuple[ModelInput, ...],
    labels: tuple[str, ...],
    versions: Mapping[str, str],
) -> onnx.ModelProto:
    """Return the float32 graph of a trained model.

    Args:
      model: the trained model, over a dictionary of modalities.
      inputs: what it reads.
      labels: names of its classes, kept in the file.
      versions: of the packages that made it, kept in the file.

    Raises:
      ExportError: if what comes out is not fit for a device.
    """
    graph = ir.from_proto(trace(model, inputs))
    for rewrite in PASSES:
        rewrite(graph)
    structure.check(graph)
    proto = to_proto(graph)
    _describe(proto, inputs, labels, versions)
    return proto


def to_proto(graph: ir.Model) -> onnx.ModelProto:
    """Return a graph as it goes into a file: without notes on shapes, which some loaders take at their word."""
    proto = ir.to_proto(graph)
    del proto.graph.value_info[:]
    return proto


def _describe(
    proto: onnx.ModelProto,
    inputs: tuple[ModelInput, ...],
    labels: tuple[str, ...],
    versions: Mapping[str, str],
) -> None:
    """Write into the file what is needed to use it without its bundle."""
    proto.producer_name = PRODUCER
    proto.producer_version = ""
    proto.graph.name = PRODUCER
    preprocessing = {
        entry.name: {"modality": entry.modality, "layout": entry.layout, **spec_to_dict(entry.spec)} for entry in inputs
    }
    onnx.helper.set_model_props(
        proto,
        {
            "labels": json.dumps(list(labels)),
            "preprocessing": json.dumps(preprocessing, sort_keys=True),
            "versions": json.dumps(dict(versions), sort_keys=True),
        },
    )
