"""The command edge.doctor: what it finds, and that it needs nothing to say so."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from edge import device, doctor
from edge.device import describe_device, l4t_release
from edge.engines import CPU, ENGINES, INTEL_GPU, NVIDIA_GPU, processor
from edge.engines import probe as probing
from edge.engines.choice import find_engine
from edge.engines.cuda import Gpu
from edge.errors import EdgeError


@pytest.fixture
def jetson(tmp_path, monkeypatch):
    """The files of an Orin Nano, and its GPU."""
    files = {
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
        "proc/meminfo": "MemTotal:        7802856 kB\nMemFree:         1 kB\nMemAvailable:    5767168 kB\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    class Cuda:
        gpu = Gpu("Orin", "8.7", "R36, CUDA 12.6", 16)

    monkeypatch.setattr(device, "Cuda", Cuda)
    return tmp_path


def test_a_jetson_is_recognised(jetson):
    found = describe_device(jetson)
    assert found.board == "NVIDIA Jetson Orin Nano Developer Kit"
    assert (found.l4t, found.jetpack) == ("36.4.3", "6")
    assert found.memory_bytes == 7802856 * 1024 and found.free_bytes == 5767168 * 1024
    assert (found.gpu, found.gpu_driver, found.no_gpu) == ("Orin, compute capability 8.7", "R36, CUDA 12.6", None)


@pytest.mark.parametrize(
    ("line", "release"),
    [
        ("# R32 (release), REVISION: 7.5, GCID: 1", "32.7.5"),
        ("# R35 (release), REVISION: 4.1, GCID: 1", "35.4.1"),
        ("# R38 (release), REVISION: 2.0, GCID: 1", "38.2.0"),
        ("Ubuntu", None),
        ("", None),
    ],
)
def test_the_release_of_jetson_linux_is_read(line, release):
    assert l4t_release(line) == release


def test_an_unknown_machine_is_unknown_and_no_error(tmp_path, monkeypatch):
    def no_gpu():
        raise EdgeError("there is no NVIDIA driver here\n  more")

    monkeypatch.setattr(device, "Cuda", no_gpu)
    found = describe_device(tmp_path)
    assert (found.board, found.l4t, found.jetpack, found.memory_bytes) == (None, None, None, None)
    assert (found.gpu, found.no_gpu) == (None, "there is no NVIDIA driver here")


def test_it_finds_the_engines_that_work_here(run_python):
    done = run_python("-m", "edge.doctor", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["works"] is True and found["python"] == sys.version.split()[0]
    assert [engine["name"] for engine in found["engines"]] == [entry.name for entry in ENGINES]
    ort = next(engine for engine in found["engines"] if engine["name"] == "onnxruntime")
    assert ort["works"] and ort["version"] and ort["why"] is None and ort["install"] is None
    assert all(package["works"] and package["version"] for package in found["packages"])
    for engine in found["engines"]:
        assert engine["works"] or engine["why"]


def test_it_starts_where_nothing_is_installed(run_python):
    """-S hides the installed packages."""
    done = run_python("-S", "-c", "import sys; from edge import doctor; print(*sorted(sys.modules))")
    assert done.returncode == 0, done.stderr
    assert {"numpy", "cv2"}.isdisjoint(done.stdout.split())


@pytest.fixture
def answers(monkeypatch):
    """A function that lets the processes that doctor starts end in a given way."""

    monkeypatch.setattr(doctor, "what_device_lacks", lambda entry: None)

    def install(code=0, stdout="", stderr=""):
        done = subprocess.CompletedProcess([], code, stdout, stderr)
        monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: done)

    return install


def test_a_package_that_is_missing_is_named_with_its_installation(answers, capsys):
    answers(1, "", "Traceback:\n  File ...\nModuleNotFoundError: No module named 'numpy'\n")
    assert doctor.main([]) == 1
    out = capsys.readouterr().out
    assert "No module named 'numpy'" in out and "numpy, cv2, rich: pip install -r edge/requirements.txt" in out
    assert "Not ready: numpy and cv2 and rich cannot be imported" in out and "engines" not in out


def test_an_engine_that_crashes_is_only_reported(answers, jetson):
    answers(-signal.SIGILL, "", "")
    found = doctor.check_engine(find_engine("onnxruntime"), describe_device(jetson))
    assert (found.works, found.why, found.install) == (False, "it crashes: SIGILL", "pip install onnxruntime")


def test_an_engine_that_hangs_is_only_reported(monkeypatch, jetson):
    def hangs(command, timeout, **_):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(doctor.subprocess, "run", hangs)
    monkeypatch.setattr(doctor, "what_device_lacks", lambda entry: None)
    assert "did not answer" in doctor.check_engine(find_engine("onnxruntime"), describe_device(jetson)).why


def test_nothing_is_to_be_installed_for_hardware_that_is_not_there(answers, jetson, tmp_path, monkeypatch):
    monkeypatch.setattr(device, "cpu_field", lambda *names: None)  # as on a Jetson, wherever this runs
    answers(0, '{"works": false, "version": null, "why": "no", "doubts": []}\n')
    on_jetson = {entry.runs_on: doctor.check_engine(entry, describe_device(jetson)).install for entry in ENGINES}
    assert on_jetson[NVIDIA_GPU] and on_jetson[CPU] and on_jetson[INTEL_GPU] is None

    def no_gpu():
        raise EdgeError("none")

    monkeypatch.setattr(device, "Cuda", no_gpu)
    monkeypatch.setattr(device, "cpu_field", lambda *_: "Intel(R) N100")
    elsewhere = {entry.runs_on: doctor.check_engine(entry, describe_device(tmp_path)).install for entry in ENGINES}
    assert elsewhere[NVIDIA_GPU] is None and elsewhere[INTEL_GPU]


def test_without_a_working_engine_it_is_not_ready(answers, capsys):
    answers(0, '{"works": false, "version": null, "why": "the package x is not installed", "doubts": []}\n')
    assert doctor.main([]) == 1
    assert "Not ready: no engine works" in capsys.readouterr().out


def test_what_an_engine_computes_wrong_is_told(answers, capsys):
    answers(0, '{"works": true, "version": "1.0-x", "why": null, "doubts": ["int8 sums may overflow"]}\n')
    assert doctor.main([]) == 0
    out = capsys.readouterr().out
    assert "careful: int8 sums may overflow" in out and "1.0\n" in out


# --- the model that engines are tried on -----------------------------------------------------------------


def test_the_model_is_a_valid_one():
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(probing.MODEL)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Conv"]


def test_an_engine_with_a_wrong_answer_does_not_work(monkeypatch):
    import numpy as np

    from edge.engines.onnxruntime import OnnxRuntimeEngine

    assert probing.probe(find_engine("onnxruntime"))["works"]
    monkeypatch.setattr(OnnxRuntimeEngine, "run", lambda self, inputs: np.zeros((1, 1, 1, 1, 1), np.float32))
    found = probing.probe(find_engine("onnxruntime"))
    assert not found["works"] and "adds 0 to 7 up to [0.0]" in found["why"]


@pytest.mark.parametrize(("major", "jetpack"), [(32, "4"), (34, "5"), (35, "5"), (36, "6"), (38, "7"), (99, None)])
def test_the_jetpack_is_that_of_the_release(jetson, major, jetpack):
    (jetson / "etc/nv_tegra_release").write_text(f"# R{major} (release), REVISION: 4.1, GCID: 1\n")
    assert describe_device(jetson).jetpack == jetpack


def test_the_text_says_what_the_device_is(jetson, tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(
        "processor\t: 0\nvendor_id\t: x\nmodel name\t: Intel(R) N100\nflags\t\t: fpu avx2\n\n"
    )
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    lines = doctor.as_text(describe_device(jetson), [], [], False).splitlines()
    assert "memory    7.4 GiB, 5.5 GiB of it free" in lines and "Jetson    L4T 36.4.3, JetPack 6" in lines
    assert any(line.startswith("processor Intel(R) N100, ") for line in lines)
    assert "          fast arithmetic: avx2" in lines


@pytest.mark.parametrize(
    ("machine", "flags", "exact"),
    [
        ("x86_64", "avx2", False),
        ("x86_64", "avx2 avx_vnni", True),
        ("AMD64", "avx512_vnni", True),
        ("aarch64", "", True),
    ],
)
def test_int8_is_doubted_on_x86_without_vnni(tmp_path, monkeypatch, machine, flags, exact):
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: fpu {flags}\n")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(processor.platform, "machine", lambda: machine)
    assert processor.sums_int8_exactly() == exact
