"""Mixup, cutmix and blanked streams."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hartx import mixing

SEEDS = st.integers(0, 2**31 - 1)


def make_batch(size=6, classes=5):
    """Each sample is its own constant, so that what it was made of can be read off."""
    own = jnp.arange(1.0, size + 1)
    inputs = {
        "depth": jnp.broadcast_to(own[:, None, None, None, None], (size, 8, 12, 12, 1)),
        "skeleton": jnp.broadcast_to(own[:, None, None], (size, 10, 6)),
    }
    return mixing.Batch(inputs, jax.nn.one_hot(jnp.arange(size) % classes, classes))


def test_smoothing_keeps_the_sum_and_the_largest():
    targets = mixing.smooth_one_hot(jnp.array([2]), 4, 0.1)
    np.testing.assert_allclose(targets, [[0.025, 0.025, 0.925, 0.025]], rtol=1e-6)


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_mixup_blends_every_modality_and_the_target_with_one_share(seed):
    batch = make_batch()
    mixed = mixing.mixup(jax.random.key(seed), batch, alpha=0.5)
    own, other = np.arange(1.0, 7), np.roll(np.arange(1.0, 7), 1)
    share = (np.asarray(mixed.inputs["skeleton"][:, 0, 0]) - other) / (own - other)
    expected = share * own + (1 - share) * other
    np.testing.assert_allclose(mixed.inputs["depth"][:, 3, 5, 7, 0], expected, rtol=1e-4)
    blended = share[:, None] * np.asarray(batch.targets) + (1 - share[:, None]) * np.roll(batch.targets, 1, axis=0)
    np.testing.assert_allclose(mixed.targets, blended, atol=1e-5)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_the_shares_of_mixup_are_as_spread_as_alpha_says(alpha):
    """The variance of Beta(a, a) is 1 / (4 (2 a + 1))."""
    mixed = mixing.mixup(jax.random.key(0), mixing.Batch({}, jnp.eye(4096)), alpha=alpha)
    share = np.diag(mixed.targets)
    assert share.mean() == pytest.approx(0.5, abs=0.03)
    assert share.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_cutmix_keeps_or_replaces_each_place_and_counts_what_it_replaced(seed):
    batch = make_batch()
    mixed = mixing.cutmix(jax.random.key(seed), batch, alpha=1.0)
    shares = []
    for values, before in zip(mixed.inputs.values(), batch.inputs.values(), strict=True):
        other = np.roll(before, 1, axis=0)
        replaced = np.asarray(values) == other
        assert (replaced | (np.asarray(values) == before)).all()
        shares.append(replaced.reshape(6, -1).mean(axis=1))
    weight = np.mean(shares, axis=0)[:, None]
    expected = (1 - weight) * np.asarray(batch.targets) + weight * np.roll(batch.targets, 1, axis=0)
    np.testing.assert_allclose(mixed.targets, expected, atol=1e-5)


def test_cutmix_of_a_video_is_one_box_and_of_a_sequence_one_interval():
    batch = make_batch()
    mixed = mixing.cutmix(jax.random.key(3), batch, alpha=1.0)
    replaced = np.asarray(mixed.inputs["depth"] != batch.inputs["depth"])[..., 0]
    sequence = np.asarray(mixed.inputs["skeleton"] != batch.inputs["skeleton"])
    assert replaced.any() and sequence.any()
    for clip in replaced:
        frames, rows, columns = (np.unique(places) for places in np.nonzero(clip))
        assert clip.sum() == len(frames) * len(rows) * len(columns)
        for places in (frames, rows, columns):
            assert len(places) == 0 or len(places) == np.ptp(places) + 1
    for clip in sequence:
        steps = np.nonzero(clip.all(axis=1))[0]
        assert len(steps) == 0 or len(steps) == np.ptp(steps) + 1
        assert clip.sum() == len(steps) * clip.shape[1]


def test_cutmix_replaces_half_on_average():
    batch = make_batch(size=512)
    mixed = mixing.cutmix(jax.random.key(0), batch, alpha=1.0)
    replaced = np.asarray(mixed.inputs["depth"] != batch.inputs["depth"]).mean()
    assert 0.45 < replaced < 0.55


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_where_both_are_on_so_many_get_cutmix(share):
    batch = make_batch(size=512)
    mixed = mixing.mix(jax.random.key(0), batch, mixup_alpha=5.0, cutmix_alpha=1.0, cutmix_share=share)
    values = np.asarray(mixed.inputs["skeleton"])[1:]  # the first is mixed with the last, so far from it
    cut = (values == np.rint(values)).all(axis=(1, 2))  # one of two whole numbers; mixup lies between them
    assert cut.mean() == pytest.approx(share, abs=0.06)


def test_both_off_changes_nothing():
    batch = make_batch()
    mixed = mixing.mix(jax.random.key(0), batch, mixup_alpha=0.0, cutmix_alpha=0.0, cutmix_share=0.5)
    assert mixed is batch


def test_the_key_decides():
    batch = make_batch()
    options = dict(mixup_alpha=0.2, cutmix_alpha=1.0, cutmix_share=0.5)
    once, again, other = (mixing.mix(jax.random.key(seed), batch, **options) for seed in (1, 1, 2))
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), once, again)))
    assert (once.targets != other.targets).any()


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_at_most_one_stream_is_blanked(seed):
    inputs = make_batch(size=64).inputs
    dropped = mixing.drop_modalities(jax.random.key(seed), inputs, rate=0.5)
    gone = np.stack([np.asarray(values).reshape(64, -1).max(axis=1) == 0 for values in dropped.values()])
    assert gone.sum(axis=0).max() <= 1
    assert 0.2 < gone.any(axis=0).mean() < 0.8
    for stream, values in dropped.items():
        kept = np.asarray(values).reshape(64, -1).max(axis=1) > 0
        np.testing.assert_array_equal(np.asarray(values)[kept], np.asarray(inputs[stream])[kept])


def test_every_stream_is_blanked_as_often_as_another_and_all_as_often_as_stated():
    dropped = mixing.drop_modalities(jax.random.key(0), make_batch(size=2000).inputs, rate=0.4)
    gone = [(np.asarray(values).reshape(2000, -1) == 0).all(axis=1).mean() for values in dropped.values()]
    assert gone == pytest.approx([0.2, 0.2], abs=0.03)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_a_single_stream_is_never_blanked(rate):
    inputs = {"depth": make_batch().inputs["depth"]}
    assert mixing.drop_modalities(jax.random.key(0), inputs, rate=rate) is inputs
