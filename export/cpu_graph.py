"""The int8 graph as a CPU wants it: the stem in int8 too, reading frames whose pixels are folded into channels.

The stem of a 3D ResNet has half of its multiplications, but three input channels, where the matrix instructions of a
CPU take 32 or 64 at once: in bfloat16 it takes four fifths of the time of the whole int8 model. A stride of 2 over
pixels is the same as a stride of 1 over blocks of 2 x 2 pixels that lie behind each other as channels ("space to
depth"), with a window half as wide, and 12 channels are used far better.

NVIDIA's rules for TensorRT want the stem in float, so this is for OpenVINO alone.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from export import onnx_graph
from export.passes import add_constant, constant, infer_shapes, remove_unused
from export.quantize import ScaleOf, plan, quantize, quantize_activation, store_weights_in_int8
from export.residual import behind_qdq, is_stem, kernel_size, video_convs

_BLOCK = 2  # pixels to a side


def stem_inputs(model: onnx.ModelProto) -> tuple[str, ...]:
    """Return the names of what the stems of a float graph read."""
    stems = filter(is_stem, video_convs(ir.from_proto(model)))
    return tuple(dict.fromkeys(str(conv.inputs[0].name) for conv in stems))  # type: ignore[union-attr]


def for_cpu(model: onnx.ModelProto, int8: tuple[str, ...], scale_of: ScaleOf) -> onnx.ModelProto:
    """Return a float model in int8, for a CPU.

    Args:
      model: the float graph.
      int8: names of the convolutions behind the stem that are to be in int8.
      scale_of: tensor to the size of its int8 step, for what `stem_inputs` names as well.
    """
    graph = ir.from_proto(model)
    quantize(graph, plan(graph, int8, stem=True), scale_of)
    pool_in_int8(graph)
    fold_stem(graph)
    store_weights_in_int8(graph)
    return onnx_graph.to_proto(graph)


def pool_in_int8(model: ir.Model) -> None:
    """Quantise in front of a max-pool what is quantised behind it: the largest value stays the largest.

    Not where something else reads the pool, a layer that is kept in float: it would read rounded values.

    The convolution before it then writes int8, which is a quarter to read and write.
    """
    for pool in [node for node in model.graph if node.op_type == "MaxPool"]:
        readers = [use.node for use in pool.outputs[0].uses()]
        if not readers or any(reader.op_type != "QuantizeLinear" for reader in readers):
            continue
        source, scale = pool.inputs[0], constant(readers[0].inputs[1])
        assert source is not None and scale is not None
        pool.replace_input_with(0, quantize_activation(model, source, np.float32(scale)))


def fold_stem(model: ir.Model) -> None:
    """Let the stems that take every second row and column of their video read blocks of 2 x 2 pixels, as channels.

    The sums are the same, and so are the numbers but for their order. A video of an odd height or width stays as it is.
    """
    infer_shapes(model)
    for conv in filter(is_stem, video_convs(model)):
        video, shape = conv.inputs[0], conv.inputs[0].shape  # type: ignore[union-attr]
        strides = tuple(conv.attributes["strides"].as_ints()) if "strides" in conv.attributes else (1, 1, 1)
        groups = conv.attributes.get_int("group", 1)
        dilated = "dilations" in conv.attributes and set(conv.attributes["dilations"].as_ints()) != {1}
        if shape is None or strides[1:] != (_BLOCK, _BLOCK) or groups > 1 or dilated:
            continue
        channels, frames, height, width = (int(size) for size in shape.dims[1:])  # type: ignore[arg-type]
        if height % _BLOCK or width % _BLOCK:
            continue
        source = behind_qdq(video)
        assert video is not None and source is not None
        folded = _fold_video(model, conv, source, (channels, frames, height, width))
        if video is not source:
            # Behind the fold: folded in int8, OpenVINO 2025.4 to 2026.4 got small stems wrong on an AMD EPYC with VNNI.
            scale = constant(video.producer().inputs[1])  # type: ignore[union-attr]
            folded = quantize_activation(model, folded, np.float32(scale))
        _fold_window(model, conv, (height, width))
        conv.replace_input_with(0, folded)
        conv.attributes["strides"] = ir.AttrInt64s("strides", [strides[0], 1, 1])
    remove_unused(model)  # the quantisation in front of the fold


def _fold_video(model: ir.Model, conv: ir.Node, video: ir.Value, shape: tuple[int, int, int, int]) -> ir.Value:
    channels, frames, height, width = shape
    rows, columns = height // _BLOCK, width // _BLOCK
    blocks_shape = np.asarray([0, channels, frames, rows, _BLOCK, columns, _BLOCK], np.int64)  # 0: as it is
    folded_shape = np.asarray([0, channels * _BLOCK**2, frames, rows, columns], np.int64)
    split = add_constant(model, f"{conv.name}_blocks", blocks_shape)
    joined = add_constant(model, f"{conv.name}_folded", folded_shape)
    blocks = ir.node("Reshape", [video, split], name=f"{conv.name}_split")
    apart = ir.node("Transpose", [blocks.outputs[0]], {"perm": [0, 1, 4, 6, 2, 3, 5]}, name=f"{conv.name}_to_channels")
    folded = ir.node("Reshape", [apart.outputs[0], joined], name=f"{conv.name}_fold")
    model.graph.insert_before(conv, [blocks, apart, folded])
    return folded.outputs[0]


def _fold_window(model: ir.Model, conv: ir.Node, size: tuple[int, int]) -> None:
    """Give a convolution the weights and the padding that belong to folded rows and columns.

    Tap k of a row, which reads pixel 2 o + k - p for output o and padding p, becomes row (k - p) mod 2 of block
    o + floor((k - p) / 2).
    """
    weight = behind_qdq(conv.inputs[1])
    array = constant(weight)
    assert weight is not None and array is not None
    window, pads = kernel_size(conv), list(conv.attributes["pads"].as_ints())
    for axis, length in zip((1, 2), size, strict=True):
        before, after, taps = pads[axis], pads[axis + 3], window[axis]
        outputs = (length + before + after - taps) // _BLOCK + 1
        first = -before // _BLOCK
        blocks = (taps - 1 - before) // _BLOCK - first + 1
        lead = -before - first * _BLOCK  # pixels of the first block in front of the first tap
        ends = [(0, 0)] * array.ndim
        ends[2 + axis] = (lead, blocks * _BLOCK - taps - lead)
        array = np.pad(array, ends)
        pads[axis] = -first
        pads[axis + 3] = outputs - 1 + blocks + first - length // _BLOCK
    out, channels, frames, rows, columns = array.shape
    split = array.reshape(out, channels, frames, rows // _BLOCK, _BLOCK, columns // _BLOCK, _BLOCK)
    folded = split.transpose(0, 1, 4, 6, 2, 3, 5).reshape(out, channels * _BLOCK**2, frames, rows // _BLOCK, -1)
    weight.replace_all_uses_with(add_constant(model, f"{weight.name}_folded", np.ascontiguousarray(folded)))
    conv.attributes["pads"] = ir.AttrInt64s("pads", pads)
    conv.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", list(folded.shape[2:]))
