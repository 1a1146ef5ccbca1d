"""Power and GPU load: what tegrastats writes on each kind of board, and jetson-stats, both made up here."""

from __future__ import annotations

import os
import sys
import time
from types import ModuleType

import pytest

from edge import bench, power
from edge.cold_start import ColdStart
from edge.errors import EdgeError
from edge.power import JetsonStats, Tegrastats, find_meter, measure_power, parse_tegrastats

ORIN_NANO = (
    "11-25-2026 14:00:00 RAM 2048/7620MB (lfb 4x4MB) SWAP 0/3810MB (cached 0MB) CPU [5%@1510,0%@1510,off,off] "
    "EMC_FREQ 2%@2133 GR3D_FREQ 43%@[624] NVDEC off cpu@49.8C gpu@48.6C VDD_IN 4823mW/4751mW "
    "VDD_CPU_GPU_CV 1210mW/1105mW VDD_SOC 1463mW/1450mW"
)
NANO = (
    "RAM 1021/3956MB (lfb 495x4MB) SWAP 0/1978MB (cached 0MB) IRAM 0/252kB(lfb 252kB) CPU [12%@1479,3%@1479] "
    "EMC_FREQ 0% GR3D_FREQ 99% PLL@31C CPU@33.5C POM_5V_IN 2532/2500 POM_5V_GPU 120/98 POM_5V_CPU 405/380"
)
AGX_ORIN = (
    "RAM 5000/30536MB CPU [1%@729] GR3D_FREQ 0%@[0,0] VDD_GPU_SOC 3205mW/3205mW VDD_CPU_CV 801mW/801mW VIN_SYS_5V0 "
    "4038mW/4038mW"
)


@pytest.mark.parametrize(
    ("line", "total_mw", "gpu_percent", "rails"),
    [
        (ORIN_NANO, 4823, 43, {"VDD_IN": 4823, "VDD_CPU_GPU_CV": 1210, "VDD_SOC": 1463}),
        (NANO, 2532, 99, {"POM_5V_IN": 2532, "POM_5V_GPU": 120, "POM_5V_CPU": 405}),
        (AGX_ORIN, None, 0, {"VDD_GPU_SOC": 3205, "VDD_CPU_CV": 801, "VIN_SYS_5V0": 4038}),
        ("RAM 1021/3956MB CPU [12%@1479]", None, None, {}),
        ("GPU 0mW/0mW CPU 310mW/320mW SOC 1240mW/1240mW", None, None, {"GPU": 0, "CPU": 310, "SOC": 1240}),
    ],
)
def test_a_line_of_tegrastats_is_read(line, total_mw, gpu_percent, rails):
    reading = parse_tegrastats(line)
    assert (reading.total_mw, reading.gpu_percent, dict(reading.rails_mw)) == (total_mw, gpu_percent, rails)


@pytest.fixture
def program(tmp_path):
    """A function that makes a program tegrastats which writes a line over and over."""

    def make(line: str) -> str:
        path = tmp_path / "tegrastats"
        path.write_text(f"#!/bin/sh\n[ \"$1\" = --interval ] || exit 1\nwhile :; do echo '{line}'; sleep 0.01; done\n")
        path.chmod(0o755)
        return str(path)

    return make


needs_sh = pytest.mark.skipif(os.name != "posix", reason="the stand-in for tegrastats is a shell script")


@needs_sh
def test_means_are_taken_while_the_work_lasts_and_the_program_is_ended(program):
    meter = Tegrastats(program(ORIN_NANO))
    used = measure_power(meter, lambda: time.sleep(0.5))
    assert used.source == "tegrastats" and used.samples >= 2
    assert (used.total_mw, used.gpu_percent, used.rails_mw["VDD_SOC"]) == (4823, 43, 1463)
    assert meter._process.poll() is not None


@needs_sh
def test_the_program_is_ended_if_the_work_fails(program):
    meter = Tegrastats(program(ORIN_NANO))
    with pytest.raises(ZeroDivisionError):
        measure_power(meter, lambda: 1 / 0)
    assert meter._process.poll() is not None


@needs_sh
def test_a_program_that_says_nothing_measures_nothing(tmp_path):
    path = tmp_path / "tegrastats"
    path.write_text("#!/bin/sh\nexit 1\n")
    path.chmod(0o755)
    assert measure_power(Tegrastats(str(path)), lambda: None) is None


class Jtop:
    """The names of jetson-stats 4 that are used."""

    broken = False

    def __init__(self, interval):
        self.interval = interval
        self.power = {"rail": {"VDD_SOC": {"power": 1400}}, "tot": {"power": 5000}}
        self.gpu = {"ga10b": {"status": {"load": 61.5}}}

    def attach(self, callback):
        self._callback = callback

    def start(self):
        if self.broken:
            raise RuntimeError("the jtop.service is not active")
        self._callback(self)
        self.power["tot"]["power"] = 7000
        self._callback(self)

    def close(self):
        self.gpu = None


def test_jetson_stats_is_read():
    used = measure_power(JetsonStats(Jtop), lambda: None)
    assert (used.source, used.samples, used.total_mw, used.gpu_percent) == ("jetson-stats", 2, 6000, 61.5)
    assert used.rails_mw == {"VDD_SOC": 1400}


def test_a_service_that_does_not_run_is_an_error_that_says_so():
    broken = type("Broken", (Jtop,), {"broken": True})
    with pytest.raises(EdgeError, match=r"jtop\.service is not active(.|\n)*systemctl"):
        measure_power(JetsonStats(broken), lambda: None)


def test_tegrastats_is_preferred_and_without_either_there_is_no_meter(monkeypatch):
    monkeypatch.setattr(power.shutil, "which", lambda _: None)
    monkeypatch.setitem(sys.modules, "jtop", None)
    assert find_meter() is None
    module = ModuleType("jtop")
    module.jtop = Jtop
    monkeypatch.setitem(sys.modules, "jtop", module)
    assert find_meter().source == "jetson-stats"
    monkeypatch.setattr(power.shutil, "which", lambda _: "/usr/bin/tegrastats")
    assert find_meter().source == "tegrastats"


def test_bench_shows_what_each_engine_draws(make_bundle, monkeypatch, capsys):
    monkeypatch.setattr(bench, "measure_cold_start", lambda *_: ColdStart(1.0, 2.0, 3.0, None))
    monkeypatch.setattr(bench, "find_meter", lambda: JetsonStats(Jtop))
    options = [f"--bundle={make_bundle('skeleton')}", "--engine=onnxruntime", "--precision=fp32"]
    assert bench.main([*options, "--iterations=2", "--power_s=0.01"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.startswith("onnxruntime")).split()[-2:] == ["6.0", "62"]
    assert "W and GPU %: by jetson-stats, the engine alone; idle 6.0 W" in lines


def test_jetson_stats_is_asked_every_tenth_of_a_second():
    meter = JetsonStats(Jtop)
    meter.start()
    assert meter._service.interval == 0.1  # seconds
