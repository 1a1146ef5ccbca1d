"""A bundle is read whole and sound, or refused with one clear message."""

from __future__ import annotations

import hashlib

import pytest

from edge import predict
from edge.bundle import read_bundle
from edge.errors import EdgeError


def test_a_sound_bundle_is_read(make_bundle):
    bundle = read_bundle(make_bundle("depth", "skeleton"))
    assert [entry.name for entry in bundle.inputs] == ["video", "skeleton"]
    assert bundle.inputs[0].shape == (1, 4, 16, 16) and bundle.inputs[1].shape == (6, 75)
    assert bundle.video_modality == "depth"
    assert bundle.precisions["fp32"].top1 == 0.9 and bundle.precisions["int8"].top1 is None
    assert bundle.precisions["fp32"].path.is_file()
    assert bundle.window.stride == 2


def test_a_bundle_without_video_has_no_video_modality(make_bundle):
    assert read_bundle(make_bundle("skeleton")).video_modality is None


def test_a_bundle_of_every_kind_of_input_is_read(make_bundle):
    bundle = read_bundle(make_bundle("depth", "skeleton", "inertial"))
    assert [(entry.name, entry.layout) for entry in bundle.inputs] == [
        ("video", "NCDHW"),
        ("skeleton", "NTC"),
        ("inertial", "NTC"),
    ]
    assert bundle.inputs[2].shape == (8, 6) and bundle.reads == "depth and skeleton and inertial"


def test_two_videos_are_refused(make_bundle):
    with pytest.raises(EdgeError, match="at most one video"):
        read_bundle(make_bundle("depth", "inertial", "rgb"))


def test_a_flipped_bit_names_the_file_and_both_hashes(make_bundle):
    folder = make_bundle("skeleton")
    path = folder / "model.int8.onnx"
    before = path.read_bytes()
    path.write_bytes(before[:50] + bytes([before[50] ^ 1]) + before[51:])
    with pytest.raises(EdgeError) as caught:
        read_bundle(folder)
    first, second, third = str(caught.value).splitlines()
    assert first == f"{path} does not match its bundle"
    assert hashlib.sha256(before).hexdigest() in second
    assert hashlib.sha256(path.read_bytes()).hexdigest() in second
    assert "python -m export" in third


@pytest.mark.parametrize("name", ["model.fp32.onnx", "model.int8.onnx", "calibration.json", "model_card.md"])
def test_every_file_is_checked_whichever_is_used(make_bundle, name):
    folder = make_bundle("skeleton")
    (folder / name).unlink()
    with pytest.raises(EdgeError, match=f"{name} is missing"):
        read_bundle(folder)


def test_a_truncated_file_names_both_sizes(make_bundle):
    folder = make_bundle("skeleton")
    path = folder / "model.fp32.onnx"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(EdgeError, match=f"expected {size} bytes, found {size - 1}"):
        read_bundle(folder)


REQUIRED = [
    "format_version model created inputs output window temperature labels precisions files versions",
    "inputs.0: name modality shape layout dtype preprocess",
    "output: is shape",
    "window: frames stride duration_s",
    "precisions.int8: file size_bytes top1 clips split",
    "files.model_card.md: sha256 size_bytes",
]
PATHS = [
    ([], name) if ":" not in line else (line.split(":")[0].split(".", 1), name)
    for line in REQUIRED
    for name in line.split(":")[-1].split()
]


