"""Devices: one named axis, over which the batch is split. The same code on one CPU, many GPUs, a TPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from hartx.errors import HartxError


@dataclass(frozen=True)
class Devices:
    """A mesh with the axis `data`, and how arrays lie on it."""

    mesh: Mesh

    @property
    def replicated(self) -> NamedSharding:
        """Sharding of parameters and the like: a whole copy on every device."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def split(self) -> NamedSharding:
        """Sharding of a batch: its first axis over the devices."""
        return NamedSharding(self.mesh, PartitionSpec("data"))

    def put_batch(self, batch: Any) -> Any:
        """Return this process's part of a batch (numpy) as arrays over all devices."""
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(self.split, np.asarray(x)), batch)

    def put_replicated(self, tree: Any) -> Any:
        """Return a tree of arrays with a whole copy on every device."""
        return jax.device_put(tree, self.replicated)


def make_devices(batch_size: int) -> Devices:
    """Return all devices as one `data` axis.

    Raises:
      HartxError: if they do not divide the batch.
    """
    count = len(jax.devices())
    if batch_size % count:
        raise HartxError(
            f"config.batch_size={batch_size} is no multiple of the {count} devices; "
            f"give --config.batch_size={count * -(-batch_size // count)}, say"
        )
    return Devices(jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,)))
