"""What is drawn for a clip, and what is not."""

import dataclasses

import numpy as np

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
