"""From a Flax model to an ONNX graph, by jax2onnx, before any clean-up."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from flax import nnx
from jax2onnx import to_onnx

from export.inputs import ModelInput
from export.lstm import LSTMLayerNode
from hartx.jit import jit
from hartx.models.conv3d import Conv3D
from hartx.models.sequence_lstm import LSTMLayer

OUTPUT_NAME = "logits"


class Identity(nnx.Module):
    """What dropout is in evaluation mode."""

    def __call__(self, x: jax.Array, **_: Any) -> jax.Array:
        """Return `x`."""
        return x


def _native_conv(conv: Conv3D) -> nnx.Conv:
    """Return the convolution as the layer that jax2onnx knows; it refuses `lax`'s 3D convolution."""
    kernel = conv.kernel[...]
    *size, channels_in, channels_out = kernel.shape
    return nnx.Conv(
        channels_in,
        channels_out,
        tuple(size),
        strides=conv.strides,
        padding=[(p, p) for p in conv.padding],
        use_bias=False,
        kernel_init=lambda *_: kernel,
        rngs=nnx.Rngs(0),
    )


# Layers that jax2onnx cannot read, or not as single nodes, to what gives the same numbers in evaluation mode. Its own
# Dropout does not take the `rngs` argument.
_REPLACEMENTS: dict[type, Callable[[Any], nnx.Module]] = {
    Conv3D: _native_conv,
    LSTMLayer: LSTMLayerNode,
    nnx.Dropout: lambda _: Identity(),
}


def evaluation_model(model: nnx.Module) -> nnx.Module:
    """Return a copy of a model in evaluation mode that computes in float32 throughout."""
    copy = nnx.clone(model)
    copy.eval()
    copy.set_attributes(dtype=jnp.dtype("float32"), raise_if_not_found=False)
    return copy


def exportable_model(model: nnx.Module) -> nnx.Module:
    """Return a copy of a model that jax2onnx can read: convolutions and LSTMs as single nodes."""
    copy = evaluation_model(model)
    # What is written for XLA on a CPU would become a swarm of small operations.
    copy.set_attributes(lowering="native", raise_if_not_found=False)
    modules = [node for _, node in nnx.iter_graph(copy) if isinstance(node, nnx.Module)]
    for module in modules:
        for name, child in list(vars(module).items()):
            if type(child) in _REPLACEMENTS:
                setattr(module, name, _REPLACEMENTS[type(child)](child))
    return copy


def reading(model: nnx.Module, inputs: tuple[ModelInput, ...]) -> Callable[..., jax.Array]:
    """Return the model as a function of its ONNX inputs, in order."""

    def apply(*arrays: jax.Array) -> jax.Array:
        clips = {}
        for entry, array in zip(inputs, arrays, strict=True):
            # The transpose is in the graph, so that the optimiser cancels it against the first convolution's.
            clips[entry.modality] = jnp.moveaxis(array, 1, -1) if entry.is_video else array
        return model(clips)

    return apply


def reference(model: nnx.Module, inputs: tuple[ModelInput, ...]) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    """Return the trained model as a function from named ONNX inputs to logits (N, classes), run by JAX.

    In float32 on every device: left to itself, JAX multiplies in TF32 on a GPU and in bfloat16 on a TPU.
    """
    graphdef, state = nnx.split(evaluation_model(model))
    compute = jit(lambda state, *arrays: reading(nnx.merge(graphdef, state), inputs)(*arrays))

    def call(feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        with jax.default_matmul_precision("highest"):
            return np.asarray(compute(state, *(feeds[entry.name] for entry in inputs)))

    return call


def trace(model: nnx.Module, inputs: tuple[ModelInput, ...], opset: int) -> onnx.ModelProto:
    """Return the graph of a model in operators of one version, with named inputs whose batch axis is dynamic."""
    # Nested jits are inlined: jax2onnx 0.17 cannot read those of JAX 0.12.
    with warnings.catch_warnings(), jax.disable_jit():
        # jax2onnx 0.17 still reads Flax variables by `.value`.
        warnings.filterwarnings("ignore", "'.value' access is now deprecated", DeprecationWarning)
        return to_onnx(
            reading(exportable_model(model), inputs),
            [("batch", *entry.shape) for entry in inputs],
            model_name="hartx",
            opset=opset,
            input_names=[entry.name for entry in inputs],
            output_names=[OUTPUT_NAME],
        )
