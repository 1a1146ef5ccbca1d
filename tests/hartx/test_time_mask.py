"""Temporal masking: how much is masked, and where."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hartx.data.time_mask import NO_MASK, TimeMask, draw_mask, masked_frames

seeds = st.integers(0, 2**31 - 1)
ratios = st.floats(0.01, 0.99)
span_counts = st.integers(1, 6)


def runs(frames):
    """Number of contiguous spans of True."""
    return int((np.diff(frames.astype(int), prepend=0) == 1).sum())


@given(seeds, ratios, span_counts, st.integers(2, 200))
def test_exactly_the_stated_share_is_masked_to_a_frame(seed, ratio, spans, count):
    frames = masked_frames(draw_mask(np.random.default_rng(seed), ratio, spans), count)
    assert frames.shape == (count,)
    assert frames.sum() == min(round(ratio * count), count - 1)
    assert runs(frames) <= spans


def test_the_original_setting():
    """A fifth of 48 frames, in two spans: 10 frames (9.6 rounded)."""
    masks = [masked_frames(draw_mask(np.random.default_rng(seed), 0.2, 2), 48) for seed in range(200)]
    assert {int(frames.sum()) for frames in masks} == {10}
    assert {runs(frames) for frames in masks} == {1, 2}  # two spans may touch, or one be shorter than a frame
    assert np.mean([runs(frames) for frames in masks]) > 1.7
    assert np.any(masks, axis=0).all()  # no frame is safe


@given(seeds, ratios, span_counts)
def test_modalities_are_masked_at_the_same_time(seed, ratio, spans):
    """The same spans at 16 and 160 frames, to two frames of the coarser one at each edge."""
    mask = draw_mask(np.random.default_rng(seed), ratio, spans)
    coarse, fine = masked_frames(mask, 16), masked_frames(mask, 160)
    differ = np.abs(np.cumsum(np.repeat(coarse, 10)) - np.cumsum(fine))
    assert differ.max() <= 2 * 10


def test_a_known_mask():
    mask = TimeMask(0.5, masked=(0.4, 0.6), gaps=(0.2, 0.2, 0.6))
    expected = [False, True, True, False, True, True, True, False, False, False]
    assert masked_frames(mask, 10).tolist() == expected


def test_at_zero_strength_nothing_is_masked_and_nothing_drawn():
    rng = np.random.default_rng(0)
    assert draw_mask(rng, 0.0, 2) is NO_MASK
    assert not masked_frames(NO_MASK, 16).any()
    assert rng.integers(1000) == np.random.default_rng(0).integers(1000)


@given(seeds, ratios, span_counts)
def test_the_only_frame_of_a_clip_is_never_masked(seed, ratio, spans):
    assert not masked_frames(draw_mask(np.random.default_rng(seed), ratio, spans), 1).any()
