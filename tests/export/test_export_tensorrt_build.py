"""The whole command on a device that is made up: every release's names, every way it can go wrong."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edge.bundle import read_bundle
from edge.engines.cuda import Gpu
from edge.errors import EdgeError
from export.tensorrt import builder, command, record
from export.tensorrt import choose as choosing
from export.tensorrt.__main__ import main
from export.tensorrt.choose import Candidate, choose, judge
from tests.export.fake_tensorrt import FakeCuda, World, make_tensorrt
from tests.export.tensorrt_bundle import make_model, seal, write_bundle
from tests.export.tensorrt_names import read_api

RELEASES = list(read_api())
BOTH = {"fp32": 0.9, "int8": 0.898}
ORIN = Gpu("Orin", "8.7", "R36, CUDA 12.6", 16)


@pytest.fixture
def world(monkeypatch) -> World:
    """A device whose clock moves only while an engine runs."""
    world = World()
    monkeypatch.setattr(choosing, "time", SimpleNamespace(perf_counter=lambda: world.now))
    return world


@pytest.fixture
def device(world, monkeypatch):
    """A function that puts a release, and a GPU, on the device."""

    def install(release: str, gpu: Gpu = ORIN) -> None:
        monkeypatch.setitem(sys.modules, "tensorrt", make_tensorrt(release, world))
        monkeypatch.setattr(command, "Cuda", lambda: FakeCuda(world, gpu))

    return install


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_bundle(tmp_path / "a", top1=BOTH)


def build(folder: Path, *options: str) -> int:
    return main([f"--bundle={folder}", "--iterations=5", *options])


def record_of(folder: Path) -> dict:
    return json.loads((folder / "engine.json").read_text())


# --- every release ------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", RELEASES)
def test_both_are_built_timed_and_the_faster_one_is_kept_and_loads(release, device, world, folder, capsys):
    device(release)
    assert build(folder, "--max_batch=2") == 0, capsys.readouterr().err
    record = record_of(folder)
    floats = "fp32" if release.startswith(("11", "rtx")) else "fp16"
    assert [made["precision"] for made in world.built] == [floats, "int8"]
    assert record["precision"] == "int8"
    assert {c["precision"]: c["latency_ms"] for c in record["candidates"]} == pytest.approx(
        {floats: world.latency_ms[floats], "int8": 3.0}
    )
    assert (record["tensorrt_version"], record["gpu"]["compute_capability"]) == (release, "8.7")
    described = json.loads((folder / "bundle.json").read_text())["files"]
    assert record["source"] == {"file": "model.int8.onnx", "sha256": described["model.int8.onnx"]["sha256"]}
    assert world.memory == {}, "memory of the GPU was not given back"
    printed = capsys.readouterr().out
    assert (
        "kept int8: the fastest that holds the budget of 0.5 points" in printed and "0.20 points below fp32" in printed
    )
    assert build(folder, "--check") == 0
    assert "int8, 3.00 ms" in capsys.readouterr().out
    assert not list(folder.glob(".*")), "a temporary file was left"


@pytest.mark.parametrize("release", [r for r in RELEASES if not r.startswith(("11", "rtx"))])
def test_implicit_calibration_hands_over_the_scales(release, device, world, folder):
    device(release)
    assert build(folder, "--calibrator=implicit", "--precision=int8") == 0
    (made,) = world.built
    assert made["source"] == "model.fp32.onnx" and made["builder_flags"] == {"FP16", "INT8"}
    lines = made["scales"].decode().splitlines()
    assert lines[0].endswith("-EntropyCalibration2")
    assert [line.split(":")[0] for line in lines[1:]] == ["features", "video"]


def test_timings_of_kernels_are_kept_and_those_of_another_device_are_not_taken(device, world, folder):
    device("10.3.0")
    build(folder)
    build(folder)
    assert [made["cache"] for made in world.built] == [b"", *[b"timings of fake"] * 3]
    (folder / "timing.cache").write_bytes(b"timings of a real one")
    build(folder)
    assert world.built[4]["cache"] == b""


def test_a_fixed_batch_is_built_without_profiles(device, world, tmp_path):
    device("8.6.1")
    folder = write_bundle(tmp_path / "b", top1={"fp32": 0.9}, models={"fp32": make_model(batch=3)})
    assert build(folder) == 0
    assert world.built[0]["profiles"] == {}


# --- which one is kept --------------------------------------------------------------------------------


def test_int8_that_is_slower_is_not_kept(device, world, folder, capsys):
    device("10.3.0")
    world.latency_ms["int8"] = 5.5
    build(folder)
    assert record_of(folder)["precision"] == "fp16"
    assert "fp16 5.00 ms" in capsys.readouterr().out


@pytest.mark.parametrize(("top1", "why"), [(0.88, "2.00 points below fp32, too many"), (None, "accuracy not measured")])
def test_int8_that_loses_too_much_or_nobody_knows_is_kept_by_name_only(top1, why, device, tmp_path, capsys):
    device("10.3.0")
    folder = write_bundle(tmp_path / "b", top1={"fp32": 0.9, "int8": top1})
    build(folder)
    assert record_of(folder)["precision"] == "fp16"
    assert why in capsys.readouterr().out
    build(folder, "--precision=int8")
    assert record_of(folder)["precision"] == "int8"
    assert "int8: it was asked for" in capsys.readouterr().out


def test_the_budget_may_be_widened(device, tmp_path):
    device("10.3.0")
    folder = write_bundle(tmp_path / "b", top1={"fp32": 0.9, "int8": 0.88})
    build(folder, "--max_drop=2")
    assert record_of(folder)["precision"] == "int8"


def test_if_nothing_holds_the_budget_nothing_is_kept():
    candidates = (Candidate("fp16", 5.0, 0.8, 10.0), Candidate("int8", 3.0, 0.7, 20.0))
    with pytest.raises(EdgeError, match=r"no engine holds the budget(.|\n)*--max_drop"):
        choose(candidates, 0.5, by_name=False)


def test_a_drop_of_exactly_the_budget_holds_it():
    assert choose((Candidate("int8", 3.0, 0.895, 0.5),), 0.5, by_name=False).kept.precision == "int8"


def test_a_gpu_without_int8_gets_half_precision(device, world, folder, capsys):
    world.int8 = False
    device("8.6.1", Gpu("NVIDIA Tegra X1", "5.3", "R32", 1))
    assert build(folder) == 0
    assert [made["precision"] for made in world.built] == ["fp16"]
    assert "NVIDIA Tegra X1 (compute capability 5.3) has no int8 arithmetic" in capsys.readouterr().out
    assert build(folder, "--precision=int8") == 1
    assert "Take --precision=fp16" in capsys.readouterr().err


def test_engines_take_turns(world, monkeypatch):
    order = []

    class Runs:
        def __init__(self, name):
            self.name = name

        def run(self, inputs):
            order.append(self.name)
            return np.zeros((1, 3))

    choosing.time_in_turns({"a": Runs("a"), "b": Runs("b")}, {}, warmup=1, iterations=3)
    assert "".join(order) == "baabbaab"


# --- what goes wrong ------------------------------------------------------------------------------------


@pytest.fixture
def built(device, folder, capsys) -> Path:
    """A bundle with an engine in it, by TensorRT 10.3.0 on an Orin."""
    device("10.3.0")
    assert build(folder) == 0
    capsys.readouterr()
    return folder


def truncate(folder, device):
    engine = folder / "engine"
    engine.write_bytes(engine.read_bytes()[:-20])
    return "size in bytes"


def change_a_byte(folder, device):
    engine = folder / "engine"
    engine.write_bytes(b"F" + engine.read_bytes()[1:])
    return "sha256"


def another_release(folder, device):
    device("10.13.3.9")
    return "TensorRT version(.|\n)*says 10.3.0, here it is 10.13.3.9"


def another_gpu(folder, device):
    device("10.3.0", Gpu("Thor", "11.0", "R38", 20))
    return "GPU(.|\n)*says Orin, here it is Thor"


def another_capability(folder, device):
    device("10.3.0", Gpu("Orin", "8.6", "R36", 16))
    return "compute capability"


def another_module(folder, device):
    device("10.3.0", Gpu("Orin", "8.7", "R36", 8))
    return "number of multiprocessors(.|\n)*says 16, here it is 8"


def another_model(folder, device):
    model = make_model(qdq=True)
    model.producer_name = "exported again"
    (folder / "model.int8.onnx").write_bytes(model.SerializeToString())
    engine, record = ((folder / name).read_bytes() for name in ("engine", "engine.json"))
    for name in ("engine", "engine.json", "timing.cache"):
        (folder / name).unlink()
    seal(folder, BOTH, {})
    (folder / "engine").write_bytes(engine)
    (folder / "engine.json").write_bytes(record)
    return "sha256 of model.int8.onnx"


def no_record(folder, device):
    (folder / "engine.json").unlink()
    return "there is no .*engine.json"


def no_engine(folder, device):
    (folder / "engine").unlink()
    return "there is no .*engine"


def damaged_record(folder, device):
    (folder / "engine.json").write_text('{"gpu": ')
    return "cannot be read as JSON"


def record_without_a_field(folder, device):
    record = record_of(folder)
    del record["gpu"]
    (folder / "engine.json").write_text(json.dumps(record))
    return "lacks the field 'gpu'"


def record_of_another_format(folder, device):
    (folder / "engine.json").write_text(json.dumps({**record_of(folder), "format_version": 3}))
    return "format version"


FAULTS = [
    truncate,
    change_a_byte,
    another_release,
    another_gpu,
    another_capability,
    another_module,
    another_model,
    no_record,
    no_engine,
]
FAULTS += [damaged_record, record_without_a_field, record_of_another_format]


@pytest.mark.parametrize("damage", FAULTS, ids=lambda damage: damage.__name__)
def test_an_engine_that_does_not_belong_here_is_not_loaded(damage, built, device, capsys, monkeypatch):
    pattern = damage(built, device)
    monkeypatch.setattr(command, "Runner", lambda *_: pytest.fail("the engine was loaded"))
    assert build(built, "--check") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "python -m export.tensorrt --bundle=" in error
    with pytest.raises(EdgeError, match=pattern):
        raise EdgeError(error)


def test_builds_that_fail_say_why_and_leave_the_engine_that_was_there(built, world, capsys):
    before = (built / "engine").read_bytes()
    world.refuses = ("fp16", "int8")
    assert build(built) == 1
    error = capsys.readouterr().err
    assert "cannot build int8 from" in error and "Could not find any implementation for node conv" in error
    assert (built / "engine").read_bytes() == before


def test_a_budget_that_is_given_holds_for_a_named_precision(device, world, folder, capsys):
    device("10.3.0")
    assert build(folder, "--precision=int8", "--max_drop=0") == 1
    captured = capsys.readouterr()
    assert "loses at most 0 points" in captured.out and "no engine holds the budget" in captured.err
    assert build(folder, "--precision=int8") == 0
    assert "kept: what was asked for" in capsys.readouterr().out


@pytest.mark.parametrize("lacking", ["fp16", "int8"])
@pytest.mark.parametrize("fault", ["refuses", "infinite"])
def test_one_engine_that_fails_leaves_the_other(device, world, folder, capsys, lacking, fault):
    device("10.3.0")
    setattr(world, fault, (lacking,))
    assert build(folder) == 0
    said = capsys.readouterr().out
    assert f"{lacking} is left out: " in said
    record = record_of(folder)
    assert {record["precision"], lacking} == {"fp16", "int8"}
    assert [entry["precision"] for entry in record["candidates"]] == [record["precision"]]
    assert [entry["precision"] for entry in record["plan"]["builds"]] == [record["precision"]]
    assert world.memory == {}


def test_an_fp16_model_that_is_refused_gives_way_to_the_flag(device, world, tmp_path, capsys, monkeypatch):
    device("10.3.0")
    folder = write_bundle(tmp_path / "b", top1={"fp32": 0.9, "fp16": 0.9})
    real = builder.build_engine

    def refuse(trt, logger, plan, build, *more):
        if build.source == "model.fp16.onnx":
            raise EdgeError("Float and Half")
        return real(trt, logger, plan, build, *more)

    monkeypatch.setattr(command, "build_engine", refuse)
    assert build(folder) == 0
    assert "fp16 from model.fp16.onnx is left out: Float and Half" in capsys.readouterr().out
    record = record_of(folder)
    assert (record["precision"], record["source"]["file"]) == ("fp16", "model.fp32.onnx")
    assert [entry["builder_flags"] for entry in record["plan"]["builds"]] == [["FP16"]]


def test_a_model_that_the_parser_refuses_names_its_complaint(device, world, folder, capsys, monkeypatch):
    device("10.3.0")
    monkeypatch.setattr("tests.export.fake_tensorrt.read_header", refuse)
    assert build(folder) == 1
    assert "cannot read" in (error := capsys.readouterr().err) and "no such operator (node -1)" in error


def refuse(path):
    raise EdgeError("no such operator")


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_what_cannot_be_written_leaves_engine_and_record_as_they_were(built, monkeypatch, fault):
    """Both, and not one of each."""
    before = {name: (built / name).read_bytes() for name in ("engine", "engine.json")}
    real, calls = os.fsync, []

    def second_fails(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise fault
        real(descriptor)

    monkeypatch.setattr("export.tensorrt.record.os.fsync", second_fails)
    with pytest.raises(EdgeError if isinstance(fault, OSError) else KeyboardInterrupt):
        record.write_engine(built, b"another engine", {"precision": "fp16"})
    assert {name: (built / name).read_bytes() for name in before} == before
    assert not list(built.glob(".*"))


def test_a_bundle_that_cannot_be_written_is_refused_before_anything_is_built(
    device, world, folder, monkeypatch, capsys
):
    device("10.3.0")
    monkeypatch.setattr(command.os, "access", lambda *_: False)
    assert build(folder) == 1
    assert "cannot be written, where the engine goes" in capsys.readouterr().err and world.built == []


def test_infinite_logits_are_an_error(device, world, folder, capsys):
    device("10.3.0")
    world.infinite = ("fp16", "int8")
    assert build(folder) == 1
    assert "the int8 engine gives numbers that are not finite" in capsys.readouterr().err
    assert not (folder / "engine").exists() and world.memory == {}


def test_infinite_logits_of_the_engine_that_is_there_are_found_as_well(built, world, capsys):
    world.infinite = ("fp16", "int8")
    assert build(built, "--check") == 1
    assert "gives numbers that are not finite" in capsys.readouterr().err and world.memory == {}


def test_a_full_disk_leaves_what_was_there_and_no_half_file(built, world, capsys, monkeypatch):
    before = {path.name: path.read_bytes() for path in built.iterdir()}
    monkeypatch.setattr(os, "fsync", full_disk)
    world.latency_ms["int8"] = 7.0  # another engine than before would be kept
    assert build(built) == 1
    error = capsys.readouterr().err
    assert "cannot be written: No space left on device; the one that was there is unchanged" in error
    assert {path.name: path.read_bytes() for path in built.iterdir()} == before


def full_disk(_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_where_the_record_cannot_be_written_the_engine_that_was_there_is_still_good(
    built, world, device, capsys, monkeypatch
):
    written = []

    def fsync(_):
        written.append(1)
        if len(written) == 4:  # two timing caches, the engine, and then its record
            full_disk(_)

    world.latency_ms["int8"] = 7.0
    monkeypatch.setattr(os, "fsync", fsync)
    assert build(built) == 1
    assert len(written) == 4 and build(built, "--check") == 0


def test_too_little_memory_on_the_gpu_is_an_error(device, world, folder, capsys, monkeypatch):
    device("10.3.0")
    monkeypatch.setattr(command, "Cuda", lambda: FakeCuda(world, ORIN, free_bytes=1024))
    assert build(folder) == 1
    assert "out of memory" in capsys.readouterr().err
    assert world.memory == {}


def test_a_version_that_is_not_installed_is_refused_unless_dry(device, folder, capsys):
    device("10.3.0")
    assert build(folder, "--tensorrt_version=10.0.1") == 1
    assert "the installed one is 10.3.0" in capsys.readouterr().err


def test_a_loss_of_the_budget_holds_it_however_floats_are_stored(device, tmp_path):
    """0.9 - 0.895 is 0.0050000000000000044."""
    device("10.3.0")
    folder = write_bundle(tmp_path / "b", top1={"fp32": 0.9, "int8": 0.895})
    assert build(folder) == 0
    assert record_of(folder)["precision"] == "int8"


def test_latency_is_the_median(folder):
    (found,) = judge(read_bundle(folder), {"int8": [3.0, 2.0, 3.0, 2.0, 90.0]})
    assert found.latency_ms == 3.0


def test_warm_up_is_not_timed(world):
    runner = SimpleNamespace(run=lambda inputs: None)
    times = choosing.time_in_turns({"a": runner, "b": runner}, {}, warmup=4, iterations=3)
    assert {name: len(found) for name, found in times.items()} == {"a": 3, "b": 3}


def test_shapes_that_tensorrt_refuses_are_an_error_with_the_option(device, folder, monkeypatch, capsys):
    device("10.3.0")
    monkeypatch.setattr("tests.export.fake_tensorrt._Config.add_optimization_profile", lambda *_: -1)
    assert build(folder, "--max_batch=2") == 1
    assert "TensorRT refuses the shapes" in (error := capsys.readouterr().err) and "--max_batch" in error


def test_a_build_that_fails_shows_its_own_complaints_and_not_those_of_the_one_before(device, world, folder, capsys):
    device("10.3.0")
    world.refuses = ("fp16", "int8")
    assert build(folder) == 1
    assert capsys.readouterr().err.count("Could not find any implementation") == 1


def test_of_many_complaints_the_first_are_shown_and_the_others_counted():
    shown = builder._failed("title", [f"complaint {number}" for number in range(7)])
    assert shown.splitlines()[1:] == [*(f"  complaint {number}" for number in range(5)), "  and 2 more"]


def test_an_interrupted_build_says_that_the_engine_is_unchanged(built, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    before = (built / "engine").read_bytes()
    monkeypatch.setattr(command, "build_engine", interrupt)
    assert build(built) == 1
    assert capsys.readouterr().err == "stopped; the engine that was there is unchanged\n"
    assert (built / "engine").read_bytes() == before
