"""Which channels are kept: the least important ones for what they cost go first, in the whole network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hartx.errors import HartxError
from hartx.pruning.structure import Cost, Structure

# Channels go in numbers that leave a multiple of this, which TensorRT's INT8 kernels are made for.
MULTIPLE = 8

# A group keeps at least this share of its channels: none becomes a bottleneck for all that comes behind.
FLOOR = 0.25

# Group to the channels that are kept, ascending.
Kept = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Budget:
    """Shares of what the 3D network has, in parameters and in FLOPs, that may be left; 1: as many as there are."""

    parameters: float
    flops: float


@dataclass(frozen=True)
class _Step:
    """One group made smaller."""

    group: str
    size: int
    price: float


def choose(structure: Structure, importance: Mapping[str, np.ndarray], budget: Budget) -> Kept:
    """Return what is kept of each group, so that the network is within the budget.

    Step by step, the group gives up its least important channels, down to the next multiple of `MULTIPLE`, whose
    importance is the least for what they save: the greedy solution of a knapsack (Shen et al., "Structural Pruning via
    Latency-Saliency Knapsack", NeurIPS 2022, with FLOPs and parameters for latency). What they save is counted in
    shares of the network, of parameters and FLOPs as long as they are above the budget.

    Args:
      structure: of the network.
      importance: group to the importance of its channels.
      budget: what may be left.

    Raises:
      HartxError: if the floors leave more than the budget has.
    """
    ascending = {group: np.sort(values) for group, values in importance.items()}
    sizes, whole = dict(structure.sizes), structure.cost(structure.sizes)
    while (over := _over(structure.cost(sizes), whole, budget)).any():
        steps = [
            _step(structure, sizes, group, ascending[group], whole, over)
            for group, size in sizes.items()
            if _smaller(size) >= _floor(structure.sizes[group])
        ]
        if not steps:
            left = _shares(structure.cost(sizes), whole)
            raise HartxError(
                f"config.prune.keep_parameters={budget.parameters:g} and config.prune.keep_flops={budget.flops:g} were "
                f"given; each layer keeps {FLOOR:.0%} of its channels and a multiple of {MULTIPLE}, which leaves "
                f"{left[0]:.3f} of the parameters and {left[1]:.3f} of the FLOPs at least"
            )
        best = min(steps, key=lambda step: step.price)
        sizes[best.group] = best.size
    return {group: _most_important(importance[group], size) for group, size in sizes.items()}


def _shares(cost: Cost, whole: Cost) -> np.ndarray:
    return np.array([cost.parameters / whole.parameters, cost.macs / whole.macs])


def _over(cost: Cost, whole: Cost, budget: Budget) -> np.ndarray:
    """Return whether parameters and FLOPs are above the budget."""
    return _shares(cost, whole) > np.array([budget.parameters, budget.flops])


def _step(
    structure: Structure, sizes: Mapping[str, int], group: str, ascending: np.ndarray, whole: Cost, over: np.ndarray
) -> _Step:
    size = _smaller(sizes[group])
    gone = len(ascending) - sizes[group]
    lost = ascending[gone : len(ascending) - size].sum()
    saved = _shares(structure.cost(sizes), whole) - _shares(structure.cost({**sizes, group: size}), whole)
    return _Step(group, size, lost / saved[over].sum())


def _smaller(size: int) -> int:
    return (size - 1) // MULTIPLE * MULTIPLE


def _floor(size: int) -> int:
    """Return the least that a group of a size keeps: a multiple of MULTIPLE, at least FLOOR of it."""
    return max(1, int(np.ceil(FLOOR * size / MULTIPLE))) * MULTIPLE


def _most_important(values: np.ndarray, count: int) -> tuple[int, ...]:
    order = np.argsort(-values, kind="stable")
    return tuple(sorted(int(index) for index in order[:count]))
