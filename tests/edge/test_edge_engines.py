"""Every engine that is installed here: the same answers, and what it does with files and options that do not fit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge.engines import ENGINES, NVIDIA_GPU, EngineOptions, load_engine
from edge.engines.choice import find_engine, what_lacks
from edge.errors import EdgeError
from edge.recognizer import ActionRecognizer, softmax

ORT = find_engine("onnxruntime")
HERE = [entry for entry in ENGINES if entry.model_file is None and what_lacks(entry, Path()) is None]
needs_openvino = pytest.mark.skipif(
    what_lacks(find_engine("openvino"), Path()) is not None, reason="openvino is not installed here"
)


@pytest.fixture(params=HERE, ids=lambda entry: entry.name)
def entry(request):
    return request.param


def run(entry, path, inputs, options=EngineOptions()):  # noqa: B008  (it is frozen)
    return load_engine(entry, path, options).run(inputs)


def skeleton_inputs(seed: int = 0) -> dict:
    return {"skeleton": np.random.default_rng(seed).normal(size=(1, 6, 75)).astype(np.float32)}


def test_onnx_runtime_is_tested_here():
    assert "onnxruntime" in [entry.name for entry in HERE]


def conv_model(path: Path, largest: int = 63) -> Path:
    """Write a network with what the real ones have: 3D convolutions, and int8 in between by Q/DQ.

    With weights up to 63 no sum of two products leaves 16 bits, so that any processor computes it right.
    """
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    constants = {
        "stem": rng.normal(0, 0.2, (8, 3, 3, 3, 3)).astype(np.float32),
        "kernel": rng.integers(-largest, largest + 1, (8, 8, 3, 3, 3)).astype(np.int8),
        "weight": rng.normal(0, 0.3, (8, 6)).astype(np.float32),
        "step": np.float32(0.02),
        "kernel_step": np.full(8, 0.127 / largest, np.float32),
        "zero": np.int8(0),
        "zeros": np.zeros(8, np.int8),
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["video", "stem"], ["a"], pads=[1] * 6),
        node("Relu", ["a"], ["b"]),
        node("QuantizeLinear", ["b", "step", "zero"], ["q"]),
        node("DequantizeLinear", ["q", "step", "zero"], ["c"]),
        node("DequantizeLinear", ["kernel", "kernel_step", "zeros"], ["k"], axis=0),
        node("Conv", ["c", "k"], ["d"], pads=[1] * 6),
        node("Relu", ["d"], ["e"]),
        node("GlobalAveragePool", ["e"], ["f"]),
        node("Flatten", ["f"], ["g"]),
        node("MatMul", ["g", "weight"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "conv",
        [helper.make_tensor_value_info("video", TensorProto.FLOAT, ["batch", 3, 4, 16, 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 6])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def lstm_model(path: Path) -> Path:
    """Write a network that computes in float, but whose weights are stored in int8 as the exporter does it."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    gates, features = 4 * 5, 10
    shapes = {"kernel": (2 * gates, 75), "recurrent": (2 * gates, 5), "product": (features, 8), "head": (8, 6)}
    output_axes = {"kernel": 0, "recurrent": 0, "product": 1, "head": 1}
    constants = {"rows": np.arange(2 * gates).reshape(2, gates), "joined": np.asarray([0, 0, features])}
    constants["last"] = np.asarray(-1)
    nodes = []
    for name, shape in shapes.items():
        outputs = shape[output_axes[name]]
        constants[name + "_int8"] = rng.integers(-127, 128, shape).astype(np.int8)
        constants[name + "_scale"] = (10 ** rng.uniform(-4, -2, outputs)).astype(np.float32)
        constants[name + "_zero"] = np.zeros(outputs, np.int8)
        parts = [name + part for part in ("_int8", "_scale", "_zero")]
        nodes.append(helper.make_node("DequantizeLinear", parts, [name], axis=output_axes[name]))
    nodes += [
        helper.make_node("Gather", ["kernel", "rows"], ["w"], axis=0),
        helper.make_node("Gather", ["recurrent", "rows"], ["r"], axis=0),
        helper.make_node("Transpose", ["skeleton"], ["steps"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["steps", "w", "r"], ["y"], hidden_size=5, direction="bidirectional"),
        helper.make_node("Transpose", ["y"], ["t"], perm=[2, 0, 1, 3]),
        helper.make_node("Reshape", ["t", "joined"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "product"], ["p"]),
        helper.make_node("Gather", ["p", "last"], ["q"], axis=1),
        helper.make_node("Gemm", ["q", "head"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "lstm",
        [helper.make_tensor_value_info("skeleton", TensorProto.FLOAT, ["batch", 6, 75])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 6])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def test_weights_that_are_stored_in_int8_are_restored_exactly(entry, tmp_path):
    """OpenVINO 2024.4 by itself gives other numbers, and refuses the LSTM, as 2026.4 does."""
    path = lstm_model(tmp_path / "lstm.onnx")
    expected, given = (run(one, path, skeleton_inputs()) for one in (ORT, entry))
    assert np.abs(expected).max() > 0.1
    error = np.abs(given - expected).max() / np.abs(expected).max()
    assert error < (0.02 if entry.tolerance > 1e-4 else 1e-5)  # where an engine's own choice is bfloat16


def test_engines_agree_on_probabilities_to_their_tolerance(entry, tmp_path):
    path = conv_model(tmp_path / "conv.onnx")
    reference, engine = (load_engine(e, path, EngineOptions()) for e in (ORT, entry))
    rng = np.random.default_rng(1)
    for _ in range(5):
        inputs = {"video": rng.normal(size=(1, 3, 4, 16, 16)).astype(np.float32)}
        expected, given = reference.run(inputs), engine.run(inputs)
        assert given.dtype == np.float32 and given.shape == (1, 6)
        assert np.ptp(expected) > 0.2  # or all would agree
        np.testing.assert_allclose(softmax(given), softmax(expected), rtol=0, atol=entry.tolerance)


def test_int8_weights_of_full_range_are_right_or_doubted(entry, tmp_path):
    path = conv_model(tmp_path / "conv.onnx", largest=127)
    inputs = {"video": np.random.default_rng(1).normal(size=(1, 3, 4, 16, 16)).astype(np.float32)}
    expected, given = softmax(run(ORT, path, inputs)), softmax(run(entry, path, inputs))
    right = float(np.abs(given - expected).max()) <= max(entry.tolerance, 1e-6)
    assert right or "overflow" in entry.engine_class.doubts("int8")
    assert entry.engine_class.doubts("fp32") is None


def test_engines_agree_through_the_recogniser(entry, make_bundle, depth_frames, skeletons):
    folder = make_bundle("depth", "skeleton")
    expected, given = (
        ActionRecognizer.from_bundle(folder, name, "fp32").predict(depth_frames, skeletons)
        for name in ("onnxruntime", entry.name)
    )
    assert [score.action for score in given.top5] == [score.action for score in expected.top5]
    assert given.confidence == pytest.approx(expected.confidence, abs=entry.tolerance + 1e-9)


def test_a_result_is_not_overwritten_by_the_next_run(entry, make_bundle):
    engine = load_engine(entry, make_bundle("skeleton") / "model.fp32.onnx", EngineOptions())
    first = engine.run(skeleton_inputs(0))
    kept = first.copy()
    assert not np.array_equal(engine.run(skeleton_inputs(1)), kept)
    np.testing.assert_array_equal(first, kept)


def test_a_file_that_is_no_model_is_refused_with_its_name(entry, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(EdgeError, match=r"cannot load .*model\.onnx: \S"):
        load_engine(entry, path, EngineOptions())


def test_inputs_of_another_shape_are_refused(entry, make_bundle, capfd):
    engine = load_engine(entry, make_bundle("skeleton") / "model.fp32.onnx", EngineOptions())
    with pytest.raises(EdgeError, match=r"cannot run the model: (?!Check '|Exception)\S"):
        engine.run({"skeleton": np.zeros((1, 5, 75), np.float32)})
    assert capfd.readouterr().err == ""


def test_two_outputs_are_refused(entry, tmp_path, make_bundle):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(make_bundle("skeleton") / "model.fp32.onnx"))
    model.graph.output.append(onnx.helper.make_tensor_value_info("features", 1, ["batch", 75]))
    path = tmp_path / "two.onnx"
    onnx.save(model, str(path))
    with pytest.raises(EdgeError, match=r"has the outputs .*features"):
        load_engine(entry, path, EngineOptions())


def test_threads_do_not_change_the_result(entry, make_bundle):
    path = make_bundle("skeleton") / "model.fp32.onnx"
    results = [run(entry, path, skeleton_inputs(), EngineOptions(threads)) for threads in (None, 1, 2)]
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5)
    np.testing.assert_allclose(results[2], results[0], rtol=1e-5)


_LET_GO_ELSEWHERE = """
import os, signal, sys, threading
from edge import ActionRecognizer

kept = [ActionRecognizer.from_bundle(sys.argv[1], "openvino")]
thread = threading.Thread(target=kept.clear)
thread.start()
thread.join()
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGTERM)
"""


@needs_openvino
def test_a_signal_is_handled_after_another_thread_has_let_an_engine_go(make_bundle, run_python):
    """OpenVINO's plugin takes the stack for signals with it that it gave the thread that loaded it."""
    done = run_python("-c", _LET_GO_ELSEWHERE, str(make_bundle("skeleton")))
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


@needs_openvino
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (EngineOptions(), {}),
        (EngineOptions(threads=2), {"INFERENCE_NUM_THREADS": 2}),
        (EngineOptions(cpus=(0,)), {"INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}),
    ],
)
def test_threads_and_cpus_reach_openvino(make_bundle, monkeypatch, options, expected):
    import openvino

    from edge.engines.openvino import OpenVinoEngine

    given = []

    class Core(openvino.Core):
        def compile_model(self, model, device, settings):
            given.append((device, settings))
            return super().compile_model(model, device, settings)

    core = Core()
    monkeypatch.setattr("edge.engines.openvino.the_core", lambda: core)
    OpenVinoEngine(make_bundle("skeleton") / "model.fp32.onnx", options)
    assert given == [("CPU", {"PERFORMANCE_HINT": "LATENCY", "SNIPPETS_MODE": "DISABLE", **expected})]


@needs_openvino
def test_openvino_does_not_report_to_its_makers():
    script = "import edge.engines.openvino, sys; print(sum(n.startswith('openvino_telemetry.') for n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "0", done.stderr


@needs_openvino
def test_one_of_openvino_s_engines_is_float32_and_the_other_its_own_choice(make_bundle):
    import openvino

    from edge.engines.openvino import OpenVinoEngine, OpenVinoF32Engine

    def precision(engine_class) -> str:
        engine = engine_class(make_bundle_path, EngineOptions())
        return str(engine._request.get_compiled_model().get_property("INFERENCE_PRECISION_HINT").to_string())

    make_bundle_path = make_bundle("skeleton") / "model.fp32.onnx"
    has_bf16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert precision(OpenVinoF32Engine) == "f32"
    assert precision(OpenVinoEngine) == ("bf16" if has_bf16 else "f32")


def test_no_thread_at_all_is_refused(make_bundle):
    with pytest.raises(EdgeError, match="threads=0"):
        load_engine(ORT, make_bundle("skeleton") / "model.fp32.onnx", EngineOptions(threads=0))


_BOUND = """
import os, sys, time
from pathlib import Path
import numpy as np
from edge.engines import EngineOptions, load_engine
from edge.engines.choice import find_engine
entry, path = find_engine(sys.argv[1]), Path(sys.argv[2])
entry.engine_class
before, first = set(os.listdir("/proc/self/task")), min(os.sched_getaffinity(0))
engine = load_engine(entry, path, EngineOptions(threads=2, cpus=(first,)))
until = time.monotonic() + 5  # a thread of OpenVINO 2024.4 takes back the CPUs of the process while it starts
while True:
    engine.run({"skeleton": np.zeros((1, 6, 75), np.float32)})
    started = set(os.listdir("/proc/self/task")) - before
    bound = all(os.sched_getaffinity(int(thread)) == {first} for thread in [0, *started])
    if bound or time.monotonic() > until:
        break
    time.sleep(0.05)
print(bound)
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system binds no threads")
def test_engines_stay_on_the_cpus_they_are_given(entry, make_bundle, run_python):
    """In a new process: engines share threads that were started before."""
    done = run_python("-c", _BOUND, entry.name, make_bundle("skeleton") / "model.fp32.onnx")
    assert (done.stdout.strip(), done.stderr) == ("True", "")


@pytest.mark.parametrize("cpus", [(), (100_000,)])
def test_cpus_that_are_not_there_are_refused(make_bundle, cpus):
    with pytest.raises(EdgeError, match="are expected"):
        load_engine(ORT, make_bundle("skeleton") / "model.fp32.onnx", EngineOptions(cpus=cpus))


def test_threads_follow_from_the_cpus():
    assert EngineOptions(cpus=(0, 1, 4)).num_threads == 3
    assert EngineOptions(threads=1, cpus=(0, 1, 4)).num_threads == 1
    assert EngineOptions().num_threads is None


def test_warm_up_runs_the_engine_before_the_first_prediction(make_bundle, monkeypatch):
    from edge.engines.onnxruntime import OnnxRuntimeEngine

    shapes, run_it = [], OnnxRuntimeEngine.run
    monkeypatch.setattr(
        OnnxRuntimeEngine,
        "run",
        lambda self, inputs: (shapes.append(inputs["skeleton"].shape), run_it(self, inputs))[1],
    )
    folder = make_bundle("skeleton")
    ActionRecognizer.from_bundle(folder, "onnxruntime", warmup=0)
    assert shapes == []
    ActionRecognizer.from_bundle(folder, "onnxruntime", warmup=3)
    assert shapes == [(1, 6, 75)] * 3


class SilentlyOnTheCpu:
    """An ONNX Runtime session that could not start the provider it was asked for."""

    def __init__(self, path, settings, providers, **_):
        self.asked = providers

    def get_providers(self):
        return ["CPUExecutionProvider"]


@pytest.mark.parametrize("name", ["onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_a_provider_that_did_not_start_is_an_error_and_no_slow_run(monkeypatch, make_bundle, name):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "InferenceSession", SilentlyOnTheCpu)
    with pytest.raises(EdgeError, match=r"ExecutionProvider could not be started(.|\n)*--engine=onnxruntime"):
        load_engine(find_engine(name), make_bundle("skeleton") / "model.fp32.onnx", EngineOptions())


def test_a_broken_package_is_told_apart_from_a_missing_one(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "edge.engines.onnxruntime", raising=False)
    with pytest.raises(EdgeError, match=r"is there but cannot be imported(.|\n)*pip install onnxruntime"):
        load_engine(ORT, tmp_path / "model.onnx", EngineOptions())


def test_an_engine_for_a_gpu_is_not_looked_for_without_a_driver(monkeypatch):
    monkeypatch.setattr("edge.engines.cuda.LIBRARY", "libcuda.of.nobody.so")
    for entry in ENGINES:
        if entry.runs_on == NVIDIA_GPU and entry.package == "onnxruntime":
            assert "no NVIDIA driver" in what_lacks(entry, Path())
