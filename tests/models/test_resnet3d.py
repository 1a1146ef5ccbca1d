"""The video network: sizes, initial state, modes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hartx.models import ResNet3D
from hartx.models.resnet3d import BasicBlock, BottleneckBlock

encode = nnx.jit(lambda model, clips: model.encode(clips))
classify = nnx.jit(lambda model, clips, rngs=None: model(clips, rngs=rngs))


def parameters(model):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


@pytest.mark.parametrize(
    ("depth", "expected"), [(10, 14_413_275), (18, 33_217_755), (34, 63_527_387), (50, 46_254_299)]
)
def test_parameter_counts(depth, expected):
    assert parameters(nnx.eval_shape(lambda: ResNet3D(depth, rngs=nnx.Rngs(0)))) == expected


@pytest.mark.parametrize(
    ("depth", "features", "shape"),
    [(10, 32, (16, 32, 32, 1)), (10, 32, (1, 8, 12, 1)), (50, 128, (4, 16, 16, 1))],
)
def test_small_clips(depth, features, shape):
    model = ResNet3D(depth, width=4, in_channels=1, num_classes=5, rngs=nnx.Rngs(0))
    model.eval()
    clips = jax.random.normal(jax.random.key(0), (2, *shape))
    assert encode(model, clips).shape == (2, model.num_features) == (2, features)
    assert classify(model, clips).shape == (2, 5)


def test_whole_network_is_the_same_in_both_lowerings():
    model = ResNet3D(10, width=4, rngs=nnx.Rngs(0))
    # Statistics of a batch as small as this one would blow rounding up; those kept do not.
    model.eval()
    clips = jax.random.normal(jax.random.key(0), (2, 8, 32, 32, 3))

    def gradients(lowering):
        model.set_attributes(lowering=lowering)
        return jax.tree.leaves(nnx.jit(nnx.grad(lambda model: jnp.sum(jnp.sin(model(clips)))))(model))

    for actual, expected in zip(gradients("taps"), gradients("native"), strict=True):
        scale = max(1.0, float(jnp.abs(expected).max()))
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * scale)


@pytest.mark.parametrize("block", [BasicBlock, BottleneckBlock])
def test_zero_init_makes_a_block_the_identity(block):
    channels = 8
    layer = block(
        channels,
        [channels // block.expansion] * block.inner_convolutions,
        channels,
        (1, 1, 1),
        projected=False,
        zero_init_last_bn=True,
        dtype=jnp.float32,
        rngs=nnx.Rngs(0),
    )
    x = jax.nn.relu(jax.random.normal(jax.random.key(0), (2, 3, 4, 4, channels)))
    np.testing.assert_array_equal(layer(x), x)


def test_training_mode_moves_the_statistics_and_evaluation_does_not():
    model = ResNet3D(10, width=4, rngs=nnx.Rngs(0))
    clips = jax.random.normal(jax.random.key(0), (2, 4, 16, 16, 3)) + 1.0

    def statistics():
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(nnx.state(model, nnx.BatchStat))])

    model.eval()
    before, first = statistics(), classify(model, clips)
    np.testing.assert_array_equal(statistics(), before)
    model.train()
    classify(model, clips, nnx.Rngs(dropout=0))
    assert np.abs(statistics() - before).max() > 1e-3
    model.eval()
    assert jnp.abs(classify(model, clips) - first).max() > 1e-6


def test_running_mean_moves_by_a_tenth():
    model = ResNet3D(10, width=4, rngs=nnx.Rngs(0))
    clips = jax.random.normal(jax.random.key(0), (2, 4, 16, 16, 3)) + 1.0
    mean = model.stem(clips).mean((0, 1, 2, 3))
    encode(model, clips)
    np.testing.assert_allclose(model.stem_norm.mean[...], 0.1 * mean, atol=1e-5)


def test_modules_keep_no_random_state():
    _, _, _, rest = nnx.split(ResNet3D(10, width=4, rngs=nnx.Rngs(0)), nnx.Param, nnx.BatchStat, ...)
    assert not jax.tree.leaves(rest)


def test_bfloat16_is_close_and_its_parameters_and_statistics_are_float32():
    clips = jax.random.normal(jax.random.key(0), (2, 4, 16, 16, 3))
    features = []
    for dtype in (jnp.float32, jnp.bfloat16):
        model = ResNet3D(10, width=4, dtype=dtype, rngs=nnx.Rngs(0))
        features.append(encode(model, clips))
        assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(model))} == {jnp.dtype("float32")}
    assert features[1].dtype == jnp.float32
    np.testing.assert_allclose(features[1], features[0], atol=0.1)
    assert jnp.abs(features[1] - features[0]).max() > 0


@pytest.mark.parametrize(
    ("time_strides", "steps"),
    [((2, 2, 1, 2, 2, 2), 1), ((2, 1, 1, 2, 2, 2), 1), ((1, 1, 1, 2, 2, 2), 2), ((1,) * 6, 16)],
)
def test_time_strides_divide_the_steps_of_the_last_stage(time_strides, steps):
    model = ResNet3D(10, width=4, in_channels=1, time_strides=time_strides, rngs=nnx.Rngs(0))
    model.eval()
    x = model.pool(model.stem(jnp.ones((1, 16, 32, 32, 1))))
    for block in model.blocks:
        x = block(x)
    assert x.shape == (1, steps, 1, 1, 32)


@pytest.mark.parametrize("time_strides", [(2, 2, 1, 2, 2), (2, 2, 1, 2, 2, 3), (2, 2, 1, 2, 2, 0)])
def test_wrong_time_strides_are_refused(time_strides):
    with pytest.raises(ValueError, match="six of 1 and 2"):
        ResNet3D(10, time_strides=time_strides, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("depth", "inner", "stages"),
    [
        (10, (3, 5, 6, 7), (4, 9, 10, 11)),
        (18, (3, 4, 5, 6, 7, 8, 9, 10), (4, 9, 10, 11)),
        (50, (3,) * 32, (4, 5, 6, 7)),
    ],
)
def test_every_width_may_be_its_own(depth, inner, stages):
    model = ResNet3D(depth, width=4, inner_widths=inner, stage_widths=stages, num_classes=5, rngs=nnx.Rngs(0))
    assert encode(model, jnp.ones((2, 2, 8, 8, 3))).shape == (2, stages[-1])
    kernels = [conv.kernel.shape[-1] for block in model.blocks for conv in (block.conv1, block.conv2)]
    assert kernels[0 :: 2 if depth < 50 else 1] == list(inner)


def test_a_projection_stays_where_as_many_channels_go_in_as_come_out():
    model = ResNet3D(50, width=4, inner_widths=(4,) * 32, stage_widths=(4, 8, 8, 8), rngs=nnx.Rngs(0))
    assert [block.shortcut is not None for block in model.blocks] == [
        index == 0 for count in (3, 4, 6, 3) for index in range(count)
    ]


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ({"inner_widths": (4, 4, 4)}, "depth 10 has 4 and 4"),
        ({"stage_widths": (4, 8, 16)}, "depth 10 has 4 and 4"),
        ({"stage_widths": (8, 8, 16, 32)}, "adds to what the stem gives"),
    ],
)
def test_widths_that_do_not_fit_the_network_are_refused(widths, message):
    with pytest.raises(ValueError, match=message):
        ResNet3D(10, width=4, **widths, rngs=nnx.Rngs(0))


def test_unknown_depth_is_refused():
    with pytest.raises(ValueError, match="depth 20 was given"):
        ResNet3D(20, rngs=nnx.Rngs(0))
