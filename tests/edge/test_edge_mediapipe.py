"""From MediaPipe's landmarks to the joints that the networks know."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from edge import EdgeError
from edge.joints import KINECT20
from edge.mediapipe_skeleton import MediaPipeSkeleton, to_kinect20
from edge.preprocess import normalise_skeleton


def standing_person():
    """Landmarks of a person who faces the camera: their left side is on the right of the picture; y goes down."""
    world = np.zeros((33, 3))
    world[[7, 8]] = (0.07, -0.65, 0), (-0.07, -0.65, 0)
    pairs = {11: (0.18, -0.45), 13: (0.25, -0.2), 15: (0.25, 0.03), 17: (0.25, 0.1), 19: (0.24, 0.1), 23: (0.1, 0.0)}
    pairs.update({25: (0.1, 0.4), 27: (0.1, 0.8), 31: (0.12, 0.85)})
    for left, (x, y) in pairs.items():
        world[left], world[left + 1] = (x, y, 0), (-x, y, 0)
    return world


def joint(joints, name):
    return joints[KINECT20.index(name)]


def pixels_of(world, at=(320, 240), scale=200):
    return world[:, :2] * scale + at


def test_a_persons_right_has_the_larger_x_and_up_is_up():
    world = standing_person()
    world[16, 2] = -0.4  # the right wrist reaches towards the camera
    joints = to_kinect20(world, pixels_of(world), 640, 480)
    assert joints.shape == (20, 3) and joints.dtype == np.float32
    assert joint(joints, "right_shoulder")[0] > 0.1 > -0.1 > joint(joints, "left_shoulder")[0]
    heights = [
        joint(joints, n)[1] for n in ("head", "shoulder_center", "spine", "hip_center", "left_knee", "left_foot")
    ]
    assert heights == sorted(heights, reverse=True)
    assert joint(joints, "right_wrist")[2] == pytest.approx(-0.4)
    assert joint(joints, "right_hand")[0] == pytest.approx(0.245)


def test_hips_that_move_in_the_picture_move_in_the_room():
    """MediaPipe's own landmarks in metres stay around the hips; a squat would be lost."""
    world = standing_person()
    straight = to_kinect20(world, pixels_of(world), 640, 480)
    low = to_kinect20(world, pixels_of(world, at=(300, 300)), 640, 480)
    np.testing.assert_allclose(low - straight, np.broadcast_to([20 / 200, -60 / 200, 0], (20, 3)), atol=1e-6)


def test_the_torso_is_as_long_as_a_kinects():
    """So that limbs in units of the torso, as the networks read them, are as long as they should be."""
    world = standing_person()
    normalised = normalise_skeleton(to_kinect20(world, pixels_of(world), 640, 480)[None], "kinect25")
    assert np.isfinite(normalised).all()
    joints = to_kinect20(world, pixels_of(world), 640, 480)
    torso = np.linalg.norm(joint(joints, "shoulder_center") - joint(joints, "hip_center"))
    assert torso == pytest.approx(1.09 * 0.45)


def test_a_pose_of_no_size_is_no_error():
    assert np.isfinite(to_kinect20(np.zeros((33, 3)), np.zeros((33, 2)), 640, 480)).all()


def test_without_mediapipe_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(EdgeError, match=r"requirements-mediapipe\.txt"):
        MediaPipeSkeleton()


def test_a_mediapipe_without_the_model_is_refused(monkeypatch):
    class Later:
        __version__ = "0.10.99"

    monkeypatch.setitem(sys.modules, "mediapipe", Later())
    with pytest.raises(EdgeError, match=r"0\.10\.99 has no pose model"):
        MediaPipeSkeleton()


def test_the_real_model_sees_nobody_in_noise_and_needs_colour():
    pytest.importorskip("mediapipe")
    skeleton = MediaPipeSkeleton(0)
    assert skeleton(np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8), 0.0) is None
    with pytest.raises(EdgeError, match="colour"):
        skeleton(np.zeros((120, 160), np.uint16), 0.0)
    skeleton.close()


@pytest.fixture
def pose(monkeypatch):
    """MediaPipe as far as it is used, that sees a standing person; its `seen` is how well, 0 to 1."""
    made = SimpleNamespace(seen=0.9)

    class Pose:
        def __init__(self, model_complexity):
            pass

        def process(self, image):
            world = standing_person()
            places = pixels_of(world) / (640, 480)  # shares of the picture, as MediaPipe tells
            return SimpleNamespace(
                pose_world_landmarks=SimpleNamespace(landmark=[SimpleNamespace(x=x, y=y, z=z) for x, y, z in world]),
                pose_landmarks=SimpleNamespace(
                    landmark=[SimpleNamespace(x=x, y=y, visibility=made.seen) for x, y in places]
                ),
            )

    module = SimpleNamespace(solutions=SimpleNamespace(pose=SimpleNamespace(Pose=Pose)))
    monkeypatch.setitem(sys.modules, "mediapipe", module)
    return made


def test_what_mediapipe_sees_become_joints(pose):
    joints = MediaPipeSkeleton()(np.zeros((480, 640, 3), np.uint8), 0.0)
    world = standing_person()
    np.testing.assert_allclose(joints, to_kinect20(world, pixels_of(world), 640, 480), atol=1e-5)


def test_somebody_who_is_hardly_seen_is_nobody(pose):
    pose.seen = 0.3
    assert MediaPipeSkeleton()(np.zeros((480, 640, 3), np.uint8), 0.0) is None
