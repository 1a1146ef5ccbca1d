"""Whether a Q/DQ graph obeys the rules by which TensorRT builds fast int8 layers from it.

Reads the finished graph and nothing of how it was made, so that it can judge any Q/DQ model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from export.passes import constant
from export.residual import is_stem, is_video_conv, kernel_size, residuals, video_convs


@dataclass(frozen=True)
class Violation:
    """A rule that a node breaks."""

    rule: str
    node: str
    message: str

    def __str__(self) -> str:
        return f"{self.node}: {self.message} ({self.rule})"


def lint(model: ir.Model) -> list[Violation]:
    """Return the violations in a Q/DQ graph, in the graph's order per rule; none in a float graph."""
    rules = (
        _symmetric,
        _positive_scales,
        _pairs,
        _whole_convolutions,
        _weights_per_channel,
        _biases_in_float,
        _stem_in_float,
        _only_convolutions,
        _conv_next_to_relu,
        _skip_input_only,
        _grouped,
    )
    return [violation for rule in rules for violation in rule(model)]


def _name(node: ir.Node) -> str:
    return node.name or f"{node.op_type} of {node.outputs[0].name}"


def _is_restored(value: ir.Value | None) -> bool:
    producer = None if value is None else value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"


def _symmetric(model: ir.Model) -> Iterator[Violation]:
    for node in model.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = constant(node.inputs[2]) if len(node.inputs) > 2 else None
            if zero is None or zero.dtype != np.int8:
                yield Violation("symmetric", _name(node), "the zero point must be given, of type int8")
            elif zero.any():
                yield Violation("symmetric", _name(node), f"the zero point is {zero.max()}; it must be 0")


def _positive_scales(model: ir.Model) -> Iterator[Violation]:
    for node in model.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale = constant(node.inputs[1])
            if scale is None or not (np.isfinite(scale).all() and (scale > 0).all()):
                yield Violation("positive-scales", _name(node), "scales must be constant, finite and more than 0")


def _pairs(model: ir.Model) -> Iterator[Violation]:
    for node in model.graph:
        if node.op_type != "QuantizeLinear":
            continue
        (value,), scale = node.outputs, constant(node.inputs[1])
        if value.is_graph_output():
            yield Violation("pairs", _name(node), "the graph gives int8; it must be restored first")
        for use in value.uses():
            if use.node.op_type != "DequantizeLinear" or use.idx != 0:
                yield Violation("pairs", _name(node), f"{_name(use.node)} reads its int8, which must be restored first")
            elif not np.array_equal(scale, constant(use.node.inputs[1])):  # type: ignore[arg-type]
                yield Violation("pairs", _name(use.node), f"its scale is not that of {_name(node)}, which it restores")


def _whole_convolutions(model: ir.Model) -> Iterator[Violation]:
    for conv in video_convs(model):
        if _is_restored(conv.inputs[0]) != _is_restored(conv.inputs[1]):
            yield Violation("whole-convolutions", _name(conv), "data and weights must be quantised together")


def _weights_per_channel(model: ir.Model) -> Iterator[Violation]:
    for conv in video_convs(model):
        if _is_restored(conv.inputs[1]):
            node = conv.inputs[1].producer()  # type: ignore[union-attr]
            weight, scale = constant(node.inputs[0]), constant(node.inputs[1])  # type: ignore[union-attr]
            axis = node.attributes.get_int("axis", 1)  # type: ignore[union-attr]
            if weight is None or scale is None or scale.shape != weight.shape[:1] or axis != 0:
                yield Violation("weights-per-channel", _name(conv), "weights need a scale per output channel, axis 0")


def _biases_in_float(model: ir.Model) -> Iterator[Violation]:
    for conv in video_convs(model):
        bias = conv.inputs[2] if len(conv.inputs) > 2 else None
        if bias is not None and (_is_restored(bias) or bias.dtype not in (None, ir.DataType.FLOAT)):
            yield Violation("biases-in-float", _name(conv), "TensorRT refuses int32 biases; leave it in float")


def _stem_in_float(model: ir.Model) -> Iterator[Violation]:
    for conv in video_convs(model):
        if is_stem(conv) and any(map(_is_restored, conv.inputs[:2])):
            yield Violation("stem-in-float", _name(conv), "the convolution that reads the video must stay in float")


def _is_computed(value: ir.Value | None) -> bool:
    """Return whether a value is restored from int8 that was computed, not from a weight that is stored so."""
    return _is_restored(value) and constant(value.producer().inputs[0]) is None  # type: ignore[union-attr]


def _only_convolutions(model: ir.Model) -> Iterator[Violation]:
    skips = {residual.add for residual in residuals(model)}
    for node in model.graph:
        may_read = is_video_conv(node) or node in skips
        if not may_read and any(map(_is_computed, node.inputs)):
            yield Violation("only-convolutions", _name(node), f"{node.op_type} must stay in float")


def _conv_next_to_relu(model: ir.Model) -> Iterator[Violation]:
    for node in model.graph:
        if node.op_type == "Relu" and _is_restored(node.inputs[0]):
            yield Violation("conv-next-to-relu", _name(node), "Q/DQ in front of a ReLU keeps it from being fused")


def _skip_input_only(model: ir.Model) -> Iterator[Violation]:
    for node in model.graph:
        if node.op_type == "Add" and len(node.inputs) == 2 and all(map(_is_restored, node.inputs)):
            yield Violation("skip-input-only", _name(node), "Q/DQ on the main branch keeps the add from being fused")
    for residual in residuals(model):
        restored = [_is_restored(value) for value in residual.add.inputs]
        if any(restored) != _is_restored(residual.main.inputs[0]) or restored[1 - residual.skip_index]:
            yield Violation(
                "skip-input-only", _name(residual.add), "exactly the skip input of a quantised block needs Q/DQ"
            )


def _grouped(model: ir.Model) -> Iterator[Violation]:
    for conv in video_convs(model):
        weight, groups = conv.inputs[1], conv.attributes.get_int("group", 1)
        if groups == 1 or not _is_restored(weight):
            continue
        stored = constant(weight.producer().inputs[0])  # type: ignore[union-attr]
        if stored is not None and (stored.shape[0] % 8 or min(kernel_size(conv)) < 3):
            yield Violation(
                "grouped", _name(conv), "a grouped convolution needs output channels in multiples of 8 and windows >= 3"
            )
