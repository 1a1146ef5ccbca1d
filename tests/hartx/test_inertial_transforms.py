"""Random draws on inertial samples: what they keep and what they change."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from configs import base
from hartx.data.draws import NO_DRAW, ClipDraw, InertialDraw, draw_clip
from hartx.data.inertial_transforms import augment_inertial

RNG = np.random.default_rng(0)
samples = arrays(np.float32, (12, 6), elements=st.floats(-500, 500, width=32))
rotations = st.tuples(*[st.floats(-180, 180)] * 3)
seeds = st.integers(0, 2**31 - 1)


def augmented(values, seed=0, flip=False, **drawn):
    return augment_inertial(values, ClipDraw(flip=flip, inertial=InertialDraw(**drawn)), np.random.default_rng(seed))


@given(samples)
def test_without_a_draw_samples_stay_as_they_are(values):
    np.testing.assert_array_equal(augment_inertial(values, NO_DRAW, np.random.default_rng(0)), values)


@given(samples, rotations)
def test_one_rotation_turns_both_triples(values, rotation):
    turned = augmented(values, rotation=rotation)
    before, after = values.reshape(-1, 3), turned.reshape(-1, 3)  # all triples, of both kinds
    # A rotation keeps every length, and every angle between any two vectors it is applied to.
    np.testing.assert_allclose(after @ after.T, before @ before.T, atol=1.0, rtol=1e-4)
    same = np.repeat(values[:, :3], 2, axis=0).reshape(-1, 6)
    np.testing.assert_array_equal(augmented(same, rotation=rotation)[:, :3], augmented(same, rotation=rotation)[:, 3:])


def test_a_known_rotation():
    """A quarter turn about z takes x to y, in both triples."""
    values = np.array([[1, 0, 0, 2, 0, 0]], np.float32)
    np.testing.assert_allclose(augmented(values, rotation=(0.0, 0.0, 90.0)), [[0, 1, 0, 0, 2, 0]], atol=1e-6)


def test_a_mirrored_rotation_turns_the_other_way():
    """Angular velocity is an axial vector: about the mirrored axis it stays, about the other two it turns round."""
    values = np.array([[1, 2, 3, 4, 5, 6]], np.float32)
    np.testing.assert_array_equal(augmented(values, flip=True), [[-1, 2, 3, 4, -5, -6]])


@given(samples)
def test_scale_is_one_factor(values):
    np.testing.assert_array_equal(augmented(values, scale=1.25), values * np.float32(1.25))


def test_noise_is_as_large_as_stated_in_each_triple():
    values = np.concatenate([RNG.standard_normal((4000, 3)), 80 * RNG.standard_normal((4000, 3))], 1).astype(np.float32)
    noise = augmented(values, noise=0.05) - values
    for triple in (slice(0, 3), slice(3, 6)):
        size = np.sqrt(np.square(values[:, triple]).sum(1).mean())
        assert 0.048 < noise[:, triple].std() / size < 0.052


@given(samples, seeds)
def test_a_seed_gives_the_same_finite_clip(values, seed):
    augment = base.get_config().augment
    augment.update({"inertial_rotation_degrees": 30.0, "inertial_scale": 0.1, "inertial_jitter": 0.05, "flip": True})
    one, other = (
        augment_inertial(values, draw_clip(rng, augment), rng)
        for rng in (np.random.default_rng(seed), np.random.default_rng(seed))
    )
    np.testing.assert_array_equal(one, other)
    assert one.dtype == np.float32 and np.isfinite(one).all()


@given(seeds, st.floats(1, 180))
def test_the_drawn_rotation_is_within_its_range(seed, degrees):
    augment = base.get_config().augment
    augment.inertial_rotation_degrees = degrees
    rotation = draw_clip(np.random.default_rng(seed), augment).inertial.rotation
    assert 0 < np.linalg.norm(rotation) <= degrees


def test_single_and_still_samples_stay_finite():
    for values in (np.zeros((1, 6), np.float32), np.zeros((12, 6), np.float32), np.ones((1, 6), np.float32)):
        assert np.isfinite(augmented(values, rotation=(1.0, 2.0, 3.0), scale=0.9, noise=0.1)).all()
