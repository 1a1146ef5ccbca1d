"""Which convolutions a graph has on its video path, and where its residual adds are."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from export.passes import constant


@dataclass(frozen=True)
class Residual:
    """A residual add.

    Attributes:
      add: the node.
      main: the convolution that ends the block's main branch.
      skip: the value that went round it: the block's input, or its projection.
    """

    add: ir.Node
    main: ir.Node
    skip: ir.Value

    @property
    def skip_index(self) -> int:
        """Which input of the add the skip is."""
        return next(i for i, value in enumerate(self.add.inputs) if value is self.skip)


def video_convs(model: ir.Model) -> list[ir.Node]:
    """Return the 3D convolutions."""
    return [node for node in model.graph if is_video_conv(node)]


def is_video_conv(node: ir.Node | None) -> bool:
    """Return whether a node is a 3D convolution: its window has three axes."""
    return node is not None and node.op_type == "Conv" and len(kernel_size(node)) == 3


def kernel_size(conv: ir.Node) -> tuple[int, ...]:
    """Return the window of a convolution."""
    if "kernel_shape" in conv.attributes:
        return tuple(conv.attributes["kernel_shape"].as_ints())
    weight = constant(behind_qdq(conv.inputs[1]))
    return () if weight is None else weight.shape[2:]


def is_stem(conv: ir.Node) -> bool:
    """Return whether a convolution reads the video: itself, or what was made of it with no convolution before.

    What a depth network reads beside its frames are the differences between them.
    """
    waiting, seen = [conv.inputs[0]], set[ir.Node]()
    while waiting:
        value = waiting.pop()
        node = None if value is None else value.producer()
        if node is None or node in seen:
            continue
        if node.op_type == "Conv":
            return False
        seen.add(node)
        waiting.extend(node.inputs)
    return True


def residuals(model: ir.Model) -> list[Residual]:
    """Return the residual adds: a convolution's output and a value from before that convolution.

    Of two convolutions that meet (a block with a projection) the main branch is the one with more
    convolutions behind it.
    """
    depth: dict[ir.Value, int] = {}
    found = []
    for node in model.graph:
        behind = max((depth.get(value, 0) for value in node.inputs if value is not None), default=0)
        for output in node.outputs:
            depth[output] = behind + (node.op_type == "Conv")
        if node.op_type == "Add":
            first, second = (value for value in node.inputs)
            assert first is not None and second is not None
            main, skip = (first, second) if depth.get(first, 0) > depth.get(second, 0) else (second, first)
            conv = main.producer()
            if depth.get(main, 0) > depth.get(skip, 0) > 0 and conv is not None and is_video_conv(conv):
                found.append(Residual(node, conv, skip))
    return found


def behind_qdq(value: ir.Value | None) -> ir.Value | None:
    """Return the float value, or the constant, that a pair of QuantizeLinear and DequantizeLinear reads."""
    while value is not None and (node := value.producer()) is not None:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            break
        value = node.inputs[0]
    return value
