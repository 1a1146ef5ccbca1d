"""StableHLO: the trained model as one file that JAX alone runs, without any of this code.

    exported = jax.export.deserialize(bytearray(open("model.stablehlo", "rb").read()))
    output = exported.call(video, skeleton)   # the inputs of bundle.json, in their order and layout

jax.export promises that a file is read for half a year by later JAX, and that newer ones warn before they stop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import export as jax_export

from export import parity
from export.errors import ExportError
from export.formats import BY_NAME
from export.head import Head
from export.inputs import ModelInput
from export.parity import Compute
from export.product import Job, Product
from export.session import in_batches
from export.trace import evaluation_model, reading

PLATFORMS = ("cpu", "cuda", "tpu")


def make_stablehlo(job: Job) -> Product:
    """Return the model as StableHLO.

    Raises:
      ExportError: if it does not agree with the trained model.
    """
    with job.steps.step("stablehlo") as note:
        content = serialize(job.run.model, job.inputs, job.head, job.options.batch)
        exported = read(content)
        compute = as_function(exported, job.inputs, job.options.batch)
        found = parity.check(compute, job.reference, job.inputs, job.checked, BY_NAME["stablehlo"].tolerance)
        details = {
            "platforms": list(exported.platforms),
            "calling_convention_version": exported.calling_convention_version,
            "jax": jax.__version__,
        }
        note.text = f"for {', '.join(exported.platforms)}; calling convention {exported.calling_convention_version}"
    return Product(content, compute, str(found), details)


def serialize(model: nnx.Module, inputs: tuple[ModelInput, ...], head: Head, batch: int | None) -> bytes:
    """Return a trained model in evaluation mode, parameters and all, for every platform.

    Args:
      model: the trained model.
      inputs: what it reads, in order.
      head: what comes out.
      batch: clips at a time; None for any number.
    """
    (size,) = jax_export.symbolic_shape("batch") if batch is None else (batch,)
    arguments = [jax.ShapeDtypeStruct((size, *entry.shape), jnp.float32) for entry in inputs]
    graphdef, state = nnx.split(evaluation_model(model))

    def lowered(lowering: str) -> Any:
        def apply(state: Any, *arrays: jax.Array) -> jax.Array:
            merged = nnx.merge(graphdef, state)
            merged.set_attributes(lowering=lowering, raise_if_not_found=False)
            return head.of_traced(reading(merged, inputs)(*arrays))

        return apply

    def apply(*arrays: jax.Array) -> jax.Array:
        # XLA:CPU has no fast 3D convolution, GPUs and TPUs have; the parameters are in the file once.
        return jax.lax.platform_dependent(state, *arrays, cpu=lowered("taps"), default=lowered("native"))

    # Written into the file: GPUs would multiply in TF32, TPUs in bfloat16.
    with jax.default_matmul_precision("highest"), _without_locations():
        return bytes(jax_export.export(jax.jit(apply), platforms=PLATFORMS)(*arguments).serialize())


@contextlib.contextmanager
def _without_locations() -> Iterator[None]:
    """Keep the files and lines of this code, which are of no use elsewhere, out of what is lowered."""
    option = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, option)
    jax.config.update(option, 0)
    try:
        yield
    finally:
        jax.config.update(option, before)


def read(content: bytes) -> jax_export.Exported:
    """Return what stands in a file.

    Raises:
      ExportError: if it is no StableHLO that this JAX reads.
    """
    try:
        return jax_export.deserialize(bytearray(content))
    except Exception as error:  # a damaged file fails in the flat buffer's reader, in many ways
        raise ExportError(
            f"JAX {jax.__version__} cannot read the StableHLO: {type(error).__name__}: {error}"
        ) from error


def as_function(exported: jax_export.Exported, inputs: tuple[ModelInput, ...], batch: int | None) -> Compute:
    """Return a read file as a function of named inputs."""

    def call(feeds: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.asarray(exported.call(*(feeds[entry.name] for entry in inputs)))

    return lambda feeds: in_batches(call, feeds, batch)
