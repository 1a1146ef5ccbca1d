"""Reading files, and refusing those that are damaged or something else."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge import media, sources
from edge.checks import check_inertial
from edge.errors import EdgeError
from edge.media import read_depth, read_frames, read_inertial, read_skeleton, read_video

# --- video ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clip.avi", "clip.mp4"])
def test_a_video_gives_rgb_frames_in_order_and_its_rate(write_video, name):
    recording = read_video(write_video(name, frames=12, size=(64, 48), rate_hz=15.0))
    assert len(recording.values) == 12
    assert recording.rate_hz == pytest.approx(15.0)
    frames = [recording.values[i] for i in range(12)]
    assert frames[0].shape == (48, 64, 3) and frames[0].dtype == np.uint8
    means = np.array([frame.reshape(-1, 3).mean(axis=0) for frame in frames])
    expected = [(200, 20 * i, 30) for i in range(12)]
    np.testing.assert_allclose(means, expected, atol=6)  # the codecs are lossy


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 11), min_size=1, max_size=8))
def test_frames_are_the_same_in_any_order_of_reading(write_video, indices):
    path = write_video(frames=12)
    in_order = [read_video(path).values[i] for i in range(12)]
    values = read_video(path).values
    for index in indices:
        np.testing.assert_array_equal(values[index], in_order[index])


def test_a_frame_beyond_the_end_is_an_index_error(write_video):
    values = read_video(write_video(frames=3)).values
    with pytest.raises(IndexError):
        values[3]
    assert len(list(values)) == 3


@pytest.mark.parametrize("name", ["clip.avi", "clip.mp4"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_video_is_shorter_or_refused(write_video, name, share):
    path = write_video(name, frames=30)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    try:
        values = read_video(path).values
    except EdgeError as error:
        assert str(path) in str(error)
    else:
        assert 0 < len(list(values)) < 30


@pytest.mark.parametrize(
    "content, message", [(b"", r"is empty \(0 bytes\)"), (b"no video at all" * 99, "no video that OpenCV")]
)
def test_what_is_no_video_is_refused(tmp_path, content, message):
    path = tmp_path / "clip.avi"
    path.write_bytes(content)
    with pytest.raises(EdgeError, match=message):
        read_video(path)


@pytest.mark.parametrize("read", [read_video, read_depth, read_skeleton, read_inertial])
def test_a_file_that_is_not_there_is_named(tmp_path, read):
    with pytest.raises(EdgeError, match=r"nowhere\.npy: there is no such file"):
        read(tmp_path / "nowhere.npy")


# --- depth ----------------------------------------------------------------------------------------


def test_depth_is_read_from_npy(tmp_path, depth_frames):
    np.save(tmp_path / "a.npy", depth_frames)
    recording = read_frames(tmp_path / "a.npy", "depth")
    np.testing.assert_array_equal(recording.values, depth_frames)
    assert recording.rate_hz is None


def test_depth_is_read_from_the_authors_files(tmp_path, depth_frames):
    scipy_io = pytest.importorskip("scipy.io")
    scipy_io.savemat(tmp_path / "a_depth.mat", {"d_depth": depth_frames.transpose(1, 2, 0)}, do_compression=True)
    recording = read_depth(tmp_path / "a_depth.mat")
    np.testing.assert_array_equal(recording.values, depth_frames)
    assert recording.values.dtype == np.uint16 and recording.rate_hz == 30.0


@pytest.mark.parametrize(
    "values", [np.zeros((4, 5), np.uint16), np.zeros((4, 5, 6), np.float32), np.zeros((0, 5, 6), np.uint16)]
)
def test_arrays_that_are_no_depth_are_refused(tmp_path, values):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(EdgeError, match=r"depth of \(T, H, W\) uint16 is expected"):
        read_depth(tmp_path / "a.npy")


def test_a_video_is_no_depth(write_video):
    with pytest.raises(EdgeError, match=r"depth is expected as \.npy"):
        read_frames(write_video(), "depth")


@pytest.mark.parametrize("keep", [1, 40, 200])
def test_a_truncated_npy_is_refused(tmp_path, depth_frames, keep):
    path = tmp_path / "a.npy"
    np.save(path, depth_frames)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(EdgeError, match=r"cannot be read as \.npy"):
        read_depth(path)


def test_a_pickle_in_npy_is_never_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(EdgeError, match=r"cannot be read as \.npy"):
        read_skeleton(tmp_path / "a.npy")


def test_a_truncated_mat_is_refused(tmp_path, depth_frames):
    scipy_io = pytest.importorskip("scipy.io")
    path = tmp_path / "a_depth.mat"
    scipy_io.savemat(path, {"d_depth": depth_frames.transpose(1, 2, 0)}, do_compression=True)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(EdgeError, match=r"cannot be read as \.mat"):
        read_depth(path)


def test_another_mat_is_refused(tmp_path, skeletons):
    scipy_io = pytest.importorskip("scipy.io")
    scipy_io.savemat(tmp_path / "a.mat", {"d_skel": skeletons.transpose(1, 2, 0)})
    with pytest.raises(EdgeError, match="has no variable 'd_depth'"):
        read_depth(tmp_path / "a.mat")


def test_without_scipy_a_mat_asks_for_it(tmp_path, monkeypatch):
    (tmp_path / "a.mat").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(EdgeError, match="pip install scipy"):
        read_skeleton(tmp_path / "a.mat")


# --- skeletons ------------------------------------------------------------------------------------


@pytest.mark.parametrize("joints", [20, 25])
@pytest.mark.parametrize("kind", ["npy", "blanks", "commas"])
def test_skeletons_are_the_same_from_every_kind_of_file(tmp_path, joints, kind):
    expected = np.random.default_rng(0).normal(size=(7, joints, 3)).astype(np.float32)
    path = tmp_path / {"npy": "a.npy", "blanks": "a.txt", "commas": "a.csv"}[kind]
    if kind == "npy":
        np.save(path, expected)
    else:
        np.savetxt(path, expected.reshape(7, -1), delimiter="," if kind == "commas" else "  ")
    recording = read_skeleton(path)
    assert recording.rate_hz is None
    np.testing.assert_allclose(recording.values, expected, rtol=1e-6)


def test_skeletons_are_read_from_twenty_lines_a_frame(tmp_path, skeletons):
    np.savetxt(tmp_path / "a.txt", skeletons.reshape(-1, 3))
    np.testing.assert_allclose(read_skeleton(tmp_path / "a.txt").values, skeletons, rtol=1e-6)


def test_skeletons_are_read_from_the_authors_files(tmp_path, skeletons):
    scipy_io = pytest.importorskip("scipy.io")
    scipy_io.savemat(tmp_path / "a_skeleton.mat", {"d_skel": skeletons.transpose(1, 2, 0).astype(float)})
    recording = read_skeleton(tmp_path / "a_skeleton.mat")
    np.testing.assert_allclose(recording.values, skeletons)
    assert recording.rate_hz == 30.0


@pytest.mark.parametrize(
    "text, message",
    [
        ("1 2\n", "line 1 has 2 numbers"),
        ("0 " * 60 + "\n" + "0 " * 75, "line 2 has 75 numbers"),
        ("0 0 0\n" * 21, "21 lines of numbers; whole frames of 20"),
        ("\n \n", "0 lines of numbers"),
        ("a " * 60, "cannot be read as lines of numbers"),
        ("\x00\x01", "cannot be read"),
    ],
)
def test_text_that_is_no_skeleton_is_refused(tmp_path, text, message):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(EdgeError, match=message):
        read_skeleton(tmp_path / "a.txt")


def test_an_unknown_kind_of_file_is_refused(tmp_path):
    (tmp_path / "a.bvh").write_text("x")
    with pytest.raises(EdgeError, match=r"expected as \.npy, \.txt, \.csv"):
        read_skeleton(tmp_path / "a.bvh")


def test_a_number_too_large_for_float32_comes_without_a_warning(tmp_path):
    np.save(tmp_path / "s.npy", np.full((4, 20, 3), 1e300))  # warnings are errors here
    assert np.isinf(read_skeleton(tmp_path / "s.npy").values).all()
    with pytest.raises(EdgeError, match="not finite"):
        check_inertial(np.full((4, 6), 1e300).tolist())


def test_text_in_an_array_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.full((3, 20, 3), "x"))
    with pytest.raises(EdgeError, match="numbers are expected"):
        read_skeleton(tmp_path / "a.npy")


# --- inertial samples -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["npy", "mat"])
def test_inertial_samples_are_the_same_from_every_kind_of_file(tmp_path, samples, kind):
    path = tmp_path / f"a_inertial.{kind}"
    if kind == "npy":
        np.save(path, samples)
    else:
        pytest.importorskip("scipy.io").savemat(path, {"d_iner": samples.astype(float)})
    recording = read_inertial(path)
    np.testing.assert_array_equal(recording.values, samples)
    assert recording.values.dtype == np.float32 and recording.rate_hz is None


@pytest.mark.parametrize(
    "values, message",
    [
        (np.zeros((4, 3)), r"\(4, 3\); inertial samples of \(N, 6\)"),
        (np.zeros((0, 6)), r"\(0, 6\)"),
        (np.zeros((2, 4, 6)), r"\(2, 4, 6\)"),
        (np.full((4, 6), "x"), "numbers are expected"),
    ],
)
def test_arrays_that_are_no_inertial_samples_are_refused(tmp_path, values, message):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(EdgeError, match=message):
        read_inertial(tmp_path / "a.npy")


def test_a_skeleton_is_no_inertial_file(tmp_path, skeletons):
    pytest.importorskip("scipy.io").savemat(tmp_path / "a.mat", {"d_skel": skeletons.transpose(1, 2, 0)})
    with pytest.raises(EdgeError, match="has no variable 'd_iner'"):
        read_inertial(tmp_path / "a.mat")


def test_an_unknown_kind_of_inertial_file_is_refused(tmp_path):
    (tmp_path / "a.bvh").write_text("x")
    with pytest.raises(EdgeError, match=r"inertial samples are expected as \.npy"):
        read_inertial(tmp_path / "a.bvh")


def test_skeletons_that_may_not_be_read_are_one_clear_error(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("1 2 3\n" * 20)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(EdgeError, match="Permission denied"):
        read_skeleton(path)


class Header:
    """A capture that says what its header says, and has no frames."""

    def __init__(self, **says):
        self._says = {cv2.CAP_PROP_FRAME_COUNT: says["count"], cv2.CAP_PROP_FPS: says["rate"]}

    def get(self, key):
        return self._says.get(key, 0.0)


@pytest.mark.parametrize(
    ("count", "rate", "given", "expected"),
    [
        (90, 30.0, None, 3.0),
        (90, 30.0, 15.0, 6.0),
        (2980, 1000.0, None, 2.98),  # a browser's WebM: no number of frames is there, and OpenCV makes one up
        (2980, 1000.0, 30.0, None),
        (90, 0.0, None, 3.0),
        (-1, 30.0, None, None),
    ],
)
def test_the_duration_of_a_stream_is_the_header_s(write_video, monkeypatch, count, rate, given, expected):
    monkeypatch.setattr(sources, "open_capture", lambda _: Header(count=count, rate=rate))
    found = sources.VideoFileSource(write_video(), rate_hz=given).duration_s
    assert found == (None if expected is None else pytest.approx(expected))


def test_a_device_file_is_a_camera(monkeypatch):
    with pytest.raises(EdgeError, match="source /dev/null: there is no camera that can be opened"):
        sources.open_source("/dev/null", "rgb", real_time=True)


class Times:
    """A capture whose frames come at given times, in milliseconds, whatever its header says."""

    def __init__(self, times_ms, header_hz):
        self._left, self._now_ms = list(times_ms), 0.0
        self._says = {cv2.CAP_PROP_FRAME_COUNT: len(times_ms), cv2.CAP_PROP_FPS: header_hz}

    def grab(self):
        if not self._left:
            return False
        self._now_ms = self._left.pop(0)
        return True

    def retrieve(self):
        return True, np.zeros((4, 6, 3), np.uint8)

    def get(self, key):
        return self._says.get(key, self._now_ms)


def test_times_that_do_not_go_on_are_a_step_after_the_last(write_video, monkeypatch):
    """As those of a damaged file, or of one that was joined of two."""
    times_ms = [1000, 1040, 1040, 30, float("nan"), 1200]
    monkeypatch.setattr(sources, "open_capture", lambda _: Times(times_ms, 25.0))
    frames = iter(sources.VideoFileSource(write_video()).read, None)
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16, 0.2])


def test_a_file_of_a_variable_rate_is_played_by_its_own_times_and_waiting_is_no_decoding(write_video, monkeypatch):
    now = [7.0]
    clock = SimpleNamespace(perf_counter=lambda: now[0], sleep=lambda s: now.__setitem__(0, now[0] + s))
    monkeypatch.setattr(sources, "time", clock)
    monkeypatch.setattr(sources, "open_capture", lambda _: Times([0, 100, 500, 600], 10.0))
    frames = list(iter(sources.VideoFileSource(write_video(), real_time=True).read, None))
    assert [frame.captured_s - 7 for frame in frames[:3]] == pytest.approx([0, 0.1, 0.5])
    assert [frame.decode_ms for frame in frames] == pytest.approx([0] * 4, abs=1e-6)


def test_a_rate_that_is_given_goes_before_that_of_depth(tmp_path, depth_frames):
    path = tmp_path / "a_depth.mat"
    pytest.importorskip("scipy.io").savemat(path, {"d_depth": depth_frames.transpose(1, 2, 0)})
    assert sources.open_source(path, "depth", False).rate_hz == 30.0
    assert sources.open_source(path, "depth", False, 15.0).rate_hz == 15.0


def test_a_camera_is_let_go_before_it_is_opened_again(monkeypatch):
    """A device has room for one."""
    devices = []

    class Device:
        def __init__(self, *_):
            self.free = not devices or devices[-1].released
            self.released = False
            devices.append(self)

        def isOpened(self):  # noqa: N802  # OpenCV's name
            return self.free

        def set(self, *_):
            return True

        def get(self, *_):
            return 30.0

        def release(self):
            self.released = True

    monkeypatch.setattr(sources.cv2, "VideoCapture", Device)
    source = sources.CameraSource(0)
    assert source.reopen() and len(devices) == 2


def test_a_header_that_is_wrong_is_corrected_by_the_times_of_the_frames(write_video, monkeypatch):
    monkeypatch.setattr(media, "open_capture", lambda _: Times([i * 1000 / 15 for i in range(30)], 30.0))
    recording = read_video(write_video())
    assert recording.rate_hz == pytest.approx(15.0) and recording.time_s is None


def test_a_pause_makes_a_rate_a_variable_one(write_video, monkeypatch):
    times_ms = [i * 40 + 60 * (i >= 15) for i in range(30)]
    monkeypatch.setattr(media, "open_capture", lambda _: Times(times_ms, 25.0))
    np.testing.assert_allclose(read_video(write_video()).time_s * 1000, times_ms)


def test_a_mark_of_the_byte_order_is_no_number(tmp_path, skeletons):
    """As spreadsheets on Windows write it."""
    lines = [",".join(map(str, row)) for row in skeletons.reshape(30, 60)]
    (tmp_path / "a.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    np.testing.assert_allclose(read_skeleton(tmp_path / "a.csv").values, skeletons, rtol=1e-6)
