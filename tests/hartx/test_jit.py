"""What is compiled, and for whom."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax

from hartx.jit import jit


def test_convolutions_stay_with_xla_on_a_cpu():
    x, kernel = jnp.ones((16, 8, 8, 64)), jnp.ones((3, 3, 64, 64))  # as large as is handed on

    def convolve(x, kernel):
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    compiled = jit(convolve).lower(x, kernel).compile()
    assert "convolution" in compiled.as_text()
    assert "ynn" not in compiled.as_text()
    np.testing.assert_array_equal(compiled(x, kernel)[0, 0, 0], np.full(64, 256.0))  # a corner sees four of nine taps


def test_options_of_jax_jit_pass_through():
    double = jit(lambda x, factor: x * factor, static_argnames="factor")
    assert double(jnp.float32(3), factor=2) == 6
