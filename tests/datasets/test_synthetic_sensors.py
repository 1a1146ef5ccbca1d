"""What the cameras and the inertial sensor of the synthetic recordings see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.synthetic_mhad import inertial, render
from datasets.synthetic_mhad.body import JOINTS
from datasets.synthetic_mhad.performance import FINE_HZ
from datasets.synthetic_mhad.recording import record, rehearse
from datasets.synthetic_mhad.subjects import draw_subject
from datasets.utd_mhad import RecordingId


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_round_cones_are_drawn_where_their_spheres_are(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    start = rng.normal(0, 0.4, (1, 3)) + (0, 0, 2.5)
    end = start + rng.normal(0, 0.3, (1, 3))
    radii = rng.uniform(0.05, 0.15, 2)
    if np.linalg.norm(end - start) < abs(radii[0] - radii[1]) + 0.01:
        return
    camera = render.Camera(24, 32, 30.0)
    drawn = np.full((1, 24, 32), np.inf)
    render.cast([render.RoundCone(start, end, *radii, (1, 1, 1))], camera, drawn)
    # The nearest hit of each ray with any of many spheres between the two.
    slope_y, slope_x = np.meshgrid(*camera.slopes(np.arange(24), np.arange(32)), indexing="ij")
    rays = np.stack([slope_x, slope_y, np.ones_like(slope_x)], axis=-1)[..., None, :]
    length = np.linalg.norm(rays, axis=-1)
    share = np.linspace(0, 1, 801)
    centres = start + share[:, None] * (end - start)
    along = (rays * centres).sum(axis=-1) / length
    inside = along**2 - (centres**2).sum(axis=-1) + (radii[0] + share * (radii[1] - radii[0])) ** 2
    hits = np.where(inside > 0, along - np.sqrt(np.maximum(inside, 0)), np.inf)
    expected = hits.min(axis=-1) / length[..., 0]
    both = np.isfinite(expected) & np.isfinite(drawn[0])
    assert (np.isfinite(expected) != np.isfinite(drawn[0])).sum() <= 1  # one that is grazed
    np.testing.assert_allclose(drawn[0][both], expected[both], atol=2e-3)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_no_surface_is_brighter_than_one_that_faces_the_light(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    end = np.array([[0.0, 0.0, 2.2]])
    start = end + rng.normal(0, (0.05, 0.05, 0.3), (1, 3))  # a forearm that points at the camera, all in the picture
    cone = render.RoundCone(start, end, *rng.uniform(0.04, 0.05, 2), (1, 1, 1))
    picture = np.zeros((1, 48, 64, 3), np.float32)
    light = render.Light(np.array([0.0, 0.0, -1.0]), diffuse=1.0, ambient=0.0)
    render.paint([cone], render.Camera(48, 64, 200.0), light, np.full((1, 48, 64), np.inf), picture)
    assert 0.9 < picture.max() < 1 + 1e-6


@pytest.mark.parametrize("action", [3, 23])
def test_at_rest_the_sensor_measures_gravity_along_the_hanging_limb(action):
    samples = record(RecordingId(action, 1, 1), (32, 32), seed=0).inertial[-12:]
    assert np.linalg.norm(samples[:, :3].mean(axis=0)) == pytest.approx(1, abs=0.12)
    assert samples[:, 0].mean() < -0.85
    assert np.abs(samples[:, 3:].mean(axis=0)).max() < 60


@pytest.mark.parametrize("action, limb", [(1, "wrist"), (21, "wrist"), (22, "knee"), (27, "knee")])
def test_the_sensor_is_on_the_thigh_for_the_last_six_actions(action, limb):
    """Who moves the other limb otherwise measures the same."""
    joints = rehearse(RecordingId(action, 1, 1), 0).joints
    sway = 0.05 * np.sin(np.arange(len(joints)) / 40)

    def measured(changed):
        return inertial.measure(changed, action, len(joints) // 8, np.random.default_rng(0))

    def moved(name):
        changed = joints.copy()
        changed[:, JOINTS.index(f"right_{name}"), 0] += sway
        return np.abs(measured(changed) - measured(joints)).max() > 1e-6

    assert [name for name in ("wrist", "knee") if moved(name)] == [limb]


@given(rate=st.tuples(*[st.floats(-300, 300)] * 3))
def test_angular_rate_is_that_of_a_steady_turn(rate):
    from scipy.spatial.transform import Rotation

    times = np.arange(50)[:, None] / FINE_HZ
    frames = Rotation.from_rotvec(np.radians(rate) * times).as_matrix()
    measured = inertial.angular_rate(frames)[1:-1]
    np.testing.assert_allclose(measured, np.broadcast_to(rate, measured.shape), atol=0.1 + 2e-4 * 300)


def test_the_background_varies_and_the_shirt_does_not():
    first, second = (record(RecordingId(3, 1, t), (48, 64), seed=0).rgb[0].astype(int) for t in (1, 2))
    assert np.abs(first[:10] - second[:10]).mean() > 5
    assert draw_subject(0, 1) is not draw_subject(0, 1)
    assert draw_subject(0, 1).looks == draw_subject(0, 1).looks
    assert len({draw_subject(0, s).looks.shirt for s in range(1, 9)}) == 8
