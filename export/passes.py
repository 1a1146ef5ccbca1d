"""Rewrites of an exported graph. Each is one idea, changes the model in place and leaves its outputs equal.

jax2onnx gives a graph that is right but written for JAX's layout and for any batch size; these passes make
of it what an engine on the device wants: channels first, nothing computed from shapes, every pattern in the
form that engines recognise. `PASSES` is their order.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeGuard, cast

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx_ir.passes import common

from export.errors import ExportError

_ERRORS_ONLY = 3

# Values per element, so that they may swap places with a transpose.
_ELEMENTWISE = ("Abs", "Relu", "Sigmoid", "Tanh", "Clip", "Identity")


def constant(value: ir.Value | None) -> np.ndarray | None:
    """Return a constant's numbers; None for a value that is computed or absent."""
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def add_constant(model: ir.Model, name: str, array: np.ndarray) -> ir.Value:
    """Return a new constant of a graph."""
    value = ir.Value(name=name, const_value=ir.tensor(np.asarray(array), name=name))
    model.graph.register_initializer(value)
    return value


def maker(value: ir.Value | None) -> ir.Node | None:
    """Return the node that computes a value; None for an input, a constant or nothing."""
    return None if value is None else value.producer()


def only_reader(value: ir.Value) -> ir.Node | None:
    """Return the one node that reads a value; None if there are several, or it is an output."""
    readers = [use.node for use in value.uses()]
    return readers[0] if len(readers) == 1 and not value.is_graph_output() else None


def infer_shapes(model: ir.Model) -> None:
    """Write the shape of every value into the model; dynamic dimensions keep their names.

    By the rules of opset 17, which fit older operators too: those of 13 and 14 lose a shape that is computed.
    """
    declared = model.opset_imports[""]
    model.opset_imports[""] = max(declared, 17)
    try:
        common.ShapeInferencePass(strict_mode=True, data_prop=True)(model)
    finally:
        model.opset_imports[""] = declared


def _dims(value: ir.Value | None) -> tuple[int | str, ...] | None:
    """Return a value's shape with names for dynamic dimensions; None if any dimension is not known."""
    if value is None or value.shape is None:
        return None
    dims = [d if isinstance(d, int) else d.value for d in value.shape]
    known = tuple(d for d in dims if d is not None)
    return known if len(known) == len(dims) else None


def _replace(node: ir.Node, value: ir.Value) -> None:
    """Let everybody who reads a node's output read `value`, which takes over the name if it is the model's.

    A node between an input or constant of the model and its output stays: it gives the output its name.
    """
    (output,) = node.outputs
    if output.is_graph_output():
        if value.producer() is None or value.is_graph_output():
            return
        output.name, value.name = None, output.name
        value.type, value.shape = output.type, output.shape  # an output has to say these
    output.replace_all_uses_with(value, replace_graph_outputs=True)


def _matches(model: ir.Model, op_type: str) -> Iterator[ir.Node]:
    return (node for node in list(model.graph) if node.op_type == op_type)


def clear_annotations(model: ir.Model) -> None:
    """Remove shapes, comments and metadata of inner values and nodes: jax2onnx leaves some that are wrong."""
    common.ClearMetadataAndDocStringPass()(model)
    for node in model.graph:
        for output in node.outputs:
            if not output.is_graph_output():
                output.shape = output.type = None


