"""Which channels go together, which are kept, and that nothing else changes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from hartx.errors import HartxError
from hartx.models import Fusion, ResNet3D, SingleStream, SkeletonLSTM
from hartx.models.resnet3d import regular_widths
from hartx.pruning.importance import importance
from hartx.pruning.plan import Budget, choose
from hartx.pruning.structure import STEM, read_structure
from hartx.pruning.surgery import keep_channels
from hartx.summary import model_costs

SHAPE = (4, 16, 16, 1)


def make_network(depth=18, width=4, **widths):
    return ResNet3D(depth, width=width, in_channels=1, num_classes=5, **widths, rngs=nnx.Rngs(0))


def make_model(fused, **widths):
    """A model of one 3D network, alone or beside skeletons."""
    video = make_network(10, **widths)
    if not fused:
        return SingleStream("depth", video)
    skeleton = SkeletonLSTM(75, features=4, layers=1, num_classes=5, rngs=nnx.Rngs(1))
    return Fusion({"skeleton": skeleton, "depth": video}, hidden=6, num_classes=5, rngs=nnx.Rngs(2))


def filled(model):
    """The model in evaluation mode with random parameters and statistics, as training would leave them."""
    rng = np.random.default_rng(0)

    def fill(path, value):
        if value.ndim > 1:
            return jnp.asarray(rng.normal(size=value.shape) * np.sqrt(2 / np.prod(value.shape[:-1])), jnp.float32)
        return jnp.asarray(rng.uniform(0.3, 0.9, value.shape), jnp.float32)

    nnx.update(model, jax.tree_util.tree_map_with_path(fill, nnx.state(model)))
    model.eval()
    return model


def without(state, structure, kept):
    """The state with scale and bias of all that is not kept set to 0."""
    flat = dict(nnx.to_flat_state(state))
    for layer in structure.layers:
        gone = [c for c in range(structure.sizes[layer.writes]) if c not in kept[layer.writes]]
        for name in ("scale", "bias"):
            path = ("streams", "depth", *layer.norm, name)
            flat[path] = flat[path].replace(flat[path][...].at[jnp.asarray(gone, int)].set(0.0))
    return nnx.from_flat_state(list(flat.items()))


compute = nnx.jit(lambda model, inputs: model(inputs))
INPUTS = {
    "depth": jax.random.normal(jax.random.key(0), (2, *SHAPE)),
    "skeleton": jax.random.normal(jax.random.key(1), (2, 4, 75)),
}


def widths_of(structure, sizes):
    found = structure.widths(sizes)
    return {"width": sizes[STEM], "inner_widths": found.inner, "stage_widths": found.stages}


@pytest.mark.parametrize("fused", [False, True])
def test_channels_whose_scale_and_bias_are_0_can_go(fused):
    """Half of each group is 0, any half: without them the output is the same."""
    model = filled(make_model(fused))
    structure = read_structure(model.streams["depth"], 10, SHAPE)
    sizes = {group: size // 2 for group, size in structure.sizes.items()}
    smaller = make_model(fused, **widths_of(structure, sizes))
    smaller.eval()
    inputs = {name: INPUTS[name] for name in model.stream_names}
    whole = nnx.state(model)

    @settings(max_examples=15)
    @given(st.fixed_dictionaries({g: st.permutations(range(n)) for g, n in structure.sizes.items()}))
    def holds(order):
        kept = {group: tuple(sorted(order[group][: sizes[group]])) for group in order}
        nnx.update(model, without(whole, structure, kept))
        nnx.update(smaller, keep_channels(model, "depth", structure, kept))
        expected = compute(model, inputs)
        np.testing.assert_allclose(compute(smaller, inputs), expected, atol=1e-5 * float(jnp.abs(expected).max()))

    holds()


@pytest.mark.parametrize("depth", [10, 18, 50])
@pytest.mark.parametrize("time_strides", [(2, 2, 1, 2, 2, 2), (2, 1, 2, 1, 1, 2)])
def test_what_is_kept_has_the_shapes_of_the_network_of_these_widths(depth, time_strides):
    model = nnx.eval_shape(lambda: SingleStream("depth", make_network(depth, time_strides=time_strides)))
    structure = read_structure(model.streams["depth"], depth, SHAPE)
    regular = regular_widths(depth, 4)
    assert widths_of(structure, structure.sizes) == {
        "width": 4,
        "inner_widths": regular.inner,
        "stage_widths": regular.stages,
    }
    rng = np.random.default_rng(depth)
    kept = {group: tuple(range(rng.integers(1, size + 1))) for group, size in structure.sizes.items()}
    sizes = {group: len(channels) for group, channels in kept.items()}
    expected = nnx.eval_shape(
        lambda: SingleStream("depth", make_network(depth, time_strides=time_strides, **widths_of(structure, sizes)))
    )
    left = jax.eval_shape(
        lambda state: keep_channels(nnx.merge(nnx.graphdef(model), state), "depth", structure, kept), nnx.state(model)
    )
    shapes = [{path: leaf.shape for path, leaf in nnx.to_flat_state(state)} for state in (nnx.state(expected), left)]
    assert shapes[0] == shapes[1]
    assert structure.cost(sizes) == (again := read_structure(expected.streams["depth"], depth, SHAPE)).cost(again.sizes)


def test_what_blocks_add_to_each_other_goes_together():
    structure = read_structure(nnx.eval_shape(make_network), 18, SHAPE)
    assert structure.block_outputs == (STEM, STEM, *(f"blocks.{index}" for index in (2, 2, 4, 4, 6, 6)))
    writers = [".".join(map(str, layer.conv)) for layer in structure.layers if layer.writes == "blocks.2"]
    assert writers == ["blocks.2.conv2", "blocks.2.shortcut.conv", "blocks.3.conv2"]


def test_costs_are_those_that_are_counted():
    """Before and after: the parameters exactly, the FLOPs up to what XLA counts beside the convolutions."""
    shape = (8, 32, 32, 1)
    network = nnx.eval_shape(lambda: make_network(10, width=16))
    structure = read_structure(network, 10, shape)
    values = {group: np.random.default_rng(0).uniform(size=size) for group, size in structure.sizes.items()}
    kept = choose(structure, values, Budget(0.6, 0.7))
    sizes = {group: len(channels) for group, channels in kept.items()}
    counted = []
    for widths, planned in (({"width": 16}, structure.sizes), (widths_of(structure, sizes), sizes)):
        model = nnx.eval_shape(lambda widths=widths: SingleStream("depth", make_network(10, **widths)))
        counted.append(model_costs(model, {"depth": shape}))
        assert counted[-1].parameters == structure.cost(planned).parameters
        assert counted[-1].macs == pytest.approx(structure.cost(planned).macs, rel=0.04)
    before, after = counted
    share = structure.cost(sizes).macs / structure.cost(structure.sizes).macs
    assert share <= 0.7 and after.parameters <= 0.6 * before.parameters
    assert after.flops == pytest.approx(share * before.flops, rel=0.02)
    assert after.flops < 0.71 * before.flops


@pytest.fixture(scope="module")
def structure():
    return read_structure(nnx.eval_shape(lambda: make_network(18, width=32)), 18, (16, 64, 64, 1))


def uniform(structure, **special):
    return {group: np.full(size, special.get(group, 1.0)) for group, size in structure.sizes.items()}


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.floats(0.3, 1.0), st.floats(0.4, 1.0))
def test_a_plan_is_within_the_budget_in_multiples_of_8_above_the_floor(structure, seed, parameters, flops):
    rng = np.random.default_rng(seed)
    values = {group: rng.uniform(size=size) for group, size in structure.sizes.items()}
    kept = choose(structure, values, Budget(parameters, flops))
    sizes = {group: len(channels) for group, channels in kept.items()}
    cost, whole = structure.cost(sizes), structure.cost(structure.sizes)
    assert cost.parameters <= parameters * whole.parameters and cost.macs <= flops * whole.macs
    for group, channels in kept.items():
        assert len(channels) % 8 == 0 and len(channels) >= structure.sizes[group] / 4
        assert list(channels) == sorted(set(channels)) and set(channels) <= set(range(structure.sizes[group]))
        left = np.delete(values[group], channels)
        assert not left.size or left.max() <= values[group][list(channels)].min()


def test_what_matters_least_goes_first(structure):
    kept = choose(structure, uniform(structure, **{"blocks.5.conv1": 1e-6}), Budget(0.95, 1.0))
    assert {group for group, channels in kept.items() if len(channels) < structure.sizes[group]} == {"blocks.5.conv1"}


def test_no_group_goes_below_a_quarter(structure):
    kept = choose(structure, uniform(structure, **{"blocks.5.conv1": 0.0}), Budget(0.9, 1.0))
    assert len(kept["blocks.5.conv1"]) == structure.sizes["blocks.5.conv1"] / 4


def test_a_budget_of_flops_falls_on_layers_that_have_them(structure):
    kept = choose(structure, uniform(structure), Budget(1.0, 0.8))
    assert len(kept[STEM]) < structure.sizes[STEM] and len(kept["blocks.6"]) == structure.sizes["blocks.6"]


def test_nothing_goes_where_everything_may_stay(structure):
    kept = choose(structure, uniform(structure), Budget(1.0, 1.0))
    assert {group: len(channels) for group, channels in kept.items()} == structure.sizes


def test_more_than_the_floors_allow_is_refused_and_the_least_is_named(structure):
    with pytest.raises(HartxError, match=r"keep_parameters=0\.01 .* leaves 0\.\d+ of the parameters"):
        choose(structure, uniform(structure), Budget(0.01, 1.0))


def test_importance_is_what_the_loss_loses_to_first_order():
    """Against a difference quotient of a gate behind the BatchNorms; and 0 where they are 0."""
    model = filled(make_model(fused=False))
    structure = read_structure(model.streams["depth"], 10, SHAPE)
    kept = {group: tuple(range(1, size)) for group, size in structure.sizes.items()}
    nnx.update(model, without(nnx.state(model), structure, kept))
    batch = {"inputs": {"depth": INPUTS["depth"]}, "label": np.array([1, 3], np.int32)}
    found = importance(model, "depth", structure, [batch, batch], 0.1)
    assert {group: len(values) for group, values in found.items()} == structure.sizes
    assert all(values[0] == 0 and (values[1:] > 0).any() for values in found.values())

    def loss(gate, group, channel):
        nnx.update(model, state)
        for layer in structure.layers:
            if layer.writes == group:
                norm = model.streams["depth"]
                for step in layer.norm:
                    norm = norm[step] if isinstance(step, int) else getattr(norm, step)
                for values in (norm.scale, norm.bias):
                    values[...] = values[...].at[channel].multiply(gate)
        targets = np.eye(5)[batch["label"]] * 0.9 + 0.1 / 5
        return float(-(targets * jax.nn.log_softmax(compute(model, batch["inputs"]))).sum(-1).mean())

    state = jax.tree.map(jnp.copy, nnx.state(model))
    for group in (STEM, "blocks.1", "blocks.3.conv1"):
        channel = int(found[group].argmax())
        slope = (loss(1.01, group, channel) - loss(0.99, group, channel)) / 0.02
        assert found[group][channel] == pytest.approx(slope**2, rel=0.05)
