"""Counts of the summary against what can be worked out by hand."""

from __future__ import annotations

import io
import subprocess
import sys

import jax
import pytest
from flax import nnx
from rich.console import Console

from configs import base
from hartx.models import ResNet3D, SequenceLSTM, SingleStream, create_model
from hartx.summary import model_costs, model_layers, print_summary


def seen_by_taps(size, kernel, stride):
    """Along one axis, how many kernel positions lie on the input, over all outputs; and the output's size."""
    padding = kernel // 2
    outputs = (size + 2 * padding - kernel) // stride + 1
    inside = sum(0 <= o * stride + k - padding < size for o in range(outputs) for k in range(kernel))
    return inside, outputs


def convolution_macs(shape, kernel, stride, channels_in, channels_out):
    """Multiplications of a 3D convolution outside its padding, and the output's (T, H, W)."""
    seen = [seen_by_taps(size, kernel, stride) for size in shape]
    macs = channels_in * channels_out
    for inside, _ in seen:
        macs *= inside
    return macs, tuple(outputs for _, outputs in seen)


def resnet18_macs(shape, width=64, in_channels=3, num_classes=27):
    total, shape = convolution_macs(shape, 7, 2, in_channels, width)
    shape = tuple((size - 1) // 2 + 1 for size in shape)
    channels = width
    for stage in range(4):
        out = width * 2**stage
        stride = 2 if stage else 1
        macs, reduced = convolution_macs(shape, 3, stride, channels, out)
        total += macs + 3 * convolution_macs(reduced, 3, 1, out, out)[0]
        if stage:
            total += convolution_macs(shape, 1, stride, channels, out)[0]
        shape, channels = reduced, out
    return total + channels * num_classes


def test_costs_of_the_design():
    model = nnx.eval_shape(lambda: SingleStream("rgb", ResNet3D(rngs=nnx.Rngs(0))))
    costs = model_costs(model, {"rgb": (16, 224, 224, 3)})
    assert costs.parameters == 33_217_755
    assert costs.flops == pytest.approx(25.5e9, rel=0.01)
    assert costs.macs == pytest.approx(12.75e9, rel=0.01)
    assert costs.macs == pytest.approx(resnet18_macs((16, 224, 224)), rel=0.01)
    assert costs.peak_memory_bytes > 4 * costs.parameters


def test_costs_are_those_of_a_cpu_whatever_device_is_the_default(monkeypatch):
    """On an H200 the network of the design was said to take 0.07 GFLOPs: cuDNN's convolutions are not counted."""
    model = SingleStream("skeleton", SequenceLSTM(6, 8, layers=1, rngs=nnx.Rngs(0)))
    asked, used = [], []
    real_devices, real_default = jax.local_devices, jax.default_device
    monkeypatch.setattr(jax, "local_devices", lambda backend: asked.append(backend) or real_devices(backend=backend))
    monkeypatch.setattr(jax, "default_device", lambda device: used.append(device) or real_default(device))
    expected = model_costs(model, {"skeleton": (4, 6)})
    assert asked == ["cpu"] and used == real_devices(backend="cpu")[:1]

    def no_cpu(backend):
        raise RuntimeError(f"Unknown backend {backend}")

    monkeypatch.setattr(jax, "local_devices", no_cpu)
    assert model_costs(model, {"skeleton": (4, 6)}) == expected and used[1:] == [None]


def test_every_step_of_the_recurrence_counts():
    model = SingleStream("skeleton", SequenceLSTM(6, 32, layers=1, rngs=nnx.Rngs(0)))
    model.train()
    short, long = (model_costs(model, {"skeleton": (steps, 6)}).macs for steps in (8, 16))
    per_step = 4 * 32 * (6 + 32)
    # What comes on top is the gates' sigmoids and products, which XLA counts, too.
    assert 8 * per_step <= long - short <= 2 * 8 * per_step
    # The model itself is left as it was.
    assert model.streams["skeleton"].layers[0].forward.recurrence == "scan"
    assert model.streams["skeleton"].dropout.deterministic is False


def test_layers_hold_all_parameters():
    model = SingleStream("rgb", ResNet3D(10, width=4, rngs=nnx.Rngs(0)))
    layers = model_layers(model)
    names = [layer.name for layer in layers]
    assert names.index("streams.rgb.stem") < names.index("streams.rgb.blocks.0.conv1")
    stem = layers[names.index("streams.rgb.stem")]
    assert stem.shapes == {"kernel": (7, 7, 7, 3, 4)}
    assert stem.parameters == 7 * 7 * 7 * 3 * 4
    assert sum(layer.parameters for layer in layers) == model_costs(model, {"rgb": (2, 8, 8, 3)}).parameters


def test_what_is_printed():
    config = base.get_config()
    config.clip.skeleton_frames = 8
    console = Console(file=io.StringIO(), width=120)
    print_summary(config, console)
    printed = console.file.getvalue()
    assert "skeleton 8x75" in printed
    assert "streams.skeleton.members.0.layers.0.forward" in printed
    shapes = {"skeleton": (8, 75)}
    model = nnx.eval_shape(lambda: create_model(config.model, ("skeleton",), shapes, 27, rngs=nnx.Rngs(0)))
    assert f"{model_costs(model, shapes).parameters:,}" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config=configs/skeleton.py", "--config.model.video.dept=3"], "dept"),
        (["--config=configs/fusion.py:dept"], "one of rgb, skeleton_inertial, depth"),
        ([], "--config=configs/fusion.py"),
    ],
)
def test_mistakes_on_the_command_line(arguments, message, repository):
    done = subprocess.run(
        [sys.executable, "-m", "hartx.summary", *arguments], cwd=repository, capture_output=True, text=True
    )
    assert done.returncode in (1, 2)
    assert message in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
