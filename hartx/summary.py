"""What a config's network consists of and what one prediction costs.

python -m hartx.summary --config=configs/fusion.py
python -m hartx.summary --config=configs/rgb.py --config.model.video.depth=34
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from absl import app
from absl import logging as absl_logging
from flax import nnx
from ml_collections import ConfigDict, config_flags
from rich.console import Console
from rich.table import Table

from hartx.command import parser, run_command
from hartx.config import check
from hartx.data import input_specs, num_classes
from hartx.models import create_model


@dataclass(frozen=True)
class Costs:
    """What one prediction of one clip costs, in evaluation mode.

    Attributes:
      parameters: learnt numbers, without BatchNorm's statistics.
      flops: floating point operations as XLA counts them in the compiled graph. A multiplication and an
        addition are two; what a convolution would do in its padding is not counted.
      macs: multiply-accumulates, half of `flops`.
      peak_memory_bytes: parameters, inputs, output and the intermediate results alive at once, as XLA
        plans them on a CPU.
    """

    parameters: int
    flops: int
    macs: int
    peak_memory_bytes: int


@dataclass(frozen=True)
class Layer:
    """One module that has parameters of its own: its path, the parameters' shapes and their number."""

    name: str
    shapes: dict[str, tuple[int, ...]]
    parameters: int


def model_layers(model: nnx.Module) -> list[Layer]:
    """Return the modules that have parameters, in the order of their definition."""
    layers = []
    for path, module in _walk(model):
        own = {name: value.shape for name, value in vars(module).items() if isinstance(value, nnx.Param)}
        if own:
            layers.append(Layer(".".join(path), own, sum(map(math.prod, own.values()))))
    return layers


def _walk(module: nnx.Module, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], nnx.Module]]:
    # nnx.iter_modules would go in alphabetical order, the stem after the blocks.
    yield path, module
    for name, child in vars(module).items():
        if isinstance(child, nnx.Module):
            yield from _walk(child, (*path, name))


def model_costs(model: nnx.Module, input_shapes: Mapping[str, tuple[int, ...]]) -> Costs:
    """Return what one prediction costs.

    Args:
      model: takes a dictionary of modalities; may be abstract (`nnx.eval_shape`). Left unchanged.
      input_shapes: modality to the shape of one clip, without the batch.
    """
    graphdef, state = nnx.split(model)

    def predict(state: Any, inputs: dict[str, jax.Array]) -> jax.Array:
        copy = nnx.merge(graphdef, state)
        copy.eval()
        # XLA counts what a loop does once only, and our taps as more operations than the convolution has.
        copy.set_attributes(lowering="native", raise_if_not_found=False)
        copy.set_attributes(recurrence="unrolled", raise_if_not_found=False)
        return copy(inputs)

    state = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state)
    inputs = {name: jax.ShapeDtypeStruct((1, *shape), jnp.float32) for name, shape in input_shapes.items()}
    with jax.default_device(_counting_device()):
        compiled = jax.jit(predict).lower(state, inputs).compile()
    memory: Any = compiled.memory_analysis()
    costs: Any = compiled.cost_analysis()
    flops = int(costs["flops"])
    return Costs(
        parameters=sum(layer.parameters for layer in model_layers(model)),
        flops=flops,
        macs=flops // 2,
        peak_memory_bytes=memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes,
    )


def _counting_device() -> jax.Device | None:
    """Return a CPU: for a GPU XLA hands convolutions to a library and does not count them.

    None, which is the default device, where JAX_PLATFORMS leaves no CPU.
    """
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None


def print_summary(config: ConfigDict, console: Console) -> None:
    """Print the layers of a config's network and the costs of one prediction.

    Raises:
      HartxError: for a config no run can use.
    """
    check(config)
    shapes = {stream: spec.shape for stream, spec in input_specs(config).items()}
    model = nnx.eval_shape(
        lambda: create_model(config.model, config.streams, shapes, num_classes(config), rngs=nnx.Rngs(0))
    )
    given = ", ".join(f"{stream} {_times(shape)}" for stream, shape in shapes.items())
    table = Table(title=f"{config.name}: {given}")
    table.add_column("layer", overflow="fold")
    table.add_column("shapes")
    table.add_column("parameters", justify="right", no_wrap=True)
    for layer in model_layers(model):
        sizes = [f"{name} {_times(shape)}" for name, shape in layer.shapes.items()]
        table.add_row(layer.name, "\n".join(sizes), f"{layer.parameters:,}")
    console.print(table)
    costs = model_costs(model, shapes)
    console.print(f"parameters   {costs.parameters:,}")
    console.print(f"FLOPs        {costs.flops / 1e9:.2f} G a clip")
    console.print(f"MACs         {costs.macs / 1e9:.2f} G a clip")
    console.print(f"peak memory  {costs.peak_memory_bytes / 2**20:.1f} MiB for one clip")


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _run() -> None:
    # Defined here, because a flag named config belongs to whichever program is started.
    config = config_flags.DEFINE_config_file(
        "config", None, "The experiment: configs/NAME.py or configs/NAME.py:VARIANT."
    )

    def main(argv: list[str]) -> None:
        if len(argv) > 1 or config.value is None:
            raise app.UsageError("expected: python -m hartx.summary --config=configs/fusion.py")
        absl_logging.set_verbosity(absl_logging.WARNING)
        print_summary(config.value, Console())

    app.run(main, flags_parser=parser(config))


if __name__ == "__main__":
    sys.exit(run_command(_run))
