"""Plans for every TensorRT release that is listed, the names that our code uses of each, and model headers."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import export.tensorrt
from edge.bundle import read_bundle
from edge.errors import EdgeError
from export.tensorrt import trtexec
from export.tensorrt.__main__ import main
from export.tensorrt.calibration import cache_of, read_scales
from export.tensorrt.onnx_header import read_header
from export.tensorrt.plan import Wish, make_plan
from export.tensorrt.versions import RTX, release_of
from tests.export.tensorrt_bundle import SCALES, make_model, seal, write_bundle
from tests.export.tensorrt_names import read_api, used_names

API = read_api()
BOTH = {"fp32": 0.9, "int8": 0.898}
CODE = sorted(Path(export.tensorrt.__path__[0]).glob("*.py"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return read_bundle(write_bundle(tmp_path_factory.mktemp("plan") / "a", top1=BOTH))


@pytest.fixture(scope="module")
def with_fp16(tmp_path_factory):
    return read_bundle(write_bundle(tmp_path_factory.mktemp("plan") / "b", top1={**BOTH, "fp16": 0.9}))


# --- plans ------------------------------------------------------------------------------------------

TYPED, WEAK = ("STRONGLY_TYPED",), ()
EXPECTED = {  # release: (precision, source, network flags, builder flags) of each build
    "8.5.2": [
        ("fp16", "model.fp32.onnx", ("EXPLICIT_BATCH",), ("FP16",)),
        ("int8", "model.int8.onnx", ("EXPLICIT_BATCH",), ("FP16", "INT8")),
    ],
    "8.6.1": [
        ("fp16", "model.fp32.onnx", ("EXPLICIT_BATCH",), ("FP16",)),
        ("int8", "model.int8.onnx", ("EXPLICIT_BATCH",), ("FP16", "INT8")),
    ],
    **{
        release: [
            ("fp16", "model.fp32.onnx", WEAK, ("FP16",)),
            ("int8", "model.int8.onnx", TYPED, ()),
        ]
        for release in ("10.0.1", "10.3.0", "10.13.3.9", "10.16.1.11")
    },
    **{
        release: [
            ("fp32", "model.fp32.onnx", TYPED, ()),
            ("int8", "model.int8.onnx", TYPED, ()),
        ]
        for release in ("11.0.0.114", "11.4.0.106", RTX)
    },
}


def test_every_listed_release_has_an_expected_plan():
    assert set(API) <= set(EXPECTED)


@pytest.mark.parametrize("release", EXPECTED)
def test_plan_of_a_release(bundle, release):
    plan = make_plan(bundle, release, Wish())
    builds = [(b.precision, b.source, b.network_flags, b.builder_flags) for b in plan.builds]
    assert builds == EXPECTED[release]
    assert plan.tool == "tensorrt"
    assert plan.timing_cache is (release != RTX)
    for build in plan.builds:
        described = json.loads((bundle.path / "bundle.json").read_text())["files"][build.source]
        assert build.source_sha256 == described["sha256"]
        assert build.inputs == {"video": (1, 1, 4, 16, 16), "skeleton": (1, 6, 75)}
    json.dumps(plan.to_json())


@pytest.mark.parametrize("release", ["10.3.0", "11.4.0.106", RTX])
def test_an_fp16_model_is_taken_as_it_is_where_networks_are_strongly_typed(with_fp16, release):
    first = make_plan(with_fp16, release, Wish()).builds[0]
    assert (first.precision, first.source, first.network_flags) == ("fp16", "model.fp16.onnx", TYPED)
    assert first.builder_flags == ()
    otherwise = first.otherwise and (
        first.otherwise.source,
        first.otherwise.network_flags,
        first.otherwise.builder_flags,
    )
    assert otherwise == (("model.fp32.onnx", (), ("FP16",)) if release == "10.3.0" else None)


@pytest.mark.parametrize("release", EXPECTED)
def test_implicit_calibration_is_planned_where_there_are_calibrators(bundle, release):
    wish = Wish(precision="int8", calibrator="implicit")
    if "IInt8EntropyCalibrator2" not in API.get(release, API["8.6.1"]):
        with pytest.raises(EdgeError, match=r"has no calibrators(.|\n)*--calibrator=qdq"):
            make_plan(bundle, release, wish)
        return
    (build,) = make_plan(bundle, release, wish).builds
    assert (build.source, build.builder_flags, build.calibrated) == ("model.fp32.onnx", ("FP16", "INT8"), True)
    assert "STRONGLY_TYPED" not in build.network_flags


@given(batch=st.integers(1, 64))
def test_profiles_span_from_one_clip_to_the_largest_batch(bundle, batch):
    (build, _) = make_plan(bundle, "10.3.0", Wish(max_batch=batch)).builds
    ranges = {p.name: (p.minimum, p.optimum, p.maximum) for p in build.profiles}
    assert ranges == {
        "video": ((1, 1, 4, 16, 16), (batch, 1, 4, 16, 16), (batch, 1, 4, 16, 16)),
        "skeleton": ((1, 6, 75), (batch, 6, 75), (batch, 6, 75)),
    }


def test_a_fixed_batch_needs_no_profile_and_allows_no_other(tmp_path):
    models = {"fp32": make_model(batch=3)}
    fixed = read_bundle(write_bundle(tmp_path / "a", top1={"fp32": 0.9}, models=models))
    (build,) = make_plan(fixed, "10.3.0", Wish()).builds
    assert build.profiles == () and build.inputs["skeleton"] == (3, 6, 75)
    with pytest.raises(EdgeError, match="fixes a batch of 3"):
        make_plan(fixed, "10.3.0", Wish(max_batch=8))


@pytest.mark.parametrize(("release", "limit"), [("8.2", 13), ("8.6.1", 17), ("10.3.0", 20), ("10.13.3", 22), (RTX, 25)])
def test_an_opset_that_a_release_cannot_read_is_refused_with_the_one_to_export(tmp_path, release, limit):
    for opset in (limit, limit + 1):
        models = {"fp32": make_model(opset=opset)}
        made = read_bundle(write_bundle(tmp_path / str(opset), top1={"fp32": 0.9}, models=models))
        if opset == limit:
            assert make_plan(made, release, Wish()).builds[0].opset == limit
        else:
            with pytest.raises(EdgeError, match=f"reads up to {limit}(.|\n)*--opset={limit}"):
                make_plan(made, release, Wish())


def test_without_an_int8_model_auto_goes_on_and_int8_is_refused(tmp_path):
    made = read_bundle(write_bundle(tmp_path / "a", top1={"fp32": 0.9}))
    plan = make_plan(made, "10.3.0", Wish())
    assert [build.precision for build in plan.builds] == ["fp16"]
    assert "no int8 model" in plan.notes[0]
    with pytest.raises(EdgeError, match="no int8 model, only fp32"):
        make_plan(made, "10.3.0", Wish(precision="int8"))


def test_fp16_that_cannot_be_had_is_refused_by_name_and_replaced_otherwise(bundle):
    with pytest.raises(EdgeError, match="takes precisions from the file alone"):
        make_plan(bundle, "11.4.0.106", Wish(precision="fp16"))
    assert "fp32 is built instead" in make_plan(bundle, "11.4.0.106", Wish()).notes[0]


def test_the_budget_is_the_user_s_then_the_bundle_s_then_the_usual_one(tmp_path, bundle):
    recorded = read_bundle(write_bundle(tmp_path / "a", top1=BOTH, max_drop_points=1.5))
    assert make_plan(recorded, "10.3.0", Wish(max_drop=0.0)).max_drop == 0
    assert make_plan(recorded, "10.3.0", Wish()).max_drop == 1.5
    assert make_plan(bundle, "10.3.0", Wish()).max_drop == 0.5
    with pytest.raises(EdgeError, match="max_drop_points"):
        read_bundle(write_bundle(tmp_path / "b", top1=BOTH, max_drop_points="much"))


@pytest.mark.parametrize("version", ["7.1.3", "12.0.1", "ten", "10", ""])
def test_an_unknown_release_is_refused(version):
    with pytest.raises(EdgeError, match="is expected"):
        release_of(version)


# --- JetPack 4.6 ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def opset_13(tmp_path_factory):
    models = {"fp32": make_model(opset=13), "int8": make_model(opset=13, qdq=True)}
    return read_bundle(write_bundle(tmp_path_factory.mktemp("plan") / "c c", top1=BOTH, models=models))


def test_jetpack_4_gets_a_trtexec_command_in_half_precision(opset_13):
    plan = make_plan(opset_13, "8.2.1", Wish(max_batch=4))
    assert plan.tool == "trtexec" and "cannot read weights in int8" in plan.notes[0]
    (build,) = plan.builds
    words = trtexec.command(build, "engine").split(" \\\n  ")
    assert words[0].endswith("/trtexec")
    assert set(words[1:]) == {
        "--onnx=model.fp32.onnx",
        "--saveEngine=engine",
        "--workspace=1024",
        "--fp16",
        "--minShapes=video:1x1x4x16x16,skeleton:1x6x75",
        "--optShapes=video:4x1x4x16x16,skeleton:4x6x75",
        "--maxShapes=video:4x1x4x16x16,skeleton:4x6x75",
    }


@pytest.mark.parametrize(
    ("calibrator", "why"),
    [("qdq", r"8\.2 cannot read weights in int8"), ("implicit", r"handed over by the builder in Python.*8\.2")],
)
def test_jetpack_4_gets_no_int8(opset_13, calibrator, why):
    with pytest.raises(EdgeError, match=why + r"(.|\n)*--precision=fp16"):
        make_plan(opset_13, "8.2", Wish(precision="int8", calibrator=calibrator))


def test_where_weights_alone_are_int8_nothing_is_calibrated(tmp_path):
    """A model of LSTMs, say: auto goes on without int8."""
    bundle = read_bundle(write_bundle(tmp_path / "a", top1=BOTH, models={"fp32": make_model(), "int8": make_model()}))
    (bundle.path / "calibration.json").unlink()
    plan = make_plan(bundle, "8.6.1", Wish(calibrator="implicit"))
    assert [build.precision for build in plan.builds] == ["fp16"]
    assert "int8 is left out: nothing to calibrate" in plan.notes[0]
    with pytest.raises(EdgeError, match="no layer of the model computes in int8"):
        make_plan(bundle, "8.6.1", Wish(precision="int8", calibrator="implicit"))


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("8.2.1", "JetPack 4.6, 5.0"),
        ("8.5.2", "JetPack 5.1"),
        ("8.6.2", "JetPack 6.0"),
        ("9.2.0", "no JetPack"),
        ("10.3.0", "JetPack 6.1, 6.2"),
        ("10.7.0", "no JetPack"),
        ("10.13.3", "JetPack 7"),
    ],
)
def test_a_release_is_called_by_the_jetpack_that_has_it(version, name):
    assert release_of(version).found_in == name


def test_the_command_for_jetpack_4_keeps_timings_where_the_plan_says_so(opset_13):
    (build,) = make_plan(opset_13, "8.2.1", Wish()).builds
    assert "--timingCacheFile=timing.cache" in trtexec.command(build, "engine", "timing.cache").split(" \\\n  ")


def test_implicit_calibration_without_scales_is_refused_in_the_plan(tmp_path):
    bundle = read_bundle(write_bundle(tmp_path / "a", top1=BOTH))
    (bundle.path / "calibration.json").unlink()
    with pytest.raises(EdgeError, match="holds no scales"):
        make_plan(bundle, "10.3.0", Wish(precision="int8", calibrator="implicit"))


def test_command_prints_what_to_run_on_jetpack_4(opset_13, capsys):
    assert main([f"--bundle={opset_13.path}", "--tensorrt_version=8.2"]) == 0
    printed = capsys.readouterr().out
    assert f"in {opset_13.path}" in printed and "/usr/src/tensorrt/bin/trtexec" in printed
    assert "timing cache: kept" in printed and "--timingCacheFile=timing.cache" in printed


# --- the names that are used --------------------------------------------------------------------------

# What is used only where a plan says so; everything else must be in every release.
ONLY_WHERE = {
    ("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH"): lambda release: release.explicit_batch,
    ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"): lambda release: release.strongly_typed,
    ("BuilderFlag", "FP16"): lambda release: release.precision_flags,
    ("BuilderFlag", "INT8"): lambda release: release.precision_flags,
    ("Builder", "platform_has_fast_int8"): lambda release: release.precision_flags,
    ("IBuilderConfig", "int8_calibrator"): lambda release: release.calibrator,
    ("IBuilderConfig", "set_calibration_profile"): lambda release: release.calibrator,
    ("IInt8EntropyCalibrator2", None): lambda release: release.calibrator,
    ("module", "IInt8EntropyCalibrator2"): lambda release: release.calibrator,
}


@pytest.mark.parametrize("release", API)
def test_every_name_we_use_is_in_every_release_we_use_it_for(release):
    missing = []
    for owner, names in used_names().items():
        for name in names:
            needed = ONLY_WHERE.get((owner, name)) or ONLY_WHERE.get((owner, None)) or (lambda _: True)
            if needed(release_of(release)) and name not in API[release].get(owner, ()):
                missing.append(f"{owner}.{name}")
    assert not missing, "not there, or not distilled yet: see tests/export/tensorrt_names.py"


def test_conditions_are_about_names_that_are_used_and_not_everywhere():
    used = used_names()
    for owner, name in ONLY_WHERE:
        assert owner in used and (name is None or name in used[owner])
        assert any(
            (owner not in names) if name is None else (name not in names.get(owner, ())) for names in API.values()
        )


def test_the_scan_for_names_finds_what_is_known_to_be_used():
    used = used_names()
    assert {"create_network", "build_serialized_network"} <= used["Builder"]
    assert {"execute_async_v3", "set_tensor_address"} <= used["IExecutionContext"]
    assert "deserialize_cuda_engine" in used["Runtime"] and "INPUT" in used["TensorIOMode"]


# --- files of the device ------------------------------------------------------------------------------


def test_device_files_are_python_3_8_and_need_no_jax():
    foreign = {"jax", "flax", "hartx", "onnx", "onnxruntime", "rich", "datasets", "configs"}
    assert len(CODE) > 10
    for path in CODE:
        tree = ast.parse(path.read_text(), feature_version=(3, 8))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert node.module.split(".")[0] not in foreign, path
                assert not node.module.startswith("export") or node.module.startswith("export.tensorrt"), path
            elif isinstance(node, ast.Import):
                assert not {alias.name.split(".")[0] for alias in node.names} & foreign, path


def test_device_files_load_nothing_of_the_exporter(repository):
    code = "import json, sys, export.tensorrt.command; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert loaded.isdisjoint({"jax", "hartx", "onnx", "onnxruntime", "rich", "export.exporter"})


# --- headers and scales -------------------------------------------------------------------------------


@given(opset=st.integers(7, 25), batch=st.sampled_from(["batch", 1, 5]))
def test_header_says_what_onnx_says(tmp_path_factory, opset, batch):
    path = tmp_path_factory.getbasetemp() / "header.onnx"
    onnx.save(make_model(opset=opset, batch=batch), str(path))
    header = read_header(path)
    assert header.opset == opset
    found = {entry.name: entry.shape for entry in header.inputs}
    first = None if batch == "batch" else batch
    assert found == {"video": (first, 1, 4, 16, 16), "skeleton": (first, 6, 75)}


@given(keep=st.floats(0, 0.999), junk=st.binary(max_size=200))
def test_a_damaged_model_is_refused_and_never_a_crash(tmp_path_factory, keep, junk):
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    whole = make_model().SerializeToString()
    path.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(EdgeError, match="cannot be read as an ONNX model"):
        read_header(path)
    path.write_bytes(junk)
    with pytest.raises(EdgeError, match="cannot be read as an ONNX model"):
        read_header(path)


@pytest.mark.parametrize(
    ("version", "first"), [("8.6.1", "TRT-8601"), ("10.3.0", "TRT-100300"), ("8.5.2.2", "TRT-8502")]
)
def test_calibration_cache_is_in_tensorrt_s_format(version, first):
    header, *lines = cache_of({"b": 1.0, "a": 0.15625}, version).decode().splitlines()
    assert header == f"{first}-EntropyCalibration2"
    assert lines == ["a: 3e200000", "b: 3f800000"]


def test_scales_are_those_of_calibration_json_and_of_this_model(bundle):
    described = json.loads((bundle.path / "bundle.json").read_text())["files"]
    assert read_scales(bundle.path, described["model.fp32.onnx"]["sha256"]) == SCALES
    with pytest.raises(EdgeError, match="is of another model"):
        read_scales(bundle.path, described["model.int8.onnx"]["sha256"])


@pytest.mark.parametrize("content", [None, "{}", "[]", "{", '{"model_sha256": "", "tensors": {"a": 1}}'])
def test_missing_or_damaged_scales_are_one_clear_error(tmp_path, content):
    if content is not None:
        (tmp_path / "calibration.json").write_text(content)
    with pytest.raises(EdgeError, match="holds no scales"):
        read_scales(tmp_path, "")


# --- the command --------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", [*EXPECTED, "8.6.1.6"])
def test_dry_run_prints_the_plan_of_any_release_without_tensorrt(bundle, release, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert main([f"--bundle={bundle.path}", "--dry-run", f"--tensorrt_version={release}", "--max_batch=4"]) == 0
    printed = capsys.readouterr().out
    for shown in (
        f"TensorRT {release}",
        "model.int8.onnx, opset 17",
        "video     1x1x4x16x16 to 4x1x4x16x16",
        "0.5 points",
    ):
        assert shown in printed
    assert not (bundle.path / "engine").exists()


def test_without_tensorrt_one_error_says_what_to_install(bundle, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert main([f"--bundle={bundle.path}"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: TensorRT's Python module cannot be imported")
    assert "nvidia-jetpack" in error and "requirements-tensorrt.txt" in error


def test_a_bundle_edited_by_hand_is_refused(tmp_path, capsys):
    folder = write_bundle(tmp_path / "a", top1=BOTH)
    with (folder / "model.int8.onnx").open("r+b") as file:
        file.write(b"x")
    assert main([f"--bundle={folder}", "--dry-run", "--tensorrt_version=10.3.0"]) == 1
    assert "does not match its bundle" in capsys.readouterr().err


def test_a_truncated_model_with_a_right_hash_is_refused(tmp_path, capsys):
    folder = write_bundle(tmp_path / "a", top1=BOTH)
    model = folder / "model.fp32.onnx"
    model.write_bytes(model.read_bytes()[:-100])
    seal(folder, BOTH, {})
    assert main([f"--bundle={folder}", "--dry-run", "--tensorrt_version=10.3.0"]) == 1
    assert "the file ends early" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--max_batch=0", "--max_batch=two", "--max_drop=-1", "--precision=int4"])
def test_a_mistyped_option_is_refused(option, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--bundle=x", option])
    assert stopped.value.code == 2 and option.split("=")[1] in capsys.readouterr().err


def test_scales_of_what_int8_layers_give_are_handed_over_too(tmp_path):
    """Without them TensorRT computes no layer in int8 where there are no Q/DQ nodes."""
    folder = write_bundle(tmp_path / "a", top1=BOTH)
    values = json.loads((folder / "calibration.json").read_text())
    values["outputs"] = {"logits": {"range": 127.0, "scale": 1.0}}
    (folder / "calibration.json").write_text(json.dumps(values))
    assert read_scales(folder, values["model_sha256"]) == {**SCALES, "logits": 1.0}


def test_the_batch_that_a_file_fixes_may_be_asked_for(tmp_path):
    fixed = read_bundle(write_bundle(tmp_path / "a", top1={"fp32": 0.9}, models={"fp32": make_model(batch=3)}))
    (build,) = make_plan(fixed, "10.3.0", Wish(max_batch=3)).builds
    assert build.profiles == () and build.inputs["skeleton"] == (3, 6, 75)


def test_an_input_with_another_open_size_than_the_batch_is_refused(tmp_path):
    model = make_model()
    model.graph.input[1].type.tensor_type.shape.dim[1].dim_param = "steps"
    made = read_bundle(write_bundle(tmp_path / "a", top1={"fp32": 0.9}, models={"fp32": model}))
    with pytest.raises(EdgeError, match=r"'skeleton' has the shape \(None, None, 75\); only its batch may be dynamic"):
        make_plan(made, "10.3.0", Wish())


@pytest.mark.parametrize(
    ("release", "limit"), [("8.4.1", 13), ("8.5.0", 17), ("10.5.0", 20), ("10.6.0", 22), ("11.0.0", 25)]
)
def test_the_first_release_that_reads_a_newer_opset(release, limit):
    assert release_of(release).max_opset == limit


def test_weights_among_the_inputs_and_other_domains_are_stepped_over(tmp_path):
    """As files of IR version 3 list them, and ONNX Runtime's optimiser the domains that it knows."""
    model = make_model(opset=17)
    model.graph.input.append(onnx.helper.make_tensor_value_info("kernel", onnx.TensorProto.FLOAT, [3, 1, 3, 3, 3]))
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, str(tmp_path / "a.onnx"))
    header = read_header(tmp_path / "a.onnx")
    assert header.opset == 17 and [entry.name for entry in header.inputs] == ["video", "skeleton"]


@pytest.mark.parametrize("value", ["101", "nan"])
def test_points_beyond_100_are_refused(value, capsys):
    with pytest.raises(SystemExit):
        main(["--bundle=x", f"--max_drop={value}"])
    assert f"{value!r} was given; points from 0 to 100" in capsys.readouterr().err
