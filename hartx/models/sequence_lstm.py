"""LSTM network over sequences of vectors: inertial samples as they are, skeletons once they are described."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from hartx.models import init
from hartx.models.encoder import Encoder
from hartx.models.lstm import LSTM

POOLINGS = ("last", "mean_max")


class TemporalConv(nnx.Module):
    """1D convolution over time and ReLU; `width` odd, padded so that T steps become ceil(T / stride).

    The taps are stacked into the features, so that it is one matrix product.
    """

    def __init__(self, in_features: int, out_features: int, width: int, stride: int, *, rngs: nnx.Rngs) -> None:
        self.linear = nnx.Linear(width * in_features, out_features, kernel_init=init.he(width * in_features), rngs=rngs)
        self.width = width
        self.stride = stride

    def __call__(self, x: Float[Array, "B T I"]) -> Float[Array, "B t O"]:
        steps, half = x.shape[1], self.width // 2
        padded = jnp.pad(x, ((0, 0), (half, half), (0, 0)))
        taps = [padded[:, tap : tap + steps : self.stride] for tap in range(self.width)]
        return nnx.relu(self.linear(jnp.concatenate(taps, axis=-1)))


class LSTMLayer(nnx.Module):
    """One layer of the stack: an LSTM, or two of half the features in both directions of time."""

    def __init__(self, in_features: int, features: int, bidirectional: bool, *, rngs: nnx.Rngs) -> None:
        size = features // 2 if bidirectional else features
        self.forward = LSTM(in_features, size, rngs=rngs)
        self.backward = LSTM(in_features, size, reverse=True, rngs=rngs) if bidirectional else None

    def __call__(self, x: Float[Array, "B T I"]) -> Float[Array, "B T H"]:
        if self.backward is None:
            return self.forward(x)
        return jnp.concatenate([self.forward(x), self.backward(x)], axis=-1)

    def last(self, hidden: Float[Array, "B T H"]) -> Float[Array, "B H"]:
        """Return from this layer's output the state after each direction's last step."""
        if self.backward is None:
            return hidden[:, -1]
        half = hidden.shape[-1] // 2
        return jnp.concatenate([hidden[:, -1, :half], hidden[:, 0, half:]], axis=-1)


class SequenceLSTM(Encoder):
    """Temporal convolutions, a stack of LSTM layers, pooling over time.

    The convolutions shorten the sequence before the recurrence, which costs most: a stride of 2 halves it.

    Args:
      in_features: length of the vectors that `describe` returns, by default of those that are read.
      features: length of the LSTM output; bidirectional layers give half of it each way.
      layers: number of LSTM layers.
      bidirectional: read the sequence in both directions.
      stem_width: number of taps of each convolution, odd.
      stem_strides: stride of each convolution; empty for none.
      pooling: "last" state, or "mean_max" over time, projected back to `features`.
      num_classes: number of actions.
      dropout: rate before the classifier.
      rngs: stream `params`.

    Raises:
      ValueError: for an unknown pooling, an even stem width, a stride below 1, or odd features when bidirectional.
    """

    def __init__(
        self,
        in_features: int,
        features: int = 256,
        layers: int = 2,
        bidirectional: bool = False,
        stem_width: int = 5,
        stem_strides: Sequence[int] = (),
        pooling: str = "last",
        num_classes: int = 27,
        dropout: float = 0.5,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        if pooling not in POOLINGS:
            raise ValueError(f"pooling {pooling!r} was given; one of {POOLINGS} is expected")
        if stem_width < 1 or stem_width % 2 == 0:
            raise ValueError(f"stem_width {stem_width} was given; an odd number is expected")
        if any(stride < 1 for stride in stem_strides):
            raise ValueError(f"stem_strides {tuple(stem_strides)} were given; numbers of at least 1 are expected")
        if bidirectional and features % 2:
            raise ValueError(f"features {features} was given; an even number is expected when bidirectional")
        super().__init__(features, num_classes, dropout, rngs=rngs)
        self.pooling = pooling
        sizes = [in_features] + [features] * (len(stem_strides) + layers)
        self.stem = nnx.List(
            TemporalConv(size, features, stem_width, stride, rngs=rngs)
            for size, stride in zip(sizes, stem_strides, strict=False)
        )
        self.layers = nnx.List(
            LSTMLayer(size, features, bidirectional, rngs=rngs) for size in sizes[len(stem_strides) : -1]
        )
        self.project = (
            nnx.Linear(2 * features, features, kernel_init=init.normal(1 / (2 * features)), rngs=rngs)
            if pooling == "mean_max"
            else None
        )

    def describe(self, x: Float[Array, "B T I"]) -> Float[Array, "B T D"]:
        """Return what the first layer reads."""
        return x

    def encode(self, x: Float[Array, "B T I"]) -> Float[Array, "B F"]:
        """Return the features of a batch of sequences."""
        x = self.describe(x)
        for layer in (*self.stem, *self.layers):
            x = layer(x)
        if self.project is None:
            return self.layers[-1].last(x)
        return self.project(jnp.concatenate([x.mean(axis=1), x.max(axis=1)], axis=-1))