def optimise_with_onnxruntime(model: ir.Model) -> None:
    """Fold constants and BatchNormalization, cancel transposes, by ONNX Runtime's basic optimisations."""
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder, "optimised.onnx")
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(optimised)
        options.log_severity_level = _ERRORS_ONLY  # it warns of every constant that it has folded away
        try:
            onnxruntime.InferenceSession(
                ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            replacement = ir.from_proto(onnx.load(optimised))
        except Exception as error:  # ONNX Runtime's and protobuf's have no common class below Exception
            raise ExportError(
                f"ONNX Runtime cannot optimise the graph, or write it to {folder} (is there room?): {error}"
            ) from error
    model.graph = replacement.graph


def write_products_as_matmul(model: ir.Model) -> None:
    """Write products of (N, T, I) with a matrix as MatMul, not as Reshape, Gemm, Reshape; and those without a bias.

    The reshapes take their target from the batch size at run time, which costs fixed-shape engines dearly. A Gemm
    without a bias has a factor of 0 for one, which TensorRT up to 10.15 at least multiplies in float32 whatever the
    rest is in, and refuses for it in float16.
    """
    infer_shapes(model)
    for node in _matches(model, "Gemm"):
        _gemm_between_reshapes_to_matmul(model, node)
    for node in _matches(model, "Gemm"):
        _gemm_without_bias_to_matmul(model, node)


def _gemm_without_bias_to_matmul(model: ir.Model, gemm: ir.Node) -> None:
    transposed = any(gemm.attributes.get_int(name, 0) for name in ("transA", "transB"))
    if transposed or gemm.attributes.get_float("beta", 1.0) != 0 or gemm.attributes.get_float("alpha", 1.0) != 1:
        return
    product = ir.node("MatMul", [gemm.inputs[0], gemm.inputs[1]], name=f"{gemm.name}_matmul")
    model.graph.insert_before(gemm, product)
    _replace(gemm, product.outputs[0])


def _gemm_between_reshapes_to_matmul(model: ir.Model, gemm: ir.Node) -> None:
    before, after = maker(gemm.inputs[0]), only_reader(gemm.outputs[0])
    if before is None or after is None or before.op_type != "Reshape" or after.op_type != "Reshape":
        return
    source, result, weight = before.inputs[0], after.outputs[0], constant(gemm.inputs[1])
    shape_in, shape_out = _dims(source), _dims(result)
    plain = all(gemm.attributes.get_float(name, 1.0) == 1.0 for name in ("alpha", "beta"))
    if gemm.attributes.get_int("transA", 0) or not plain or weight is None or not shape_in or not shape_out:
        return
    if shape_in[:-1] != shape_out[:-1]:
        return
    matrix = weight.T if gemm.attributes.get_int("transB", 0) else weight
    kernel = add_constant(model, f"{gemm.name}_kernel", np.ascontiguousarray(matrix))
    nodes = [ir.node("MatMul", [source, kernel], name=f"{gemm.name}_matmul")]
    if len(gemm.inputs) == 3:
        nodes.append(ir.node("Add", [nodes[0].outputs[0], gemm.inputs[2]], name=f"{gemm.name}_bias"))
    model.graph.insert_before(after, nodes)
    _replace(after, nodes[-1].outputs[0])


def pad_inside_max_pool(model: ir.Model) -> None:
    """Let MaxPool do the zero padding in front of it.

    Equal because the padded values come from a ReLU: MaxPool ignores its own padding, and each window has
    at least one value that is 0 or more.
    """
    for pool in _matches(model, "MaxPool"):
        pad = maker(pool.inputs[0])
        if pad is None or pad.op_type != "Pad" or only_reader(pad.outputs[0]) is not pool:
            continue
        source, pads = maker(pad.inputs[0]), constant(pad.inputs[1])
        fill = constant(pad.inputs[2]) if len(pad.inputs) > 2 and pad.inputs[2] is not None else np.zeros(())
        window = pool.attributes["kernel_shape"].as_ints()
        own = pool.attributes["pads"].as_ints() if "pads" in pool.attributes else ()
        if source is None or source.op_type != "Relu" or pads is None or fill is None or fill.any() or any(own):
            continue
        axes = len(pads) // 2
        spatial = [int(p) for p in (*pads[2:axes], *pads[axes + 2 :])]
        in_window = all(0 <= p < k for p, k in zip(spatial, (*window, *window), strict=True))
        if pads[:2].any() or pads[axes : axes + 2].any() or not in_window:
            continue
        pool.attributes.pop("auto_pad", None)
        pool.attributes["pads"] = ir.AttrInt64s("pads", spatial)
        pool.replace_input_with(0, pad.inputs[0])


def absorb_transpose_into_sum(model: ir.Model) -> None:
    """Remove a transpose whose only purpose is a sum, mean or maximum over axes, by renaming those axes.

    Elementwise functions may lie between. What is left after the reduction must be in the same order.
    """
    for transpose in _matches(model, "Transpose"):
        order = transpose.attributes["perm"].as_ints()
        node = only_reader(transpose.outputs[0])
        while node is not None and node.op_type in _ELEMENTWISE:
            node = only_reader(node.outputs[0])
        axes = None if node is None else _reduced_axes(node)
        if node is None or axes is None:
            continue
        renamed = sorted(order[axis] for axis in axes)
        kept = [order[axis] for axis in range(len(order)) if axis not in axes]
        if kept == sorted(kept):
            _set_reduced_axes(model, node, renamed)
            ir.convenience.replace_all_uses_with(transpose.outputs[0], cast(ir.Value, transpose.inputs[0]))


def gather_steps_in_place(model: ir.Model) -> None:
    """Take steps out of (N, T, C) along the second axis: not between two transposes, along the first.

    That is how the taps of a convolution over time come out of JAX: several gathers, side by side in the features.
    """
    for concat in _matches(model, "Concat"):
        gathers = [node for node in map(maker, concat.inputs) if _gathers_steps(node)]
        back = only_reader(concat.outputs[0])
        if len(gathers) < len(concat.inputs) or concat.attributes.get_int("axis", 0) not in (2, -1):
            continue
        if back is None or _order(back) != (1, 0, 2):
            continue
        for gather in gathers:
            transpose = cast(ir.Node, maker(gather.inputs[0]))
            gather.attributes["axis"] = ir.AttrInt64("axis", 1)
            gather.replace_input_with(0, transpose.inputs[0])
        _replace(back, concat.outputs[0])


def _gathers_steps(node: ir.Node | None) -> TypeGuard[ir.Node]:
    """Return whether a node takes constant steps of (T, N, C), a transpose of (N, T, C), for one reader."""
    if node is None or node.op_type != "Gather" or only_reader(node.outputs[0]) is None:
        return False
    source, places = maker(node.inputs[0]), constant(node.inputs[1])
    if source is None or _order(source) != (1, 0, 2) or places is None:
        return False
    return places.ndim == 1 and node.attributes.get_int("axis", 0) == 0


def keep_time_first_between_lstms(model: ir.Model) -> None:
    """Join the two transposes between a layer of LSTMs and the next: (T, D, N, H), (N, T, D H), (T, N, D H).

    The first layer's directions are put side by side without putting the clips first, which the next would undo.
    """
    for lstm in _matches(model, "LSTM"):
        apart = only_reader(lstm.outputs[0])
        joined = only_reader(apart.outputs[0]) if apart is not None and _order(apart) == (2, 0, 1, 3) else None
        if apart is None or joined is None or joined.op_type != "Reshape":
            continue
        sizes, back = constant(joined.inputs[1]), only_reader(joined.outputs[0])
        if sizes is None or list(sizes[:2]) != [0, 0] or len(sizes) != 3 or back is None or _order(back) != (1, 0, 2):
            continue
        apart.attributes["perm"] = ir.AttrInt64s("perm", (0, 2, 1, 3))
        _replace(back, joined.outputs[0])


def _order(node: ir.Node) -> tuple[int, ...] | None:
    """Return the order of axes that a transpose gives; None for another node."""
    return tuple(node.attributes["perm"].as_ints()) if node.op_type == "Transpose" else None


def _reduced_axes(node: ir.Node) -> list[int] | None:
    """Return the axes that a node reduces and drops, None if it is no such node (or they are not known)."""
    if node.op_type not in ("ReduceSum", "ReduceMean", "ReduceMax") or node.attributes.get_int("keepdims", 1) == 1:
        return None
    if "axes" in node.attributes:
        axes = list(node.attributes["axes"].as_ints())
    else:
        numbers = constant(node.inputs[1]) if len(node.inputs) > 1 else None
        if numbers is None:
            return None
        axes = [int(axis) for axis in numbers]
    return axes if axes and min(axes) >= 0 else None


def _set_reduced_axes(model: ir.Model, node: ir.Node, axes: list[int]) -> None:
    if "axes" in node.attributes:
        node.attributes["axes"] = ir.AttrInt64s("axes", axes)
        return
    node.replace_input_with(1, add_constant(model, f"{node.name}_axes", np.asarray(axes, np.int64)))


def remove_unused(model: ir.Model) -> None:
    """Remove nodes and constants that no output depends on."""
    common.RemoveUnusedNodesPass()(model)


def pin_versions(model: ir.Model) -> None:
    """Declare the operators' version alone, and the oldest file version that goes with it.

    ONNX Runtime writes every domain it knows, and the newest file version it knows; for operators of version
    17 it is 8, which ONNX Runtime 1.16 and TensorRT 8.5 read.
    """
    common.RemoveUnusedOpsetsPass()(model)
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in model.opset_imports.items()]
    model.ir_version = onnx.helper.find_min_ir_version_for(opsets)


def fix_batch(model: ir.Model, batch: int) -> None:
    """Give the batch axis of inputs and outputs one size; inner values follow from these."""
    for value in (*model.graph.inputs, *model.graph.outputs):
        assert value.shape is not None
        value.shape = ir.Shape([batch, *value.shape.dims[1:]])


Pass = Callable[[ir.Model], None]

PASSES: tuple[Pass, ...] = (
    clear_annotations,
    optimise_with_onnxruntime,
    write_products_as_matmul,
    pad_inside_max_pool,
    absorb_transpose_into_sum,
    remove_unused,  # what nobody needs any more is a reader, too
    gather_steps_in_place,
    keep_time_first_between_lstms,
    remove_unused,
    clear_annotations,
    pin_versions,
)
