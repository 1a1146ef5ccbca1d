"""A trained model over all devices: clips in, class probabilities out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from hartx.jit import jit
from hartx.mesh import Devices, make_devices
from hartx.train_step import eval_step


@functools.lru_cache(maxsize=1)  # it is asked for at every checkpoint, and would be compiled each time
def eval_step_fn(graphdef: nnx.GraphDef, devices: Devices) -> Callable[..., Float[jax.Array, "B K"]]:
    """Return `eval_step` of a model: (params, batch_stats, inputs over the devices) to class probabilities."""
    return jit(functools.partial(eval_step, graphdef), out_shardings=devices.replicated)


@dataclass(frozen=True)
class Predictor:
    """A model on all devices, in evaluation mode; all its batches have one shape, so that one program is compiled.

    Attributes:
      step_fn: see `eval_step_fn`.
      params: the model's, on all devices.
      batch_stats: likewise.
      devices: which these are.
      size: clips of a batch.
    """

    step_fn: Callable[..., Float[jax.Array, "B K"]]
    params: Any
    batch_stats: Any
    devices: Devices
    size: int

    def __call__(
        self, clips: Sequence[Mapping[str, np.ndarray]], absences: Sequence[Collection[str]] = ((),)
    ) -> list[Float[np.ndarray, "N K"]]:
        """Return the class probabilities of N clips, once for each entry of `absences`, the streams that are zeroed.

        Args:
          clips: the inputs of each, without a batch axis; at least one clip, at most `size`.
          absences: streams to be taken away, in turn.
        """
        padded = [*clips, *[clips[-1]] * (self.size - len(clips))]
        stacked = {stream: np.stack([clip[stream] for clip in padded]) for stream in clips[0]}
        inputs = jax.device_put(stacked, self.devices.split)
        outputs = (self.step_fn(self.params, self.batch_stats, _without(inputs, absent)) for absent in absences)
        return [np.asarray(rows)[: len(clips)] for rows in outputs]


def make_predictor(graphdef: nnx.GraphDef, params: Any, batch_stats: Any, batch_size: int) -> Predictor:
    """Return a model on all devices, for batches of `batch_size` clips or, where they do not divide it, a few more."""
    devices = make_devices()
    params, batch_stats = devices.put_replicated((params, batch_stats))
    return Predictor(eval_step_fn(graphdef, devices), params, batch_stats, devices, devices.padded(batch_size))


def _without(inputs: dict[str, jax.Array], absent: Collection[str]) -> dict[str, jax.Array]:
    """Return a batch in which some streams are absent, that is zeros."""
    return {stream: jnp.zeros_like(x) if stream in absent else x for stream, x in inputs.items()}
