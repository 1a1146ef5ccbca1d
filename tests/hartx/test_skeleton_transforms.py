"""Random draws on skeletons: what they keep and what they change."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from configs import base
from edge import preprocess
from edge.joints import KINECT25, LAYOUTS, PARENTS, to_kinect25
from edge.preprocess import SkeletonSpec
from hartx.data import skeleton_transforms as transforms
from hartx.data.draws import BONES, NO_DRAW, BodyDraw, ClipDraw, SkeletonDraw, draw_clip
from hartx.data.space import deformation, rotation

RNG = np.random.default_rng(0)
SPEC = SkeletonSpec(6)
ALL_ON = {
    "flip": True,
    "tilt_degrees": 15.0,
    "body_stretch": 0.1,
    "body_shear": 0.1,
    "limb_scale": 0.1,
    "joint_dropout": 0.1,
    "skeleton_jitter": 0.02,
}

skeletons = arrays(np.float32, (6, 25, 3), elements=st.floats(-2, 2, width=32))
skeletons20 = arrays(np.float32, (6, 20, 3), elements=st.floats(-2, 2, width=32))
angles = st.floats(-180, 180)
factors = st.tuples(*[st.floats(0.5, 1.5)] * len(BONES))
stretches = st.tuples(*[st.floats(0.5, 1.5)] * 3)
shears = st.tuples(*[st.floats(-0.5, 0.5)] * 6)
seeds = st.integers(0, 2**31 - 1)


def clip_of(joints, spec=SPEC, seed=0, body=NO_DRAW.body, **drawn):
    draw = ClipDraw(body=body, skeleton=SkeletonDraw(**drawn))
    return transforms.skeleton_clip(joints, spec, draw, np.random.default_rng(seed)).reshape(len(joints), -1, 3)


def distances(joints):
    """Lengths between all pairs of joints."""
    return np.linalg.norm(joints[:, :, None] - joints[:, None], axis=-1)


def bones(joints, layout):
    """Vectors from each joint's parent to the joint; the root's own is zero."""
    return joints - joints[:, list(PARENTS[layout])]


@given(skeletons)
def test_without_a_draw_skeletons_are_what_the_device_sees(joints):
    np.testing.assert_array_equal(
        transforms.skeleton_clip(joints, SPEC, NO_DRAW, np.random.default_rng(0)),
        preprocess.prepare_skeleton(joints, SPEC),
    )


@given(skeletons, angles, angles, angles)
def test_rotation_keeps_bone_lengths(joints, turn, tilt, angle):
    turned = transforms.map_joints(joints, rotation(turn, tilt, angle))
    np.testing.assert_allclose(distances(turned), distances(joints), atol=1e-4)


@given(skeletons, seeds)
def test_a_flip_mirrors_what_would_be_seen_without_it(joints, seed):
    """As of pictures, which are turned and then mirrored: otherwise the modalities would turn to two sides."""
    augment = base.get_config().augment
    augment.update({"tilt_degrees": 15.0, "body_shear": 0.1})
    draw = dataclasses.replace(draw_clip(np.random.default_rng(seed), augment), skeleton=NO_DRAW.skeleton)
    seen, mirrored = (
        transforms.skeleton_clip(joints, SPEC, dataclasses.replace(draw, flip=flip), np.random.default_rng(0))
        for flip in (False, True)
    )
    np.testing.assert_allclose(
        mirrored.reshape(6, 25, 3), transforms.mirror_skeleton(seen.reshape(6, 25, 3), "kinect25"), atol=1e-5
    )


@pytest.mark.parametrize("axis, which", [(1, (1, 0, 0)), (0, (0, 1, 0)), (2, (0, 0, 1))])
@given(skeletons, angles)
def test_each_rotation_is_about_its_own_axis(axis, which, joints, degrees):
    turned = transforms.map_joints(joints, rotation(*(degrees * on for on in which)))
    np.testing.assert_allclose(turned[..., axis], joints[..., axis], atol=1e-5)


def test_tilt_leans_the_head_towards_or_away_from_the_camera():
    head = np.array([[[0.0, 1.0, 0.0]]], np.float32)
    np.testing.assert_allclose(transforms.map_joints(head, rotation(0.0, 90.0, 0.0)), [[[0.0, 0.0, 1.0]]], atol=1e-6)


def test_rotation_in_the_image_plane_is_counter_clockwise():
    right = np.array([[[1.0, 0.0, 0.0]]], np.float32)
    assert transforms.map_joints(right, rotation(0.0, 0.0, 45.0))[0, 0, 1] > 0.5


@given(skeletons, skeletons, stretches, shears)
def test_stretch_and_shear_are_linear(one, other, stretch, shear):
    matrix = deformation(stretch, shear)
    apart = transforms.map_joints(one, matrix) + transforms.map_joints(other, matrix)
    np.testing.assert_allclose(transforms.map_joints(one + other, matrix), apart, atol=1e-5)


def test_stretch_and_shear_do_what_they_say():
    x_axis = np.array([[[1.0, 0.0, 0.0]]], np.float32)
    stretched = transforms.map_joints(x_axis, deformation((1.2, 1.0, 1.0), (0.0,) * 6))
    np.testing.assert_allclose(stretched, x_axis * 1.2)
    sheared = transforms.map_joints(x_axis, deformation((1.0, 1.0, 1.0), (0.0, 0.0, 0.3, 0.0, -0.2, 0.0)))
    np.testing.assert_allclose(sheared, [[[1.0, 0.3, -0.2]]], rtol=1e-6)


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
    plain = clip_of(joints)
    np.testing.assert_allclose(clip_of(joints, body=BodyDraw(scale=1.3)), plain * 1.3, rtol=1e-5)
    assert 0.019 < (clip_of(joints, noise=0.02) - plain).std() < 0.021


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@given(data=st.data())
def test_bones_keep_their_directions_and_get_their_factors(layout, data):
    names = LAYOUTS[layout]
    joints = data.draw(skeletons if layout == "kinect25" else skeletons20)
    factor = dict(zip(BONES, data.draw(factors), strict=True))
    scaled = transforms.scale_bones(joints, tuple(factor.values()))
    wanted = [1.0 if n == "hip_center" else factor[n.replace("left_", "").replace("right_", "")] for n in names]
    np.testing.assert_allclose(
        bones(scaled, layout), bones(joints, layout) * np.array(wanted)[:, None], atol=2e-5
    )  # a positive factor on the vector: the same direction, left as long as right
    root = names.index("hip_center")
    np.testing.assert_allclose(scaled[:, root], joints[:, root], atol=1e-6)


@given(skeletons20, factors)
def test_changed_proportions_keep_the_torso_as_the_unit(joints, factor):
    """The device divides by the torso's length, so the network never sees another one; derived joints stay so."""
    joints[:, LAYOUTS["kinect20"].index("shoulder_center")] += 10  # a torso well away from length zero
    clip = clip_of(joints, bones=factor)
    index = KINECT25.index
    torso = np.linalg.norm(clip[:, index("shoulder_center")] - clip[:, index("hip_center")], axis=-1)
    assert np.median(torso) == pytest.approx(1, rel=1e-3)
    np.testing.assert_allclose(clip, to_kinect25(clip[:, [KINECT25.index(n) for n in LAYOUTS["kinect20"]]]), atol=1e-4)


