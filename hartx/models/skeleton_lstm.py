"""LSTM network over skeleton sequences."""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from hartx.models import init
from hartx.models.encoder import Encoder
from hartx.models.lstm import LSTM

POOLINGS = ("last", "mean_max")


def with_velocities(x: Float[Array, "B T I"]) -> Float[Array, "B T 2*I"]:
    """Return positions and their differences to the step before; the first difference is 0."""
    velocities = jnp.diff(x, axis=1, prepend=x[:, :1])
    return jnp.concatenate([x, velocities], axis=-1)


class TemporalConv(nnx.Module):
    """1D convolution over time and ReLU; `width` odd, the length stays.

    The taps are stacked into the features, so that it is one matrix product.
    """

    def __init__(self, in_features: int, out_features: int, width: int, *, rngs: nnx.Rngs) -> None:
        self.linear = nnx.Linear(width * in_features, out_features, kernel_init=init.he(width * in_features), rngs=rngs)
        self.width = width

    def __call__(self, x: Float[Array, "B T I"]) -> Float[Array, "B T O"]:
        steps, half = x.shape[1], self.width // 2
        padded = jnp.pad(x, ((0, 0), (half, half), (0, 0)))
        taps = [padded[:, tap : tap + steps] for tap in range(self.width)]
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


class SkeletonLSTM(Encoder):
    """Stack of LSTM layers over (T, 3 J) joint positions.

    A sequence of zeros means that there is no skeleton; it gives the features learnt for "absent".

    Args:
      in_features: 3 J, 75 for 25 joints.
      features: length of the LSTM output; bidirectional layers give half of it each way.
      layers: number of LSTM layers.
      bidirectional: read the sequence in both directions.
      velocities: add the differences between steps to the positions.
      stem_width: number of taps of a temporal convolution before the LSTM, odd; 0 for none.
      pooling: "last" state, or "mean_max" over time, projected back to `features`.
      num_classes: number of actions.
      dropout: rate before the classifier.
      rngs: stream `params`.

    Raises:
      ValueError: for an unknown pooling, an even stem width, or odd features when bidirectional.
    """

    def __init__(
        self,
        in_features: int = 75,
        features: int = 256,
        layers: int = 2,
        bidirectional: bool = False,
        velocities: bool = True,
        stem_width: int = 0,
        pooling: str = "last",
        num_classes: int = 27,
        dropout: float = 0.5,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        if pooling not in POOLINGS:
            raise ValueError(f"pooling {pooling!r} was given; one of {POOLINGS} is expected")
        if stem_width and stem_width % 2 == 0:
            raise ValueError(f"stem_width {stem_width} was given; an odd number, or 0 for none, is expected")
        if bidirectional and features % 2:
            raise ValueError(f"features {features} was given; an even number is expected when bidirectional")
        super().__init__(features, num_classes, dropout, rngs=rngs)
        self.velocities = velocities
        self.pooling = pooling
        size = 2 * in_features if velocities else in_features
        self.stem = TemporalConv(size, features, stem_width, rngs=rngs) if stem_width else None
        size = features if stem_width else size
        self.layers = nnx.List(
            LSTMLayer(size if index == 0 else features, features, bidirectional, rngs=rngs) for index in range(layers)
        )
        self.project = (
            nnx.Linear(2 * features, features, kernel_init=init.normal(1 / (2 * features)), rngs=rngs)
            if pooling == "mean_max"
            else None
        )

    def encode(self, x: Float[Array, "B T I"]) -> Float[Array, "B F"]:
        """Return the features of a batch of skeleton sequences."""
        if self.velocities:
            x = with_velocities(x)
        if self.stem is not None:
            x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        if self.project is None:
            return self.layers[-1].last(x)
        return self.project(jnp.concatenate([x.mean(axis=1), x.max(axis=1)], axis=-1))
