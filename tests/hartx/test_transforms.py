"""Random draws of training: what they keep and what they change."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from configs import base
from edge import preprocess
from edge.joints import KINECT25, LAYOUTS
from edge.preprocess import DepthSpec, SkeletonSpec, VideoSpec
from hartx.data import transforms
from hartx.data.transforms import NO_DRAW, ClipDraw

RNG = np.random.default_rng(0)
VIDEO = [RNG.integers(0, 256, (60, 80, 3), np.uint8) for _ in range(4)]
VIDEO_SPEC = VideoSpec(4, 48, 40)
DEPTH_SPEC = DepthSpec(4, 32)
SKELETON_SPEC = SkeletonSpec(6)

skeletons = arrays(np.float32, (6, 25, 3), elements=st.floats(-2, 2, width=32))
angles = st.floats(-180, 180)


def person(row=120, column=160, distance=2800):
    """A box of a person before an empty background."""
    frame = np.zeros((240, 320), np.uint16)
    frame[row - 60 : row + 60, column - 20 : column + 20] = distance
    return frame


DEPTH = [person(column=150 + 5 * i) for i in range(4)]


def bones(joints):
    """Lengths between all pairs of joints."""
    return np.linalg.norm(joints[:, :, None] - joints[:, None], axis=-1)


def test_without_a_draw_video_is_what_the_device_sees():
    np.testing.assert_array_equal(
        transforms.video_clip(VIDEO, VIDEO_SPEC, NO_DRAW), preprocess.prepare_video(VIDEO, VIDEO_SPEC)
    )


def test_without_a_draw_depth_is_what_the_device_sees():
    np.testing.assert_array_equal(
        transforms.depth_clip(DEPTH, DEPTH_SPEC, NO_DRAW), preprocess.prepare_depth(DEPTH, DEPTH_SPEC)
    )


@given(skeletons)
def test_without_a_draw_skeletons_are_what_the_device_sees(joints):
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(
        transforms.skeleton_clip(joints, SKELETON_SPEC, NO_DRAW, rng),
        preprocess.prepare_skeleton(joints, SKELETON_SPEC),
    )


@given(skeletons, angles, angles)
def test_rotation_keeps_bone_lengths(joints, turn, angle):
    turned = transforms.rotate_skeleton(joints, turn, angle)
    np.testing.assert_allclose(bones(turned), bones(joints), atol=1e-4)


@given(skeletons, angles)
def test_turning_keeps_heights(joints, turn):
    turned = transforms.rotate_skeleton(joints, turn, 0.0)
    np.testing.assert_allclose(turned[..., 1], joints[..., 1], atol=1e-5)


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_the_mirror_of_the_mirror_is_the_skeleton(layout):
    joints = RNG.standard_normal((3, len(LAYOUTS[layout]), 3)).astype(np.float32)
    mirrored = transforms.mirror_skeleton(joints, layout)
    np.testing.assert_array_equal(transforms.mirror_skeleton(mirrored, layout), joints)
    names = LAYOUTS[layout]
    np.testing.assert_array_equal(
        mirrored[:, names.index("left_hand")], joints[:, names.index("right_hand")] * [-1, 1, 1]
    )
    np.testing.assert_array_equal(mirrored[:, names.index("head")], joints[:, names.index("head")] * [-1, 1, 1])


def test_scale_scales_and_noise_is_as_large_as_stated():
    joints = RNG.standard_normal((400, 25, 3)).astype(np.float32)
    spec = SkeletonSpec(400)
    plain = transforms.skeleton_clip(joints, spec, NO_DRAW, np.random.default_rng(0))
    scaled = transforms.skeleton_clip(joints, spec, ClipDraw(skeleton_scale=1.3), np.random.default_rng(0))
    np.testing.assert_allclose(scaled, plain * 1.3, rtol=1e-5)
    noisy = transforms.skeleton_clip(joints, spec, ClipDraw(skeleton_noise=0.02), np.random.default_rng(0))
    assert 0.019 < (noisy - plain).std() < 0.021


@settings(deadline=None)
@given(st.integers(0, 2**31 - 1))
def test_every_frame_of_a_clip_gets_the_same_draw(seed):
    augment = base.get_config().augment
    augment.flip = True
    draw = transforms.draw_clip(np.random.default_rng(seed), augment)
    video = transforms.video_clip([VIDEO[0]] * 3, VIDEO_SPEC, draw)
    depth = transforms.depth_clip([DEPTH[0]] * 3, DEPTH_SPEC, draw)
    for clip in (video, depth):
        assert (clip == clip[:1]).all()
        assert np.isfinite(clip).all()


def test_flip_mirrors_both_video_and_depth():
    for clip, spec, frames in (
        (transforms.video_clip, VIDEO_SPEC, VIDEO),
        (transforms.depth_clip, DEPTH_SPEC, DEPTH),
    ):
        plain, flipped = clip(frames, spec, NO_DRAW), clip(frames, spec, ClipDraw(flip=True))
        np.testing.assert_array_equal(flipped, plain[:, :, ::-1])


def test_flip_of_depth_agrees_with_flip_of_the_skeleton():
    """A hand that is raised on one side of the depth picture is raised on that side of the skeleton."""
    frame = person()
    frame[60:90, 180:200] = 2800  # raised on the right of the picture, +x of the skeleton
    depth = transforms.depth_clip([frame], dataclasses.replace(DEPTH_SPEC, num_frames=1), ClipDraw(flip=True))
    upper = depth[0, :16, :, 0]
    assert upper[:, :16].sum() > upper[:, 16:].sum()
    joints = np.zeros((1, 25, 3), np.float32)
    joints[0, KINECT25.index("right_hand")] = (0.3, 0.5, 0)
    joints[0, KINECT25.index("shoulder_center")] = (0, 0.5, 0)
    clip = transforms.skeleton_clip(joints, SkeletonSpec(1), ClipDraw(flip=True), np.random.default_rng(0))
    assert clip.reshape(25, 3)[KINECT25.index("left_hand"), 0] < 0


def test_rotation_turns_video_and_skeleton_the_same_way():
    """Counter-clockwise as seen in the picture: what is on the right goes up."""
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[30:34, 50:54] = 255
    spec = VideoSpec(1, 64, 64)
    clip = transforms.video_clip([frame], spec, ClipDraw(angle=45.0))[0, :, :, 0]
    row, _ = np.unravel_index(clip.argmax(), clip.shape)
    assert row < 25
    joints = np.zeros((1, 25, 3), np.float32)
    joints[0, 11] = (1, 0, 0)
    assert transforms.rotate_skeleton(joints, 0.0, 45.0)[0, 11, 1] > 0.5


def test_colour_jitter_at_zero_strength_is_the_identity_and_stays_in_range():
    frame = VIDEO[0]
    assert transforms.jitter_colour(frame, (1.0, 1.0, 1.0, 0.0)) is frame
    changed = transforms.jitter_colour(frame, (1.2, 0.8, 1.2, 0.1))
    assert changed.dtype == np.uint8 and changed.shape == frame.shape and (changed != frame).any()


def test_brightness_and_saturation_do_what_they_say():
    frame = np.full((4, 4, 3), (100, 50, 20), np.uint8)
    np.testing.assert_array_equal(transforms.jitter_colour(frame, (1.5, 1.0, 1.0, 0.0))[0, 0], (150, 75, 30))
    grey = transforms.jitter_colour(frame, (1.0, 1.0, 0.0, 0.0))[0, 0]
    assert len(set(grey.tolist())) == 1


def test_a_third_of_a_turn_of_hue_makes_red_green():
    red = np.full((2, 2, 3), (200, 0, 0), np.uint8)
    turned = transforms.jitter_colour(red, (1.0, 1.0, 1.0, 1 / 3))[0, 0]
    assert turned.argmax() == 1 and turned[0] < 20


def test_all_zero_config_draws_nothing():
    augment = base.get_config().augment
    for field in (
        "rotation_degrees",
        "depth_shift",
        "depth_scale",
        "turn_degrees",
        "skeleton_scale",
        "skeleton_jitter",
    ):
        augment[field] = 0.0
    augment.color_jitter = (0.0, 0.0, 0.0, 0.0)
    draw = transforms.draw_clip(np.random.default_rng(1), augment)
    assert dataclasses.replace(draw, place=(0.5, 0.5)) == NO_DRAW
