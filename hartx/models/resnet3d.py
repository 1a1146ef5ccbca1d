"""3D residual networks for video (Hara et al., "Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs
and ImageNet?", CVPR 2018)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from hartx.models.conv3d import Conv3D, Triple
from hartx.models.encoder import Encoder
from hartx.models.motion import motion
from hartx.models.pool3d import MaxPool3D


def batch_norm(channels: int, *, zero_init: bool = False, rngs: nnx.Rngs) -> nnx.BatchNorm:
    """Return a BatchNorm that computes in float32.

    Its mean and variance are over the whole batch array: under `jax.jit` with a sharded batch that is the
    global batch, so they agree across devices with nothing more to do.
    """
    scale_init = nnx.initializers.zeros if zero_init else nnx.initializers.ones
    return nnx.BatchNorm(channels, momentum=0.9, epsilon=1e-5, dtype=jnp.float32, scale_init=scale_init, rngs=rngs)


class Shortcut(nnx.Module):
    """Projection of a block's input to its output's size: 1x1x1 convolution and BatchNorm."""

    def __init__(
        self, in_channels: int, out_channels: int, strides: Triple, *, dtype: DTypeLike, rngs: nnx.Rngs
    ) -> None:
        self.conv = Conv3D(in_channels, out_channels, 1, strides, dtype=dtype, rngs=rngs)
        self.norm = batch_norm(out_channels, rngs=rngs)

    def __call__(self, x: Float[Array, "B T H W C"]) -> Float[Array, "B t h w D"]:
        return self.norm(self.conv(x))


class BasicBlock(nnx.Module):
    """Two 3x3x3 convolutions and a shortcut (He et al., CVPR 2016, figure 5 left).

    Args:
      in_channels: of its input.
      inner: channels between its convolutions, one number.
      out_channels: of its output.
      strides: of the first convolution.
      projected: whether the input is projected to be added; otherwise it is added as it is.
    """

    expansion = 1
    inner_convolutions = 1

    def __init__(
        self,
        in_channels: int,
        inner: Sequence[int],
        out_channels: int,
        strides: Triple,
        *,
        projected: bool,
        zero_init_last_bn: bool,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ) -> None:
        (channels,) = inner
        self.conv1 = Conv3D(in_channels, channels, 3, strides, dtype=dtype, rngs=rngs)
        self.norm1 = batch_norm(channels, rngs=rngs)
        self.conv2 = Conv3D(channels, out_channels, 3, dtype=dtype, rngs=rngs)
        self.norm2 = batch_norm(out_channels, zero_init=zero_init_last_bn, rngs=rngs)
        self.shortcut = Shortcut(in_channels, out_channels, strides, dtype=dtype, rngs=rngs) if projected else None

    def __call__(self, x: Float[Array, "B T H W C"]) -> Float[Array, "B t h w D"]:
        y = nnx.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return nnx.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class BottleneckBlock(nnx.Module):
    """1x1x1, 3x3x3 and 1x1x1 convolutions and a shortcut; the stride is in the middle one.

    The arguments are those of `BasicBlock`; `inner` has two numbers.
    """

    expansion = 4
    inner_convolutions = 2

    def __init__(
        self,
        in_channels: int,
        inner: Sequence[int],
        out_channels: int,
        strides: Triple,
        *,
        projected: bool,
        zero_init_last_bn: bool,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ) -> None:
        first, second = inner
        self.conv1 = Conv3D(in_channels, first, 1, dtype=dtype, rngs=rngs)
        self.norm1 = batch_norm(first, rngs=rngs)
        self.conv2 = Conv3D(first, second, 3, strides, dtype=dtype, rngs=rngs)
        self.norm2 = batch_norm(second, rngs=rngs)
        self.conv3 = Conv3D(second, out_channels, 1, dtype=dtype, rngs=rngs)
        self.norm3 = batch_norm(out_channels, zero_init=zero_init_last_bn, rngs=rngs)
        self.shortcut = Shortcut(in_channels, out_channels, strides, dtype=dtype, rngs=rngs) if projected else None

    def __call__(self, x: Float[Array, "B T H W C"]) -> Float[Array, "B t h w D"]:
        y = nnx.relu(self.norm1(self.conv1(x)))
        y = nnx.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        return nnx.relu(y + (x if self.shortcut is None else self.shortcut(x)))


@dataclass(frozen=True)
class Layout:
    """What a depth stands for: the kind of block and how many there are in each of the four stages."""

    block: type[BasicBlock] | type[BottleneckBlock]
    blocks: tuple[int, int, int, int]


LAYOUTS = {
    10: Layout(BasicBlock, (1, 1, 1, 1)),
    18: Layout(BasicBlock, (2, 2, 2, 2)),
    34: Layout(BasicBlock, (3, 4, 6, 3)),
    50: Layout(BottleneckBlock, (3, 4, 6, 3)),
}


@dataclass(frozen=True)
class Widths:
    """Channels of a network.

    Attributes:
      inner: of each convolution that ends inside a block: one a basic block, two a bottleneck.
      stages: what leaves each of the four stages.
    """

    inner: tuple[int, ...]
    stages: tuple[int, ...]


def regular_widths(depth: int, width: int) -> Widths:
    """Return the channels of a network that was not pruned: they double with each stage."""
    layout = LAYOUTS[depth]
    stages = [width * 2**stage for stage in range(4)]
    inner = [
        channels
        for channels, count in zip(stages, layout.blocks, strict=True)
        for _ in range(count * layout.block.inner_convolutions)
    ]
    return Widths(tuple(inner), tuple(layout.block.expansion * channels for channels in stages))


class ResNet3D(Encoder):
    """3D ResNet: 7x7x7 stem of stride 2, max-pool of stride 2, four stages, global average pool.

    Stages have `width` times 1, 2, 4, 8 channels, unless `hartx.pruning` took some away; the second to fourth halve
    time, height and width. An input of 16x224x224 therefore ends as 1x7x7; sizes that are smaller work too, down to
    one pixel. `time_strides` keeps more of the time, at a price in proportion.

    Args:
      depth: 10, 18, 34 (basic blocks) or 50 (bottlenecks).
      width: channels of the stem and the first stage.
      in_channels: 3 for RGB, 1 for depth.
      num_classes: number of actions.
      dropout: rate before the classifier.
      motion_scale: factor on the differences between frames, which the stem reads beside the frames themselves
        (of a body on an empty background little else changes); 0: frames only.
      time_strides: of the stem, the pool (2, or 1 for a pool over height and width alone) and the four stages.
      zero_init_last_bn: start each block as the identity (Goyal et al., "Accurate, Large Minibatch SGD",
        2017, section 5.1).
      dtype: of the convolutions; parameters, BatchNorm and the classifier are float32.
      inner_widths: channels of each convolution that ends inside a block, in order; (): as `width` has it.
      stage_widths: channels that leave each of the four stages; (): as `width` has it.
      rngs: stream `params`.

    Raises:
      ValueError: for an unknown depth, other than six strides of 1 or 2, or widths that do not fit the depth.
    """

    def __init__(
        self,
        depth: int = 18,
        width: int = 64,
        in_channels: int = 3,
        num_classes: int = 27,
        dropout: float = 0.5,
        motion_scale: float = 0.0,
        time_strides: Sequence[int] = (2, 2, 1, 2, 2, 2),
        zero_init_last_bn: bool = False,
        inner_widths: Sequence[int] = (),
        stage_widths: Sequence[int] = (),
        dtype: DTypeLike = jnp.float32,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        if depth not in LAYOUTS:
            raise ValueError(f"depth {depth!r} was given; one of {sorted(LAYOUTS)} is expected")
        if len(time_strides) != 6 or set(time_strides) - {1, 2}:
            raise ValueError(f"time_strides {time_strides!r} was given; six of 1 and 2 are expected")
        stem_stride, pool_stride, *stage_strides = time_strides
        regular = regular_widths(depth, width)
        widths = Widths(tuple(inner_widths) or regular.inner, tuple(stage_widths) or regular.stages)
        if (len(widths.inner), len(widths.stages)) != (len(regular.inner), 4):
            raise ValueError(
                f"inner_widths {inner_widths!r} and stage_widths {stage_widths!r} were given; depth {depth} has "
                f"{len(regular.inner)} and 4"
            )
        super().__init__(widths.stages[-1], num_classes, dropout, rngs=rngs)
        self.motion_scale = motion_scale
        self.stem = Conv3D(
            2 * in_channels if motion_scale else in_channels, width, 7, (stem_stride, 2, 2), dtype=dtype, rngs=rngs
        )
        self.stem_norm = batch_norm(width, rngs=rngs)
        self.pool = MaxPool3D(over_time=pool_stride == 2)
        self.blocks: nnx.List = nnx.List()
        self._add_blocks(LAYOUTS[depth], width, widths, stage_strides, zero_init_last_bn, dtype, rngs)

    def _add_blocks(
        self,
        layout: Layout,
        channels: int,
        widths: Widths,
        time_strides: Sequence[int],
        zero_init_last_bn: bool,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ) -> None:
        inner = iter(widths.inner)
        for stage, count in enumerate(layout.blocks):
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                strides = (time_strides[stage] if index == 0 else 1, stride, stride)
                # Not by the channels: a pruned network may have as many on both sides and a projection between.
                projected = strides != (1, 1, 1) or (index == 0 and layout.block.expansion > 1)
                if not projected and channels != widths.stages[stage]:
                    raise ValueError(
                        f"width {channels} and stage_widths {widths.stages} were given; the first stage adds to what "
                        "the stem gives, and so has as many channels"
                    )
                self.blocks.append(
                    layout.block(
                        channels,
                        list(itertools.islice(inner, layout.block.inner_convolutions)),
                        widths.stages[stage],
                        strides,
                        projected=projected,
                        zero_init_last_bn=zero_init_last_bn,
                        dtype=dtype,
                        rngs=rngs,
                    )
                )
                channels = widths.stages[stage]

    def encode(self, x: Float[Array, "B T H W C"]) -> Float[Array, "B F"]:
        """Return the features of a batch of clips, the mean over time and space of the last stage."""
        if self.motion_scale:
            x = jnp.concatenate([x, self.motion_scale * motion(x)], axis=-1)
        x = self.pool(nnx.relu(self.stem_norm(self.stem(x))))
        for block in self.blocks:
            x = block(x)
        return x.mean(axis=(1, 2, 3))
