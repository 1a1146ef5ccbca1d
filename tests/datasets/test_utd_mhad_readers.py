"""Raw files to arrays, and arrays to what is stored."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from datasets.utd_mhad import RecordingId
from datasets.utd_mhad.examples import encode_depth, encode_rgb, make_example
from datasets.utd_mhad.layout import RawFile, Recording
from datasets.utd_mhad.readers import DamagedFile, Video, read
from tests.datasets import utd_mhad_raw as raw

RECORDING = RecordingId(1, 2, 1)
DEPTH, SKELETON = raw.depth_of(RECORDING), raw.skeleton_of(RECORDING)


def raw_file(folder: Path, name: str, content: bytes) -> RawFile:
    path = folder / name
    path.write_bytes(content)
    return RawFile(path, "", name, len(content))


def read_bytes(folder: Path, modality: str, content: bytes, name: str = "file.mat") -> object:
    return read(raw_file(folder, name, content), modality)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    for modality, expected in (
        ("depth", np.moveaxis(DEPTH, -1, 0)),
        ("skeleton", np.moveaxis(SKELETON, -1, 0).astype(np.float32)),
        ("inertial", raw.inertial_of(RECORDING).astype(np.float32)),
    ):
        np.testing.assert_array_equal(read_bytes(tmp_path, modality, raw.content(RECORDING, modality)), expected)
    video = read_bytes(tmp_path, "rgb", raw.avi(raw.rgb_of(RECORDING), rate=12))
    assert video.rate_hz == 12
    np.testing.assert_allclose(np.stack(video.frames), raw.rgb_of(RECORDING), atol=40)  # JPEG at sharp edges
    assert np.abs(np.stack(video.frames).astype(float) - raw.rgb_of(RECORDING)).mean() < 3


@pytest.mark.parametrize("lines", [60, 3])
@pytest.mark.parametrize("separator", [" ", ",", "\t"])
def test_text_skeletons(tmp_path: Path, lines: int, separator: str) -> None:
    joints = np.moveaxis(SKELETON, -1, 0)
    text = "\n".join(separator.join(map(repr, row)) for row in joints.reshape(-1, lines).tolist())
    read_back = read_bytes(tmp_path, "skeleton", text.encode(), "a1_s2_t1_skeleton.TXT")
    np.testing.assert_array_equal(read_back, joints.astype(np.float32))


MAT = raw.mat(d_depth=DEPTH)
AVI = raw.avi(raw.rgb_of(RECORDING))


@pytest.mark.parametrize(
    ("modality", "content", "message"),
    [
        ("depth", b"", "is empty"),
        ("depth", MAT[: len(MAT) // 2], "is damaged or truncated"),
        ("depth", MAT[:-1], "is damaged or truncated"),
        ("depth", MAT[:128], "holds no variable d_depth"),
        ("depth", b"not a mat file" * 20, "is damaged or truncated"),
        ("depth", raw.mat(d_skel=SKELETON), "holds no variable d_depth"),
        ("depth", raw.mat(d_depth=DEPTH[..., 0]), r"shape \(24, 32\), \(n, n, n\) expected"),
        ("depth", raw.mat(d_depth=DEPTH[..., :0]), "of shape"),
        ("depth", raw.mat(d_depth=DEPTH.astype(float)), "type float64, uint16 expected"),
        ("depth", raw.mat(d_depth=DEPTH * 0), "no foreground"),
        ("depth", raw.mat(d_depth="text"), "not numbers"),
        ("skeleton", raw.mat(d_skel=SKELETON[:19]), r"shape \(19, 3, .*\(20, 3, n\) expected"),
        ("skeleton", raw.mat(d_skel=SKELETON * np.nan), "NaN or infinity in d_skel"),
        ("skeleton", raw.mat(d_skel=np.full(SKELETON.shape, 1e300)), "NaN or infinity in d_skel"),
        ("skeleton", raw.mat(d_skel=np.zeros(SKELETON.shape)), "nothing but zeros in d_skel"),
        ("inertial", raw.mat(d_iner=SKELETON[0]), r"\(n, 6\) expected"),
        ("rgb", b"", "is empty"),
        ("rgb", AVI[: len(AVI) // 2], "is truncated, .* of .* bytes"),
        ("rgb", AVI[:-1], "is truncated"),
        ("rgb", b"RIFF\x00\x00\x00\x00AVI " + bytes(100), "cannot be decoded"),
        ("rgb", MAT, "is not an AVI file"),
    ],
)
def test_damage_is_put_into_words(tmp_path: Path, modality: str, content: bytes, message: str) -> None:
    with pytest.raises(DamagedFile, match=message):
        read_bytes(tmp_path, modality, content)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"1 2 x", "not a table"),
        (b"1 2 3\n1 2", "not a table"),
        (b"1 2 3", r"shape \(1, 3\)"),
        (b" \n", "shape"),
        (b"\xff", "table"),
    ],
)
def test_damaged_text_skeletons(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(DamagedFile, match=message):
        read_bytes(tmp_path, "skeleton", text, "a1_s2_t1_skeleton.txt")


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(DamagedFile, match="cannot be read"):
        read(RawFile(tmp_path / "gone.mat", "", "gone.mat", 1), "depth")


@settings(deadline=None, max_examples=50)
@given(hnp.arrays(np.uint16, st.tuples(*[st.integers(1, 9)] * 3), fill=st.just(0)))
def test_depth_is_lossless(depth: np.ndarray) -> None:
    entry = encode_depth(depth)
    np.testing.assert_array_equal(raw.decode_depth(entry), np.moveaxis(depth, 0, -1))
    np.testing.assert_allclose(entry["time_s"], np.arange(len(depth)) / 30, rtol=1e-6)


def test_only_the_foreground_of_depth_is_stored() -> None:
    entry = encode_depth(np.moveaxis(DEPTH, -1, 0))
    box = cv2.imdecode(np.frombuffer(entry["frames"][0], np.uint8), cv2.IMREAD_UNCHANGED)
    assert (tuple(entry["origin"]), box.shape, tuple(entry["size"])) == ((5, 8), (14, 5), (24, 32))


@pytest.mark.parametrize(
    ("size", "stored"),
    [((480, 640), (256, 341)), ((640, 480), (341, 256)), ((256, 300), (256, 300)), ((48, 64), (48, 64))],
)
def test_rgb_is_shrunk_to_what_crops_need(size: tuple[int, int], stored: tuple[int, int]) -> None:
    frame = np.zeros((*size, 3), np.uint8)
    frame[..., 0] = 200  # red, so that a swap with blue would show
    entry = encode_rgb(Video([frame, frame], 15))
    picture = cv2.imdecode(np.frombuffer(entry["frames"][0], np.uint8), cv2.IMREAD_COLOR_RGB)
    assert picture.shape[:2] == stored
    np.testing.assert_allclose(picture[10, 10], [200, 0, 0], atol=4)
    np.testing.assert_allclose(entry["time_s"], [0, 1 / 15])


@pytest.mark.parametrize(
    ("beside", "duration_s"),
    [(("depth",), 5 / 30), (("skeleton",), 5 / 30), (("rgb",), 2 / 15), (("rgb", "skeleton"), 5 / 30), ((), 15 / 50)],
)
def test_inertial_samples_span_the_recording(tmp_path: Path, beside: tuple[str, ...], duration_s: float) -> None:
    names = {"rgb": "r.avi", "depth": "d.mat", "skeleton": "s.mat", "inertial": "i.mat"}
    files = {m: raw_file(tmp_path, names[m], raw.content(RECORDING, m)) for m in ("inertial", *beside)}
    example = make_example(Recording(RECORDING, files))
    np.testing.assert_allclose(example["inertial"]["time_s"], np.arange(15) * duration_s / 15, rtol=1e-5)
