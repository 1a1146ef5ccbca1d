"""The 3D ResNet-18 of hartx.models in PyTorch, for the benchmarks beside it, which start it where torch is installed.

Takes a setting as JSON; for each line on its input it does its task once, "train" (a training step) or "predict"
(logits, in float32 or bfloat16), and prints its seconds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

LEARNING_RATE = 1e-3


def conv(channels_in: int, channels_out: int, size: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution and BatchNorm."""
    return nn.Sequential(
        nn.Conv3d(channels_in, channels_out, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm3d(channels_out),
    )


class BasicBlock(nn.Module):
    """Two 3x3x3 convolutions and a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv(channels_in, channels, 3, stride)
        self.conv2 = conv(channels, channels, 3)
        same = stride == 1 and channels_in == channels
        self.shortcut = nn.Identity() if same else conv(channels_in, channels, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv2(torch.relu(self.conv1(x))) + self.shortcut(x))


def resnet18(width: int, num_classes: int = 27) -> nn.Sequential:
    """Return the network."""
    layers = [conv(3, width, 7, 2), nn.ReLU(), nn.MaxPool3d(3, 2, padding=1)]
    channels_in = width
    for stage in range(4):
        for index in range(2):
            channels = width * 2**stage
            layers.append(BasicBlock(channels_in, channels, 2 if stage and not index else 1))
            channels_in = channels
    layers += [nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(channels_in, num_classes)]
    model = nn.Sequential(*layers)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters in PyTorch", file=sys.stderr)
    return model


def train_step(setting: dict[str, Any]) -> Callable[[], None]:
    """Return a training step in float32."""
    model = resnet18(setting["width"])
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    labels = torch.zeros(setting["batch"], dtype=torch.long)
    clips = make_clips(setting)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(clips), labels).backward()
        optimizer.step()

    return step


def prediction(setting: dict[str, Any]) -> Callable[[], None]:
    """Return a prediction, BatchNorm folded into the convolutions and the graph compiled ahead (TorchScript)."""
    dtype = getattr(torch, setting["dtype"])
    clips = make_clips(setting).to(dtype)
    model = resnet18(setting["width"]).eval()
    with torch.inference_mode():
        traced = torch.jit.optimize_for_inference(torch.jit.trace(model.to(dtype), clips))

    def step() -> None:
        with torch.inference_mode():
            traced(clips)

    return step


def make_clips(setting: dict[str, Any]) -> torch.Tensor:
    """Return a batch of random clips."""
    return torch.randn(setting["batch"], 3, setting["frames"], setting["size"], setting["size"])


def main() -> None:
    """Do the task for each line of input."""
    setting = json.loads(sys.argv[1])
    step = {"train": train_step, "predict": prediction}[setting["task"]](setting)
    for _ in sys.stdin:
        started = time.perf_counter()
        step()
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