def test_missing_joints_are_at_the_origin_and_others_where_they_were():
    joints = RNG.standard_normal((6, 25, 3)).astype(np.float32)
    plain, dropped = clip_of(joints), clip_of(joints, missing=("head", "left_thumb"))
    gone = [KINECT25.index("head"), KINECT25.index("left_thumb")]
    assert (dropped[:, gone] == 0).all()
    np.testing.assert_array_equal(np.delete(dropped, gone, 1), np.delete(plain, gone, 1))
    small = clip_of(joints[:, :20], SkeletonSpec(6, "kinect20"), missing=("head", "left_thumb"))
    assert (small[:, LAYOUTS["kinect20"].index("head")] == 0).all()  # that layout has no thumbs


def test_a_missing_joint_has_no_noise():
    joints = RNG.standard_normal((6, 25, 3)).astype(np.float32)
    assert (clip_of(joints, missing=("head",), noise=0.1)[:, KINECT25.index("head")] == 0).all()


@given(seeds, st.floats(0.01, 0.99))
def test_the_root_is_never_missing(seed, rate):
    augment = base.get_config().augment
    augment.joint_dropout = rate
    missing = draw_clip(np.random.default_rng(seed), augment).skeleton.missing
    assert "hip_center" not in missing and set(missing) < set(KINECT25)


def test_joints_are_missing_as_often_as_stated():
    augment = base.get_config().augment
    augment.joint_dropout = 0.2
    rng = np.random.default_rng(0)
    counts = [len(draw_clip(rng, augment).skeleton.missing) for _ in range(500)]
    assert 0.18 < np.mean(counts) / 24 < 0.22


@given(seeds)
def test_all_frames_get_the_same_draw_and_a_seed_gives_the_same_clip(seed):
    augment = base.get_config().augment
    augment.update(ALL_ON)
    draw = draw_clip(np.random.default_rng(seed), augment)
    still = np.repeat(RNG.standard_normal((1, 25, 3)).astype(np.float32), 6, axis=0)
    noisy = transforms.skeleton_clip(still, SPEC, draw, np.random.default_rng(seed))
    np.testing.assert_array_equal(noisy, transforms.skeleton_clip(still, SPEC, draw, np.random.default_rng(seed)))
    quiet = dataclasses.replace(draw, skeleton=dataclasses.replace(draw.skeleton, noise=0.0))
    clip = transforms.skeleton_clip(still, SPEC, quiet, np.random.default_rng(seed))
    np.testing.assert_allclose(clip, np.repeat(clip[:1], 6, axis=0), atol=1e-6)


@pytest.mark.parametrize("frames", [1, 6])
def test_a_skeleton_without_extent_stays_finite(frames):
    augment = base.get_config().augment
    augment.update(ALL_ON)
    rng = np.random.default_rng(0)
    for joints in (np.zeros((frames, 20, 3), np.float32), RNG.standard_normal((frames, 20, 3)).astype(np.float32)):
        clip = transforms.skeleton_clip(joints, SPEC, draw_clip(rng, augment), rng)
        assert clip.shape == (frames, 75) and clip.dtype == np.float32 and np.isfinite(clip).all()