@pytest.mark.parametrize("path, name", PATHS, ids=[".".join(path + [name]) for path, name in PATHS])
def test_a_missing_field_is_named(make_bundle, edit_bundle, path, name):
    folder = make_bundle("skeleton")

    def remove(values):
        for step in path:
            values = values[int(step) if isinstance(values, list) else step]
        del values[name]

    edit_bundle(folder, remove)
    with pytest.raises(EdgeError, match=rf"no field '(.*\.)?{name}'"):
        read_bundle(folder)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda v: v.update(format_version=1), "format version 1; this program reads version 2"),
        (lambda v: v.update(format_version="1"), "'format_version' is '1'; int is expected"),
        (lambda v: v.update(format_version=True), "int is expected"),
        (lambda v: v["labels"].pop(), "5 labels for an output of shape"),
        (lambda v: v.update(labels=[1] * 6), "labels must be a list of names"),
        (lambda v: v.update(labels=["a", "b", "b", "c", "d", "e"]), "the labels name 'b' more than once"),
        (lambda v: v.update(temperature=0), "temperature is 0"),
        (lambda v: v.update(temperature=float("nan")), "temperature is nan"),
        (lambda v: v["window"].update(frames=0), r"frames=0, .*numbers above 0"),
        (lambda v: v["window"].update(stride=0), r"stride=0, .*numbers above 0"),
        (lambda v: v["window"].update(duration_s=float("nan")), r"duration_s=nan.*numbers above 0"),
        (lambda v: v.update(max_drop_points=-1), "points from 0 to 100"),
        (lambda v: v.update(max_drop_points=float("nan")), "points from 0 to 100"),
        (lambda v: v["output"].update({"is": "odds"}), "output.is is 'odds'; one of logits, probabilities"),
        (lambda v: v["output"].update(shape=[3, 6]), "its preprocessing makes"),
        (lambda v: (v["output"].update(shape=[0, 6]), v["inputs"][0].update(shape=[0, 6, 75])), "the batch of the"),
        (lambda v: v.update(inputs=[]), "no inputs"),
        (lambda v: v.update(precisions={}), "no precisions"),
        (lambda v: v["inputs"].append(v["inputs"][0]), "at most one"),
        (lambda v: v["inputs"][0].update(modality="sonar"), "'sonar' was given"),
        (lambda v: v["inputs"][0].update(layout="NCT"), "'NCT'"),
        (lambda v: v["inputs"][0].update(dtype="uint8"), "'uint8'"),
        (lambda v: v["inputs"][0].update(shape=["batch", 7, 75]), "its preprocessing makes"),
        (lambda v: v["inputs"][0]["preprocess"].update(layuot="kinect25"), "'layuot'"),
        (lambda v: v["inputs"][0].update(preprocess=3), "dict is expected"),
        (lambda v: v["inputs"][0]["preprocess"].update(num_frames=0), "num_frames is 0; something like 48 is expected"),
        (lambda v: v["inputs"][0]["preprocess"].update(num_frames=6.5), "num_frames is 6.5; something like"),
        (lambda v: v["inputs"][0]["preprocess"].update(layout=25), "layout is 25; something like 'kinect25'"),
        (lambda v: v["inputs"].__setitem__(0, 3), "an object is expected"),
        (lambda v: v["precisions"]["fp32"].update(file="other.onnx"), "'other.onnx', which 'files' does not"),
        (lambda v: v["files"].update({"../secret": v["files"]["model_card.md"]}), "a plain file name"),
        (lambda v: v["files"].update({"model_card.md": 3}), "an object is expected"),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_expected(make_bundle, edit_bundle, change, message):
    folder = make_bundle("skeleton")
    edit_bundle(folder, change)
    with pytest.raises(EdgeError, match=message):
        read_bundle(folder)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b"", b"[]", b"null"])
def test_what_is_no_json_object_is_refused(make_bundle, content):
    folder = make_bundle("skeleton")
    (folder / "bundle.json").write_bytes(content)
    with pytest.raises(EdgeError, match=r"bundle\.json"):
        read_bundle(folder)


def _flip(folder):
    path = folder / "model.fp32.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\x99")


DAMAGE = {
    "flipped byte": (_flip, "does not match its bundle"),
    "missing file": (lambda folder: (folder / "model.fp32.onnx").unlink(), "is missing from its bundle"),
    "invalid JSON": (lambda folder: (folder / "bundle.json").write_text("{'"), "cannot be read as JSON"),
    "no bundle.json": (lambda folder: (folder / "bundle.json").unlink(), "is not a bundle"),
    "another version": (
        lambda folder: (folder / "bundle.json").write_text('{"format_version": 1}'),
        "format version 1",
    ),
    "missing field": (lambda folder: (folder / "bundle.json").write_text('{"format_version": 2}'), "no field"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_bundle_ends_the_command_with_one_message(make_bundle, tmp_path, capsys, kind):
    damage, message = DAMAGE[kind]
    folder = make_bundle("skeleton")
    damage(folder)
    code = predict.main([f"--bundle={folder}", "--skeleton=any.npy"])
    out, err = capsys.readouterr()
    assert code == 1 and out == ""
    assert err.startswith("error: ") and err.count("error:") == 1
    assert message in err


def test_a_model_that_may_not_be_read_is_one_clear_error(make_bundle, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    folder = make_bundle("rgb")
    monkeypatch.setattr("edge.bundle.sha256_of", refuse)
    with pytest.raises(EdgeError, match="cannot be read: Permission denied"):
        read_bundle(folder)
