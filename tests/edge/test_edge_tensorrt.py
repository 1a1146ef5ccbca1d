"""The tensorrt engine on a device that is made up: what `export.tensorrt` writes is what it loads, or refuses."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("tests.export.fake_tensorrt", reason="export and its tests are not here, only edge")

from edge.engines import tensorrt as tensorrt_engine
from edge.engines.choice import choose, find_engine
from edge.engines.cuda import Gpu
from edge.errors import EdgeError
from edge.recognizer import ActionRecognizer
from export.tensorrt import choose as choosing
from export.tensorrt import command
from export.tensorrt.__main__ import main as build
from tests.export.fake_tensorrt import FakeCuda, World, make_tensorrt
from tests.export.tensorrt_bundle import DEPTH, write_bundle
from tests.export.tensorrt_names import read_api

ORIN = Gpu("Orin", "8.7", "R36, CUDA 12.6", 16)
RELEASES = [release for release in read_api() if release != "rtx"]


@pytest.fixture
def device(monkeypatch):
    """A function that puts a release and a GPU on this machine, and returns what is known of the device."""

    def install(release: str = "10.3.0", gpu: Gpu = ORIN) -> World:
        world = World()
        module = make_tensorrt(release, world)
        module.__spec__ = object()
        monkeypatch.setitem(sys.modules, "tensorrt", module)
        monkeypatch.setattr("edge.engines.cuda.has_driver", lambda: True)
        for place in (command, tensorrt_engine):
            monkeypatch.setattr(place, "Cuda", lambda: FakeCuda(world, gpu))
        monkeypatch.setattr(choosing, "time", SimpleNamespace(perf_counter=lambda: world.now))
        return world

    return install


@pytest.fixture
def folder(tmp_path, device, capsys):
    """A bundle with an int8 engine in it, by TensorRT 10.3.0 on an Orin."""
    device()
    folder = write_bundle(tmp_path / "a", top1={"fp32": 0.9, "int8": 0.899})
    assert build([f"--bundle={folder}", "--iterations=5"]) == 0, capsys.readouterr().err
    return folder


def depth() -> np.ndarray:
    frames = np.zeros((10, 60, 80), np.uint16)
    frames[:, 15:45, 20:40] = 2300
    return frames


@pytest.mark.parametrize("release", RELEASES)
def test_the_recogniser_runs_the_engine_that_export_wrote(release, device, tmp_path):
    world = device(release)
    folder = write_bundle(tmp_path / "a", top1={"fp32": 0.9, "int8": 0.899})
    assert build([f"--bundle={folder}", "--iterations=5"]) == 0
    before = world.now
    recognizer = ActionRecognizer.from_bundle(folder)
    assert (recognizer.engine.name, recognizer.precision) == ("tensorrt", "int8")
    prediction = recognizer.predict(depth())
    assert prediction.confidence == pytest.approx(1 / 3)  # it gives 1.5 for every class
    assert world.now - before == pytest.approx(2 * 0.003)  # the warm-up and the prediction
    sizes = {array.nbytes for array in world.memory.values()}
    assert sizes == {4 * np.prod(DEPTH.shape), 4 * 6 * 75, 4 * 3}


@pytest.mark.parametrize(
    ("release", "gpu", "reason"),
    [
        ("10.13.3.9", ORIN, "TensorRT version(.|\n)*says 10.3.0, here it is 10.13.3.9"),
        ("10.3.0", Gpu("Thor", "11.0", "R38", 20), "GPU(.|\n)*says Orin, here it is Thor"),
    ],
)
def test_an_engine_of_another_device_is_refused_by_name_and_passed_over_by_itself(release, gpu, reason, device, folder):
    device(release, gpu)
    with pytest.raises(EdgeError, match=reason + r"(.|\n)*python -m export.tensorrt"):
        ActionRecognizer.from_bundle(folder, "tensorrt")
    recognizer = ActionRecognizer.from_bundle(folder, precision="fp32")
    assert recognizer.engine.name != "tensorrt"
    assert "tensorrt: " in choose(recognizer.bundle).why and "is not for this device" in choose(recognizer.bundle).why


def test_a_damaged_engine_is_refused_before_tensorrt_sees_it(device, folder, monkeypatch):
    engine = folder / "engine"
    engine.write_bytes(engine.read_bytes()[:-1] + b"x")
    monkeypatch.setattr(tensorrt_engine, "Runner", lambda *_: pytest.fail("the engine was loaded"))
    with pytest.raises(EdgeError, match="sha256"):
        ActionRecognizer.from_bundle(folder, "tensorrt")


def test_the_hash_is_compared_again_when_it_is_loaded(device, folder):
    (folder / "engine").write_bytes(b"x")
    with pytest.raises(EdgeError, match="size in bytes"):
        find_engine("tensorrt").engine_class(folder / "engine", None)


def test_without_an_engine_the_error_says_how_to_build_it(device, tmp_path):
    device()
    folder = write_bundle(tmp_path / "b", top1={"fp32": 0.9})
    with pytest.raises(EdgeError, match=r"there is no .*engine\n  Build it here: python -m export.tensorrt"):
        ActionRecognizer.from_bundle(folder, "tensorrt")


def test_another_thread_may_run_the_engine(device, folder, monkeypatch):
    """CUDA keeps which GPU is used by thread."""
    device()
    current = threading.local()
    monkeypatch.setattr(FakeCuda, "use_here", lambda self: setattr(current, "gpu", True), raising=False)
    monkeypatch.setattr(FakeCuda, "wait", lambda self: current.gpu)
    recognizer = ActionRecognizer.from_bundle(folder, "tensorrt")
    results = []
    thread = threading.Thread(target=lambda: results.append(recognizer.predict(depth())))
    thread.start()
    thread.join()
    assert len(results) == 1
