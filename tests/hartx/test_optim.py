"""The optimiser: how the rate goes over a run, what decays, what is clipped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from hartx.optim import learning_rate, make_optimizer

PARAMS = {"kernel": jnp.full((2, 3), 2.0), "bias": jnp.full(3, 2.0), "scale": jnp.full(3, 2.0)}


def configured(**changes):
    config = base.get_config()
    config.optim.update(changes)
    return config


def test_the_rate_rises_over_the_warm_up_and_falls_to_0_along_a_cosine():
    rate = learning_rate(configured(learning_rate=0.1, warmup_epochs=2.0), 110, 5.0)  # 10 steps up, 100 down
    steps = (0, 5, 10, 35, 60, 110)
    expected = [0, 0.05, 0.1, 0.05 * (1 + np.cos(np.pi / 4)), 0.05, 0]
    np.testing.assert_allclose([rate(step) for step in steps], expected, atol=1e-6)


def test_without_a_warm_up_the_first_step_has_the_whole_rate():
    rate = learning_rate(configured(learning_rate=0.1, warmup_epochs=0.0), 10, 5.0)
    assert float(rate(0)) == pytest.approx(0.1)


def test_weight_decay_takes_kernels_and_leaves_biases_and_scales():
    """Without a gradient AdamW moves what decays by the rate times the decay, and nothing else."""
    optimizer = make_optimizer(configured(weight_decay=0.1), lambda step: 0.5)
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, PARAMS), optimizer.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["kernel"], -0.5 * 0.1 * 2.0, rtol=1e-6)
    assert not updates["bias"].any() and not updates["scale"].any()


def second_update(first, clip_norm):
    """The second update, after a gradient of `first` and one of 1 everywhere."""
    optimizer = make_optimizer(configured(clip_norm=clip_norm, weight_decay=0.0), lambda step: 1.0)
    state = optimizer.init(PARAMS)
    for size in (first, 1.0):
        updates, state = optimizer.update(jax.tree.map(lambda p, s=size: jnp.full_like(p, s), PARAMS), state, PARAMS)
    return float(updates["bias"][0])


def test_a_gradient_counts_for_no_more_than_its_largest_norm():
    assert second_update(1000.0, clip_norm=0.5) == pytest.approx(second_update(1.0, clip_norm=0.5), rel=1e-4)
    assert second_update(1000.0, clip_norm=0.0) != pytest.approx(second_update(1.0, clip_norm=0.0), rel=1e-2)
