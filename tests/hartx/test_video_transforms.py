"""Random draws on colour video: what they keep and what they change."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import base
from edge import preprocess
from edge.preprocess import VideoSpec
from hartx.data import video_transforms
from hartx.data.draws import NO_DRAW, ClipDraw, draw_clip
from hartx.data.skeleton_transforms import map_joints
from hartx.data.space import rotation

RNG = np.random.default_rng(0)
VIDEO = [RNG.integers(0, 256, (60, 80, 3), np.uint8) for _ in range(4)]
VIDEO_SPEC = VideoSpec(4, 48, 40)

seeds = st.integers(0, 2**31 - 1)


def test_without_a_draw_video_is_what_the_device_sees():
    np.testing.assert_array_equal(
        video_transforms.video_clip(VIDEO, VIDEO_SPEC, NO_DRAW), preprocess.prepare_video(VIDEO, VIDEO_SPEC)
    )


@settings(max_examples=50)
@given(seeds)
def test_every_frame_of_a_clip_gets_the_same_draw(seed):
    augment = base.get_config().augment
    augment.update({"flip": True, "rgb_scale": (0.5, 1.2)})
    clip = video_transforms.video_clip([VIDEO[0]] * 3, VIDEO_SPEC, draw_clip(np.random.default_rng(seed), augment))
    assert (clip == clip[:1]).all()
    assert np.isfinite(clip).all()


def test_flip_mirrors_video():
    plain, flipped = (video_transforms.video_clip(VIDEO, VIDEO_SPEC, draw) for draw in (NO_DRAW, ClipDraw(flip=True)))
    np.testing.assert_array_equal(flipped, plain[:, :, ::-1])


def test_rotation_turns_video_and_skeleton_the_same_way():
    """Counter-clockwise as seen in the picture: what is on the right goes up."""
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[30:34, 50:54] = 255
    spec = VideoSpec(1, 64, 64)
    clip = video_transforms.video_clip([frame], spec, ClipDraw(angle=45.0))[0, :, :, 0]
    row, _ = np.unravel_index(clip.argmax(), clip.shape)
    assert row < 25
    joints = np.zeros((1, 25, 3), np.float32)
    joints[0, 11] = (1, 0, 0)
    assert map_joints(joints, rotation(0.0, 0.0, 45.0))[0, 11, 1] > 0.5


def test_colour_jitter_at_zero_strength_is_the_identity_and_stays_in_range():
    frame = VIDEO[0]
    assert video_transforms.jitter_colour(frame, (1.0, 1.0, 1.0, 0.0)) is frame
    changed = video_transforms.jitter_colour(frame, (1.2, 0.8, 1.2, 0.1))
    assert changed.dtype == np.uint8 and changed.shape == frame.shape and (changed != frame).any()


def test_brightness_and_saturation_do_what_they_say():
    frame = np.full((4, 4, 3), (100, 50, 20), np.uint8)
    np.testing.assert_array_equal(video_transforms.jitter_colour(frame, (1.5, 1.0, 1.0, 0.0))[0, 0], (150, 75, 30))
    grey = video_transforms.jitter_colour(frame, (1.0, 1.0, 0.0, 0.0))[0, 0]
    assert len(set(grey.tolist())) == 1


def test_contrast_draws_pixels_to_the_mean_grey_or_away_from_it():
    frame = np.repeat(np.array([[[80], [120]]], np.uint8), 3, axis=2)
    less, more = (video_transforms.jitter_colour(frame, (1.0, contrast, 1.0, 0.0)) for contrast in (0.5, 2.0))
    np.testing.assert_allclose(less[0, :, 0], (90, 110), atol=1)
    np.testing.assert_allclose(more[0, :, 0], (60, 140), atol=1)


def test_a_third_of_a_turn_of_hue_makes_red_green():
    red = np.full((2, 2, 3), (200, 0, 0), np.uint8)
    turned = video_transforms.jitter_colour(red, (1.0, 1.0, 1.0, 1 / 3))[0, 0]
    assert turned.argmax() == 1 and turned[0] < 20


@pytest.mark.parametrize("area", [0.3, 0.64, 1.0, 1.4])
def test_a_crop_of_an_area_shows_that_area(area):
    """A picture that gets brighter to the right: the crop's range of brightness is its width."""
    ramp = np.repeat(np.arange(48, dtype=np.uint8)[None, :, None] * 5, 48, 0).repeat(3, 2)
    spec = VideoSpec(1, 48, 40, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    clip = video_transforms.video_clip([ramp], spec, ClipDraw(area=area))
    assert clip.shape == (1, 40, 40, 3)
    width = (clip[0, 20, -1, 0] - clip[0, 20, 0, 0]) * 255 / 5 + 1
    assert width == pytest.approx(40 * area**0.5, abs=1.1)


@given(seeds)
def test_the_drawn_area_is_within_its_range(seed):
    augment = base.get_config().augment
    augment.rgb_scale = (0.5, 1.2)
    assert 0.5 <= draw_clip(np.random.default_rng(seed), augment).area <= 1.2
