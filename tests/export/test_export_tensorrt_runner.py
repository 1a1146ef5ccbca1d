"""What runs an engine, on a device that is made up."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from edge.engines.cuda import Gpu
from edge.engines.tensorrt import Runner
from edge.errors import EdgeError
from tests.export.fake_tensorrt import FakeCuda, World, make_tensorrt

ORIN = Gpu("Orin", "8.7", "R36, CUDA 12.6", 16)


@pytest.fixture
def world() -> World:
    return World()


def test_half_precision_outputs_come_back_as_floats(world):
    trt = make_tensorrt("10.3.0", world)
    note = {"precision": "fp16", "profiles": {}, "inputs": ["video", "skeleton"]}
    runner = Runner(
        trt, SimpleNamespace(errors=[]), FakeCuda(world, ORIN), b"fake engine " + json.dumps(note).encode() + b"."
    )
    for batch in (1, 4, 2):
        video, skeleton = np.zeros((batch, 1, 4, 16, 16), np.float32), np.zeros((batch, 6, 75), np.float32)
        logits = runner.run({"video": video, "skeleton": skeleton})
        assert logits.dtype == np.float32 and (logits == 1.5).all() and logits.shape == (batch, 3)
    assert len(world.memory) == 3
    runner.close()
    assert world.memory == {}


def test_a_batch_beyond_the_profile_is_refused(world):
    trt = make_tensorrt("10.3.0", world)
    shape = [1, 1, 4, 16, 16]
    note = {"precision": "fp32", "profiles": {"video": [shape, shape, shape]}, "inputs": ["video"]}
    runner = Runner(
        trt, SimpleNamespace(errors=[]), FakeCuda(world, ORIN), b"fake engine " + json.dumps(note).encode() + b"."
    )
    with pytest.raises(EdgeError, match=r"takes no video of shape \(2, 1, 4, 16, 16\)"):
        runner.run({"video": np.zeros((2, 1, 4, 16, 16), np.float32)})


def test_a_corrupt_engine_with_a_right_hash_is_an_error_of_tensorrt(world):
    trt = make_tensorrt("10.3.0", world)
    logger = SimpleNamespace(errors=[], log=lambda _, text: logger.errors.append(text))
    with pytest.raises(EdgeError, match="cannot load the engine: the engine plan is corrupt"):
        Runner(trt, logger, FakeCuda(world, ORIN), b"fake engine {")
