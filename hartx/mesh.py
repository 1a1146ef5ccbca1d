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

    def check_batch(self, size: int) -> None:
        """Check that a training batch can be split.

        Raises:
          HartxError: if the devices do not divide it.
        """
        if size != self.padded(size):
            raise HartxError(
                f"config.batch_size={size} is no multiple of the {self.mesh.size} devices; "
                f"give --config.batch_size={self.padded(size)}, say"
            )

    def padded(self, size: int) -> int:
        """Return the smallest batch of at least this size that can be split."""
        return self.mesh.size * -(-size // self.mesh.size)

    def put_batch(self, batch: Any) -> Any:
        """Return this process's part of a batch (numpy) as arrays over all devices."""
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(self.split, np.asarray(x)), batch)

    def put_replicated(self, tree: Any) -> Any:
        """Return a tree of arrays with a whole copy on every device."""
        return jax.device_put(tree, self.replicated)


def make_devices() -> Devices:
    """Return all devices as one `data` axis."""
    return Devices(jax.make_mesh((len(jax.devices()),), ("data",), axis_types=(AxisType.Auto,)))
