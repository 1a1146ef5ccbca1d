"""WORKDIR/pruning.json: which channels a pruned run has kept, and what the network was before and is now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
from flax import nnx
from rich.console import Console
from rich.table import Table

from hartx.errors import HartxError
from hartx.files import write_json
from hartx.summary import Costs

PLAN_FILE = "pruning.json"


def read_plan(workdir: Path) -> dict[str, Any]:
    """Return what stands in WORKDIR/pruning.json.

    "run", "step" and "criterion" (what was pruned, and how), "widths" (arguments of `ResNet3D`), "kept" (group to its
    channels), "before" and, once the run was evaluated, "after" (what `measured` returns).

    Raises:
      HartxError: if there is none.
    """
    path = workdir / PLAN_FILE
    if not path.exists():
        raise HartxError(f"{workdir} holds a run that prunes no other ({PLAN_FILE} is missing); give another --workdir")
    return json.loads(path.read_text())


def measured(costs: Costs, model: nnx.Module, *, clips: int, views: int, top1: float | None) -> dict[str, Any]:
    """Return what is compared of a network.

    Args:
      costs: of one prediction, whole model.
      model: its parameters and statistics make `weights_bytes`, what float32 numbers of a model file take.
      clips: recordings it was tested on.
      views: clips of each of them.
      top1: share it named right; None if there were none.
    """
    leaves = jax.tree.leaves(nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat)))
    return {
        "parameters": costs.parameters,
        "flops": costs.flops,
        "macs": costs.macs,
        "weights_bytes": 4 * sum(leaf.size for leaf in leaves),
        "clips": clips,
        "views": views,
        "top1": top1,
    }


def keep_comparison(after: dict[str, Any], workdir: Path) -> None:
    """Add what a pruned run is now to its pruning.json, and print it beside what it was."""
    plan = read_plan(workdir) | {"after": after}
    write_json(workdir / PLAN_FILE, plan)
    before = plan["before"]
    table = Table(title=f"pruned: {Path(plan['run']).name}")
    for column in ("", "before", "after", "change"):
        table.add_column(column, justify="right" if column else "left")
    for name, field, unit, scale in (
        ("parameters", "parameters", "", 1),
        ("FLOPs a clip", "flops", " G", 1e9),
        ("MACs a clip", "macs", " G", 1e9),
        ("float32 weights", "weights_bytes", " MB", 1e6),
    ):
        old, new = before[field] / scale, after[field] / scale
        digits = ",.0f" if scale == 1 else ".3f"
        table.add_row(name, f"{old:{digits}}{unit}", f"{new:{digits}}{unit}", f"{new / old - 1:+.1%}")
    if (change := top1_change(plan)) is not None:
        table.add_row("top-1", f"{before['top1']:.2%}", f"{after['top1']:.2%}", f"{100 * change:+.2f} points")
    Console().print(table)
    Console().print(f"pruning: {workdir / PLAN_FILE}", soft_wrap=True)


def top1_change(plan: dict[str, Any]) -> float | None:
    """Return how much top-1 rose, as a share; None if the two were not tested on the same clips, or on none."""
    before, after = plan["before"], plan["after"]
    if before["top1"] is None or (before["clips"], before["views"]) != (after["clips"], after["views"]):
        return None
    return after["top1"] - before["top1"]
