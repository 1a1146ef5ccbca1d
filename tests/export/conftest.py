"""Tiny trained-looking runs with made-up recordings, and their exported graphs, each made once."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from rich.console import Console

import export.exporter
from configs.base import get_config
from export import onnx_graph
from export.clips import Entry
from export.formats import Options, parse
from export.head import Head
from export.inputs import ModelInput, model_inputs
from export.steps import Steps
from export.trace import reference, trace
from hartx.data import Clip, input_specs
from hartx.run import Run, fingerprint
from tests.export.random_network import random_network

LABELS = ("wave", "clap", "throw", "push", "knock")


@dataclass(frozen=True)
class MadeUpClips:
    """Recordings of 2 training subjects and 1 test subject, 2 of each action by each, as `export.clips.Clips`."""

    specs: dict[str, Any]
    has_test_side: bool = True

    def entries(self, side: str) -> list[Entry]:
        subjects = {"train": (1, 3), "validation": (), "test": (2,) if self.has_test_side else ()}[side]
        return [
            Entry(f"a{label + 1}_s{subject}_t{trial}", subject, label)
            for trial in (1, 2)
            for subject in subjects
            for label in range(len(LABELS))
        ]

    def load(self, side: str, names: Sequence[str] | None = None) -> Iterator[Clip]:
        for entry in self.entries(side):
            if names is None or entry.name in names:
                yield Clip(entry.name, entry.subject, entry.label, self._inputs(entry))

    def window_s(self) -> float:
        return 2.25

    def _inputs(self, entry: Entry) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([entry.label, entry.subject, int(entry.name[-1])])
        return {m: rng.normal(size=spec.shape).astype(np.float32) for m, spec in self.specs.items()}


def make_run(streams: tuple[str, ...], workdir: Path, seed: int = 0) -> Run:
    """Return a run whose model has random parameters, statistics and biases, as training would leave them."""
    config = get_config()
    config.name, config.streams, config.seed = "tiny", streams, seed
    config.clip.num_frames, config.clip.crop, config.clip.resize, config.clip.skeleton_frames = 4, 16, 16, 4
    config.model.video.depth, config.model.video.width = 10, 4
    config.model.skeleton.features, config.model.skeleton.layers, config.model.fusion.hidden = 8, 1, 12
    specs = input_specs(config)
    model = random_network(config, len(LABELS), seed)
    return Run(config, model, specs, LABELS, None, workdir, step=7)


@dataclass(frozen=True)
class Exported:
    """A run, its recordings, its model as JAX computes it, and its graph before and after the passes."""

    run: Run
    clips: MadeUpClips
    inputs: tuple[ModelInput, ...]
    reference: Callable[[Mapping[str, np.ndarray]], np.ndarray]
    traced: onnx.ModelProto
    graph: onnx.ModelProto


def _export(streams: tuple[str, ...], workdir: Path) -> Exported:
    run = make_run(streams, workdir)
    inputs = model_inputs(run.specs)
    traced = trace(run.model, inputs, Options().opset)
    with pytest.MonkeyPatch.context() as patch:  # tracing is slow; the passes get what was just traced
        patch.setattr(onnx_graph, "trace", lambda *_: traced)
        graph = onnx_graph.build(run.model, inputs, run.labels, {"made": "up"}, Options(), Head(False, 1.0))
    return Exported(run, MadeUpClips(run.specs), inputs, reference(run.model, inputs), traced, graph)


@pytest.fixture(scope="session")
def fusion(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A depth + skeleton network."""
    return _export(("depth", "skeleton"), tmp_path_factory.mktemp("fusion"))


@pytest.fixture(scope="session")
def skeleton_only(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A skeleton network."""
    return _export(("skeleton",), tmp_path_factory.mktemp("skeleton"))


@pytest.fixture
def traced_once(fusion, skeleton_only, monkeypatch):
    """Let exports use what was traced and compiled already: it takes seconds."""
    by_inputs = {len(e.inputs): e for e in (fusion, skeleton_only)}
    monkeypatch.setattr(onnx_graph, "trace", lambda _, inputs, opset: by_inputs[len(inputs)].traced)
    monkeypatch.setattr(export.exporter, "reference", lambda _, inputs: by_inputs[len(inputs)].reference)


def write_plan(workdir: Path, names: Iterable[str]) -> None:
    """Write the `run.json` of a run that was trained on recordings of these names."""
    values = {"num_steps": 7, "steps_per_epoch": 1.0, "labels": LABELS, "train_recordings": fingerprint(names)}
    (workdir / "run.json").write_text(json.dumps(values))


def run_export(
    exported, bundle: Path, *, run=None, clips=None, formats=None, calibration_clips=10, calibrator="max", **options
) -> str:
    """Export and return what was printed."""
    console = Console(file=io.StringIO(), width=120)
    run, clips = run or exported.run, clips or exported.clips
    chosen = None if formats is None else parse(formats)
    if formats != "onnx-fp32":  # which knows nothing of calibration
        options |= {"calibration_clips": calibration_clips, "calibrator": calibrator}
    options = Options(**options)
    export.exporter.export(run, clips, bundle, chosen, options, Steps(console))
    return console.file.getvalue()


def contents(bundle: Path) -> dict[str, bytes]:
    """Return what stands in each file of a folder."""
    return {path.name: path.read_bytes() for path in sorted(bundle.iterdir())}
