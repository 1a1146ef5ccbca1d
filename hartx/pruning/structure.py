"""Which channels of a 3D network go together, and what each of them costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hartx.models.conv3d import Conv3D, Triple
from hartx.models.resnet3d import LAYOUTS, ResNet3D, Widths

# Where a parameter or statistic is in the network: ("blocks", 0, "conv1", "kernel"), say.
Place = tuple[str | int, ...]

STEM = "stem"


@dataclass(frozen=True)
class Layer:
    """A convolution and the BatchNorm behind it.

    Attributes:
      conv: where the convolution is.
      norm: where its BatchNorm is.
      reads: group of its input channels; None where it reads the clip.
      writes: group of its output channels.
      channels_in: how many the network has now.
      kernel_size: weights for each pair of an input and an output channel.
      macs: multiplications of one clip for each such pair, outside the padding.
    """

    conv: Place
    norm: Place
    reads: str | None
    writes: str
    channels_in: int
    kernel_size: int
    macs: int


@dataclass(frozen=True)
class Slice:
    """One axis of an array, along which the channels of a group lie."""

    place: Place
    axis: int


@dataclass(frozen=True)
class Cost:
    """A network's parameters, and the multiply-accumulates of its convolutions and classifier for one clip."""

    parameters: int
    macs: int


@dataclass(frozen=True)
class Structure:
    """The groups of a network.

    Attributes:
      depth: of the `ResNet3D`.
      layers: in the order in which they compute.
      sizes: group to how many channels it has.
      block_outputs: of each block, the group that leaves it.
      num_classes: actions of the classifier.
    """

    depth: int
    layers: tuple[Layer, ...]
    sizes: dict[str, int]
    block_outputs: tuple[str, ...]
    num_classes: int

    @property
    def features(self) -> str:
        """The group that the classifier reads."""
        return self.block_outputs[-1]

    def slices(self, group: str) -> Iterator[Slice]:
        """Yield where the channels of a group lie, classifier included."""
        for layer in self.layers:
            if layer.reads == group:
                yield Slice((*layer.conv, "kernel"), 3)
            if layer.writes == group:
                yield Slice((*layer.conv, "kernel"), 4)
                yield from (Slice((*layer.norm, name), 0) for name in ("scale", "bias", "mean", "var"))
        if group == self.features:
            yield Slice(("classifier", "kernel"), 0)

    def cost(self, sizes: Mapping[str, int]) -> Cost:
        """Return what the network costs with so many channels in each group."""
        parameters = macs = 0
        for layer in self.layers:
            channels_in = layer.channels_in if layer.reads is None else sizes[layer.reads]
            channels_out = sizes[layer.writes]
            parameters += layer.kernel_size * channels_in * channels_out + 2 * channels_out
            macs += layer.macs * channels_in * channels_out
        parameters += (sizes[self.features] + 1) * self.num_classes
        return Cost(parameters, macs + sizes[self.features] * self.num_classes)

    def widths(self, sizes: Mapping[str, int]) -> Widths:
        """Return the arguments of `ResNet3D` for so many channels in each group; `sizes[STEM]` is its width."""
        stages, last = [], -1
        for count in LAYOUTS[self.depth].blocks:
            last += count
            stages.append(sizes[self.block_outputs[last]])
        outer = {STEM, *self.block_outputs}
        return Widths(tuple(size for group, size in sizes.items() if group not in outer), tuple(stages))


def read_structure(network: ResNet3D, depth: int, shape: tuple[int, ...]) -> Structure:
    """Return the groups of a network.

    Args:
      network: may be abstract, and may have been pruned before.
      depth: the argument it was made with.
      shape: of one clip, (T, H, W, C).
    """
    extent, reads = _moved(shape[:3], network.stem), STEM
    layers = [_layer(network.stem, ("stem",), ("stem_norm",), None, STEM, shape[:3])]
    time, height, width = extent
    extent = ((time - 1) // 2 + 1 if network.pool.over_time else time, (height - 1) // 2 + 1, (width - 1) // 2 + 1)
    outputs = []
    for index, block in enumerate(network.blocks):
        place: Place = ("blocks", index)
        writes = reads if block.shortcut is None else f"blocks.{index}"
        count = block.inner_convolutions + 1
        before, inside = extent, reads
        for number in range(1, count + 1):
            conv = getattr(block, f"conv{number}")
            to = writes if number == count else f"blocks.{index}.conv{number}"
            layers.append(_layer(conv, (*place, f"conv{number}"), (*place, f"norm{number}"), inside, to, extent))
            extent, inside = _moved(extent, conv), to
        if block.shortcut is not None:
            there = (*place, "shortcut")
            layers.append(_layer(block.shortcut.conv, (*there, "conv"), (*there, "norm"), reads, writes, before))
        outputs.append(writes)
        reads = writes
    sizes = {layer.writes: _shape(network, layer)[-1] for layer in layers}
    return Structure(depth, tuple(layers), sizes, tuple(outputs), network.classifier.out_features)


def _layer(conv: Conv3D, place: Place, norm: Place, reads: str | None, writes: str, extent: tuple[int, ...]) -> Layer:
    kernel = conv.kernel.shape
    macs = math.prod(
        _taps_inside(size, kernel[axis], conv.strides[axis], conv.padding[axis]) for axis, size in enumerate(extent)
    )
    return Layer(place, norm, reads, writes, kernel[3], math.prod(kernel[:3]), macs)


def _shape(network: ResNet3D, layer: Layer) -> tuple[int, ...]:
    found: Any = network
    for step in layer.conv:
        found = found[step] if isinstance(step, int) else getattr(found, step)
    return found.kernel.shape


def _moved(extent: tuple[int, ...], conv: Conv3D) -> Triple:
    """Return the (T, H, W) behind a convolution."""
    sizes = zip(extent, conv.kernel.shape[:3], conv.strides, conv.padding, strict=True)
    time, height, width = ((size + 2 * padding - kernel) // stride + 1 for size, kernel, stride, padding in sizes)
    return time, height, width


def _taps_inside(size: int, kernel: int, stride: int, padding: int) -> int:
    """Return how many positions of a kernel lie on the input along one axis, over all outputs."""
    outputs = (size + 2 * padding - kernel) // stride + 1
    return sum(0 <= out * stride + tap - padding < size for out in range(outputs) for tap in range(kernel))
