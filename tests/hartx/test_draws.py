"""What is drawn for a clip, and what is not."""

import dataclasses

import numpy as np
import pytest

from configs import base
from hartx.data.draws import NO_DRAW, draw_clip


def test_all_zero_config_draws_nothing():
    """Every field of `config.augment` at 0; a factor on an area is off at 1, and `place` has no strength."""
    augment = base.get_config().augment
    for name, value in augment.items():
        augment[name] = tuple(0.0 for _ in value) if isinstance(value, tuple) else type(value)(0)
    augment.rgb_scale = (1.0, 1.0)
    draw = draw_clip(np.random.default_rng(1), augment)
    assert dataclasses.replace(draw, place=(0.5, 0.5)) == NO_DRAW


def test_the_drawing_of_one_does_not_depend_on_what_is_off():
    """Neither do the earlier draws change with one that is switched on."""
    off, on = base.get_config().augment, base.get_config().augment
    on.update({"inertial_scale": 0.2, "rgb_scale": (0.5, 1.0)})
    plain, more = (draw_clip(np.random.default_rng(5), augment) for augment in (off, on))
    assert plain != more
    assert dataclasses.replace(more, area=1.0, inertial=plain.inertial) == plain


def drawn(field, strength, count=400):
    """Draws with one field of `config.augment` changed."""
    augment = base.get_config().augment
    augment[field] = strength
    rng = np.random.default_rng(0)
    return [draw_clip(rng, augment) for _ in range(count)]


@pytest.mark.parametrize(
    "field, strength, middle, value",
    [
        ("rotation_degrees", 7.0, 0.0, lambda draw: draw.angle),
        ("turn_degrees", 33.0, 0.0, lambda draw: draw.body.turn),
        ("tilt_degrees", 12.0, 0.0, lambda draw: draw.body.tilt),
        ("body_scale", 0.3, 1.0, lambda draw: draw.body.scale),
        ("body_stretch", 0.2, 1.0, lambda draw: draw.body.stretch[1]),
        ("body_shear", 0.1, 0.0, lambda draw: draw.body.shear[3]),
        ("limb_scale", 0.4, 1.0, lambda draw: draw.skeleton.bones[2]),
        ("depth_shift", 0.05, 0.0, lambda draw: draw.depth.shift[1]),
        ("inertial_scale", 0.25, 1.0, lambda draw: draw.inertial.scale),
    ],
)
def test_a_draw_fills_its_range_on_both_sides(field, strength, middle, value):
    values = (np.array([value(draw) for draw in drawn(field, strength)]) - middle) / strength
    assert -1 <= values.min() < -0.97 and 0.97 < values.max() <= 1
    assert abs(values.mean()) < 0.15


def test_each_colour_is_drawn_within_its_own_range():
    strengths = (0.1, 0.2, 0.3, 0.05)
    colours = np.array([draw.colour for draw in drawn("color_jitter", strengths)]) - (1, 1, 1, 0)
    np.testing.assert_allclose(np.abs(colours).max(axis=0), strengths, rtol=0.03)
    np.testing.assert_allclose(colours.min(axis=0), -colours.max(axis=0), rtol=0.06)


def test_half_of_the_clips_are_mirrored_and_crops_lie_anywhere():
    draws = drawn("flip", True)
    assert 0.4 < np.mean([draw.flip for draw in draws]) < 0.6
    places = np.array([draw.place for draw in draws])
    assert places.min() < 0.03 and places.max() > 0.97


def test_rotations_of_the_sensor_are_about_any_axis_and_up_to_their_range():
    rotations = np.array([draw.inertial.rotation for draw in drawn("inertial_rotation_degrees", 20.0)])
    angles = np.linalg.norm(rotations, axis=1)
    assert 19.4 < angles.max() <= 20
    assert (np.abs(rotations.mean(axis=0)) < 2).all()
