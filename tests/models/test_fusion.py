"""Models over a dictionary of modalities, and how a config makes them."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from configs import base
from hartx.errors import HartxError
from hartx.models import Fusion, SequenceLSTM, SingleStream, create_model

SHAPES = {"rgb": (4, 16, 16, 3), "depth": (4, 16, 16, 1), "skeleton": (6, 75), "inertial": (8, 6)}
WIDTHS = {"rgb": 32, "depth": 32, "skeleton": 16, "inertial": 12}  # features of the small encoders


def small_config():
    config = base.get_config().model
    config.video.depth, config.video.width = 10, 4
    config.skeleton.features = 16
    config.inertial.features = 12
    config.fusion.hidden = 12
    return config


def changed_model(streams, **changes):
    config = small_config()
    config.update(changes)
    model = create_model(config, streams, SHAPES, 27, rngs=nnx.Rngs(0))
    if isinstance(model, Fusion):  # whose correction has learnt something
        model.classifier.kernel[...] = 0.1 * jax.random.normal(jax.random.key(1), model.classifier.kernel.shape)
    return model


# Building a model takes seconds, of which each test gets a copy.
build = functools.cache(changed_model)


def small_model(*streams):
    return nnx.clone(build(streams))


encode = nnx.jit(lambda encoder, x: encoder.encode(x))
classify = nnx.jit(lambda encoder, x: encoder(x))
apply = nnx.jit(lambda model, inputs: model(inputs))
apply_with_streams = nnx.jit(lambda model, inputs, rngs=None: model.with_streams(inputs, rngs=rngs))


def clips(*streams, batch=2):
    rng = np.random.default_rng(0)
    return {s: jnp.asarray(rng.normal(size=(batch, *SHAPES[s])), jnp.float32) for s in streams}


@pytest.mark.parametrize(
    "streams", [("depth", "skeleton"), ("inertial", "skeleton"), ("rgb", "depth", "skeleton", "inertial")]
)
def test_fusion_joins_the_features_of_any_set_of_streams(streams):
    model = small_model(*streams)
    sizes = [model.streams[name].num_features for name in streams]
    assert sizes == [WIDTHS[name] for name in streams]
    assert model.hidden.kernel.shape == (sum(sizes), 12)
    model.eval()
    output = apply_with_streams(model, clips(*streams))
    assert output.logits.shape == (2, 27)
    assert {name: logits.shape for name, logits in output.stream_logits.items()} == dict.fromkeys(streams, (2, 27))


def test_fusion_of_the_design_has_768_features():
    model = nnx.eval_shape(
        lambda: create_model(base.get_config().model, ("depth", "skeleton"), SHAPES, 27, rngs=nnx.Rngs(0))
    )
    assert model.hidden.kernel.shape == (768, 512)
    assert model.classifier.kernel.shape == (512, 27)


def own_classifiers(encoder):
    """The classifiers of an encoder, or of each member of an ensemble."""
    return [each.classifier for each in getattr(encoder, "members", [encoder])]


def correction(model, inputs, names):
    joined = [encode(model.streams[name], inputs[name]) for name in names]
    return model.classifier(nnx.relu(model.hidden(jnp.concatenate(joined, axis=-1))))


def test_fusion_is_a_weighted_mean_of_the_streams_and_a_correction_from_their_features_in_the_order_given():
    names = ("skeleton", "depth")
    model = changed_model(names, fusion={"weights": {"skeleton": 3.0}})
    model.eval()
    inputs = clips(*names)
    skeleton, depth = (classify(model.streams[name], inputs[name]) for name in names)
    expected = (3 * skeleton + depth) / 4 + correction(model, inputs, names)
    np.testing.assert_allclose(apply(model, inputs), expected, atol=1e-5)


def test_fusion_begins_as_the_mean_of_its_streams():
    model = create_model(small_config(), ("skeleton", "inertial"), SHAPES, 27, rngs=nnx.Rngs(0))
    model.eval()
    inputs = clips("skeleton", "inertial")
    output = apply_with_streams(model, inputs)
    np.testing.assert_allclose(output.logits, sum(output.stream_logits.values()) / 2, atol=1e-6)


@pytest.mark.parametrize("absent", [("depth",), ("skeleton", "inertial"), ("depth", "skeleton", "inertial")])
def test_absent_streams_count_for_nothing(absent):
    names = ("depth", "skeleton", "inertial")
    model = small_model(*names)
    model.eval()
    inputs = clips(*names)
    for name in absent:
        inputs[name] = jnp.zeros_like(inputs[name])
    before = apply(model, inputs)
    assert jnp.isfinite(before).all()
    for name in absent:  # whatever the stream makes of zeros
        for classifier in own_classifiers(model.streams[name]):
            classifier.bias[...] += jnp.arange(27.0)
    np.testing.assert_array_equal(apply(model, inputs), before)
    if len(absent) == 2:  # the mean is that of what is left, which decides as it would alone
        model.hidden.kernel[...] *= 0.0
        model.hidden.bias[...] *= 0.0
        alone = classify(model.streams["depth"], inputs["depth"])
        np.testing.assert_allclose(apply(model, inputs), alone, atol=1e-5)


@pytest.mark.parametrize(("absent", "weights"), [(None, (3, 2, 0.5)), ("skeleton", (0, 2, 3.5)), ("depth", (3, 2, 0))])
def test_depth_takes_over_the_weight_of_an_absent_skeleton(absent, weights):
    names = ("skeleton", "inertial", "depth")
    model = changed_model(names, fusion={"weights": {"skeleton": 3.0, "inertial": 2.0, "depth": 0.5}})
    model.eval()
    model.classifier.kernel[...] *= 0.0  # no correction
    model.classifier.bias[...] *= 0.0
    inputs = clips(*names)
    logits = [classify(model.streams[name], inputs[name]) for name in names]
    if absent:
        inputs[absent] = jnp.zeros_like(inputs[absent])
    expected = sum(weight * each for weight, each in zip(weights, logits, strict=True)) / sum(weights)
    np.testing.assert_allclose(apply(model, inputs), expected, atol=1e-5)


def test_members_are_so_many_of_each_description_and_begin_differently():
    ensemble = changed_model(("skeleton",), skeleton={"members": 2}).streams["skeleton"]
    assert [member.description[0] for member in ensemble.members] == ["joints", "bones", "joints", "bones"]
    first, _, second, _ = (member.classifier.kernel[...] for member in ensemble.members)
    assert first.shape == second.shape and (first != second).any()
    alone = changed_model(("skeleton",)).streams["skeleton"]
    assert ensemble.num_features == 2 * alone.num_features


def test_what_reads_the_joints_of_depth_is_there_once_however_many_read_recorded_ones():
    models = [changed_model(("depth",), depth_members=("pose",), skeleton={"members": n}) for n in (1, 2)]
    shapes = [jax.tree.map(jnp.shape, nnx.state(model, nnx.Param)) for model in models]
    assert jax.tree.all(jax.tree.map(lambda one, other: one == other, *shapes))


def test_an_ensemble_is_the_mean_of_its_members():
    model = small_model("skeleton")
    model.eval()
    inputs = clips("skeleton")
    ensemble = model.streams["skeleton"]
    assert [member.description for member in ensemble.members] == [("joints", "joint_motion"), ("bones", "bone_motion")]
    alone = [classify(member, inputs["skeleton"]) for member in ensemble.members]
    output = apply_with_streams(model, inputs)
    np.testing.assert_allclose(list(output.stream_logits.values()), alone, atol=1e-5)
    np.testing.assert_allclose(output.logits, sum(alone) / 2, atol=1e-5)
    np.testing.assert_allclose(apply(model, inputs), output.logits, atol=1e-6)
    features = [encode(member, inputs["skeleton"]) for member in ensemble.members]
    assert ensemble.num_features == WIDTHS["skeleton"]
    np.testing.assert_allclose(encode(ensemble, inputs["skeleton"]), jnp.concatenate(features, axis=-1), atol=1e-6)


def test_each_member_of_an_ensemble_learns_from_its_own_errors():
    model = small_model("skeleton")
    model.eval()
    inputs = clips("skeleton")
    graphdef, params = nnx.split(model, nnx.Param)

    def loss_of_the_first(params):
        output = nnx.merge(graphdef, params).with_streams(inputs)
        return output.logits.var() + output.stream_logits["skeleton.0"].var()

    members = jax.jit(jax.grad(loss_of_the_first))(params)["streams"]["skeleton"]["members"]
    assert any((leaf != 0).any() for leaf in jax.tree.leaves(members[0]))
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(members[1]))


def test_absence_is_told_for_each_clip():
    model = small_model("depth", "skeleton")
    model.eval()
    inputs = clips("depth", "skeleton")
    inputs["depth"] = inputs["depth"].at[1].set(0)
    both = apply(model, inputs)
    for clip in (0, 1):
        alone = apply(model, {name: values[jnp.array([clip, clip])] for name, values in inputs.items()})
        np.testing.assert_allclose(alone[0], both[clip], atol=1e-5)


def test_frozen_streams_get_no_gradient_and_keep_their_statistics():
    model = small_model("depth", "skeleton")
    model.train()
    model.freeze_streams()
    inputs = clips("depth", "skeleton")
    graphdef, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)

    def loss(params):
        model = nnx.merge(graphdef, params, stats, copy=True)
        output = model.with_streams(inputs, nnx.Rngs(dropout=0))
        return jnp.square(output.logits).sum(), nnx.state(model, nnx.BatchStat)

    gradients, after = jax.jit(jax.grad(loss, has_aux=True))(params)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradients["streams"]))
    assert any((leaf != 0).any() for leaf in jax.tree.leaves(gradients["hidden"]))
    jax.tree.map(np.testing.assert_array_equal, stats, after)


def test_stream_logits_are_those_of_the_streams_alone():
    model = small_model("depth", "skeleton")
    model.eval()
    inputs = clips("depth", "skeleton")
    output = apply_with_streams(model, inputs)
    np.testing.assert_allclose(output.logits, apply(model, inputs), atol=1e-6)
    for name, logits in output.stream_logits.items():
        np.testing.assert_allclose(logits, classify(model.streams[name], inputs[name]), atol=1e-6)


@pytest.mark.parametrize("stream", ["depth", "inertial"])
def test_single_stream_is_its_encoder(stream):
    model = changed_model((stream,), inertial={"members": 1})
    assert isinstance(model, SingleStream)
    model.eval()
    inputs = clips(stream)
    np.testing.assert_array_equal(apply(model, inputs), classify(model.streams[stream], inputs[stream]))
    output = apply_with_streams(model, inputs)
    np.testing.assert_array_equal(output.logits, apply(model, inputs))
    assert output.stream_logits == {}


def test_dropout_is_decided_by_the_key():
    model = small_model("depth", "skeleton")
    model.train()
    inputs = clips("depth", "skeleton")

    def logits(seed):
        output = apply_with_streams(model, inputs, nnx.Rngs(dropout=jax.random.key(seed)))
        return np.stack([output.logits, *output.stream_logits.values()])

    np.testing.assert_array_equal(logits(0), logits(0))
    assert (np.abs(logits(0) - logits(1)).max(axis=(1, 2)) > 1e-6).all()


def test_training_without_a_key_is_an_error():
    model = small_model("skeleton")
    model.train()
    with pytest.raises(ValueError, match="rngs"):
        model(clips("skeleton"))


def test_splitting_gives_parameters_and_statistics_only():
    model = small_model("depth", "skeleton")
    _, params, stats, rest = nnx.split(model, nnx.Param, nnx.BatchStat, ...)
    assert jax.tree.leaves(params) and jax.tree.leaves(stats) and not jax.tree.leaves(rest)


def test_lowering_and_recurrence_switch_for_the_whole_model():
    model = small_model("depth", "skeleton")
    model.eval()
    inputs = clips("depth", "skeleton")
    expected = apply(model, inputs)
    model.set_attributes(lowering="native")
    model.set_attributes(recurrence="unrolled")
    lowerings = {module.lowering for _, module in nnx.iter_modules(model) if hasattr(module, "lowering")}
    assert lowerings == {"native"}
    np.testing.assert_allclose(apply(model, inputs), expected, atol=1e-5)


def test_the_same_seed_gives_the_same_parameters():
    first, second, other = (
        jax.tree.leaves(nnx.state(create_model(small_config(), ("skeleton",), SHAPES, 27, rngs=nnx.Rngs(s))))
        for s in (0, 0, 1)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_dtype_reaches_the_convolutions():
    assert changed_model(("depth",), dtype="bfloat16").streams["depth"].stem.dtype == jnp.bfloat16
    found = changed_model(("depth",), dtype="bfloat16", depth_members=("pose",)).streams["depth"].pose
    assert {found.stem.conv.dtype, found.blocks[3].conv.dtype} == {jnp.dtype(jnp.bfloat16)}
    assert found.head.dtype == jnp.float32


@pytest.mark.parametrize(
    ("streams", "changes", "message"),
    [
        (("dept", "skeleton"), {}, "'dept' was given.*did you mean 'depth'"),
        ((), {}, "no stream"),
        (("depth",), {"dtype": "float23"}, "did you mean 'float32'"),
        (("depth",), {"video": {"depth": 19}}, "depth 19 was given"),
        (("skeleton",), {"skeleton": {"pooling": "first"}}, "'first' was given"),
        (("skeleton",), {"skeleton": {"descriptions": ()}}, "0 descriptions were given"),
        (("inertial",), {"inertial": {"stem_width": 4}}, "stem_width 4 was given"),
        (("inertial",), {"inertial": {"members": 5}}, "5 members were given"),
        (("skeleton",), {"skeleton": {"members": 0}}, "0 members were given"),
        (("skeleton", "inertial"), {"fusion": {"weights": {"skeleton": 0.0}}}, "fusion.weights .* were given"),
    ],
)
def test_a_config_no_model_can_have_is_refused(streams, changes, message):
    with pytest.raises(HartxError, match=message):
        changed_model(streams, **changes)


def test_fusion_takes_encoders_of_ones_own():
    encoders = {name: SequenceLSTM(6, 8, num_classes=3, rngs=nnx.Rngs(0)) for name in ("left", "right")}
    model = Fusion(encoders, hidden=4, num_classes=3, rngs=nnx.Rngs(0))
    model.eval()
    inputs = {name: jnp.ones((2, 5, 6)) for name in encoders}
    assert model(inputs).shape == (2, 3)


@pytest.mark.parametrize("streams", [("skeleton",), ("depth", "skeleton")])
def test_features_are_what_the_classifier_reads(streams):
    model = small_model(*streams)
    model.eval()
    inputs = clips(*streams)
    features = nnx.jit(lambda model, inputs: model.features(inputs))(model, inputs)
    output = apply_with_streams(model, inputs)
    if len(streams) == 1:
        expected = model.streams[streams[0]].classify(features)
    else:
        expected = sum(output.stream_logits.values()) / len(streams) + model.classifier(features)
    np.testing.assert_allclose(output.logits, expected, atol=1e-5)
