"""One LSTM layer over a whole sequence."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from hartx.models import init

RECURRENCES = ("scan", "unrolled")


def _orthogonal_gates(key: jax.Array, features: int) -> Float[Array, "H G"]:
    """Return an orthogonal recurrent matrix for each of the four gates, side by side."""
    draw = nnx.initializers.orthogonal()
    return jnp.concatenate([draw(k, (features, features), jnp.float32) for k in jax.random.split(key, 4)], 1)


class LSTM(nnx.Module):
    """LSTM layer (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000).

    i, f, o = sigmoid(W x + U h + b), g = tanh(W x + U h + b), c' = f c + i g, h' = o tanh(c'). Gates lie
    side by side in the order i, f, g, o. The input's share W x + b does not depend on the recurrence and is
    one matrix product for all steps. The forget gate's bias starts at 1 (Jozefowicz et al., ICML 2015).

    Args:
      in_features: length of the input vectors.
      features: length of the state and of the output vectors.
      reverse: go from the last step to the first; outputs stay in the input's order.
      recurrence: "scan" (compiled once) or "unrolled" (a Python loop, whose every step shows when FLOPs are
        counted). Switch a whole model with `model.set_attributes(recurrence=...)`.
      rngs: stream `params`.
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        reverse: bool = False,
        recurrence: str = "scan",
        rngs: nnx.Rngs,
    ) -> None:
        self.input_kernel = nnx.Param(
            # Glorot and Bengio, AISTATS 2010, each gate taken as a layer of its own.
            init.normal(2 / (in_features + features))(rngs.params(), (in_features, 4 * features))
        )
        self.recurrent_kernel = nnx.Param(_orthogonal_gates(rngs.params(), features))
        self.bias = nnx.Param(jnp.zeros(4 * features).at[features : 2 * features].set(1.0))
        self.reverse = reverse
        self.recurrence = recurrence

    def __call__(self, x: Float[Array, "B T I"]) -> Float[Array, "B T H"]:
        """Return the hidden state after each step, from a zero state.

        Raises:
          ValueError: for an unknown recurrence.
        """
        if self.recurrence not in RECURRENCES:
            raise ValueError(f"recurrence {self.recurrence!r} was given; one of {RECURRENCES} is expected")
        recur = self._unrolled if self.recurrence == "unrolled" else self._scan
        return recur(x @ self.input_kernel[...] + self.bias[...])

    def _step(
        self, state: tuple[Float[Array, "B H"], Float[Array, "B H"]], projected: Float[Array, "B G"]
    ) -> tuple[Float[Array, "B H"], Float[Array, "B H"]]:
        hidden, cell = state
        i, f, g, o = jnp.split(projected + hidden @ self.recurrent_kernel[...], 4, axis=-1)
        cell = nnx.sigmoid(f) * cell + nnx.sigmoid(i) * jnp.tanh(g)
        return nnx.sigmoid(o) * jnp.tanh(cell), cell

    def _zero_state(self, projected: Float[Array, "B T G"]) -> tuple[Float[Array, "B H"], Float[Array, "B H"]]:
        # Taken from the input, so that it has the batch size (also a symbolic one) and the sharding of it.
        zeros = jnp.zeros_like(projected[:, 0, : projected.shape[-1] // 4])
        return zeros, zeros

    def _scan(self, projected: Float[Array, "B T G"]) -> Float[Array, "B T H"]:
        def step(state: Any, projected_step: Array) -> Any:
            state = self._step(state, projected_step)
            return state, state[0]

        steps = jnp.swapaxes(projected, 0, 1)
        _, hidden = lax.scan(step, self._zero_state(projected), steps, reverse=self.reverse)
        return jnp.swapaxes(hidden, 0, 1)

    def _unrolled(self, projected: Float[Array, "B T G"]) -> Float[Array, "B T H"]:
        times = range(projected.shape[1])
        state, hidden = self._zero_state(projected), {}
        for time in reversed(times) if self.reverse else times:
            state = self._step(state, projected[:, time])
            hidden[time] = state[0]
        return jnp.stack([hidden[time] for time in times], axis=1)
