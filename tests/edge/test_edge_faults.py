"""Video as it comes: damaged, tiny, huge, turned, of other pixels and rates. An error or a result, nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import edge
from edge import ActionRecognizer, live, predict
from edge.events import Predicted
from edge.items import Item
from edge.media import read_video
from edge.recording import predict_files
from edge.runtime import StreamOptions
from edge.sampling import Track
from edge.sources import VideoFileSource

# How many files are damaged; HARTX_FUZZ=1000 makes a thousand of them.
FUZZED = int(os.environ.get("HARTX_FUZZ", "150"))


@pytest.fixture
def encode(tmp_path):
    """A function that writes a video with PyAV: any codec, any pixels, any times."""
    av = pytest.importorskip("av")

    def write(name, images, codec="mpeg4", pixels="yuv420p", times_ms=None, rate=15):
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate)
            stream.height, stream.width = images[0].shape[:2]
            stream.pix_fmt = pixels
            if times_ms is not None:
                stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
            for i, image in enumerate(images):
                frame = av.VideoFrame.from_ndarray(image, format={2: "gray", 4: "rgba"}.get(image_kind(image), "rgb24"))
                frame = frame.reformat(format=pixels)
                if times_ms is not None:
                    frame.pts, frame.time_base = times_ms[i], Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return write


def image_kind(image):
    return 2 if image.ndim == 2 else image.shape[2]


def pictures(count, height=48, width=64):
    """Smooth pictures that change, so that codecs keep their colours."""
    rows, columns = np.mgrid[:height, :width]
    ramps = [
        np.stack([rows * 255 // height, columns * 255 // width, rows * 0 + 9 * i % 256], axis=2) for i in range(count)
    ]
    return [ramp.astype(np.uint8) for ramp in ramps]


# --- kinds of video -------------------------------------------------------------------------------

KINDS = {
    "grey": ("a.mkv", "ffv1", "gray"),
    "alpha": ("a.mkv", "ffv1", "bgra"),
    "10-bit": ("a.mkv", "ffv1", "yuv420p10le"),
    "12-bit": ("a.mkv", "ffv1", "yuv444p12le"),
    "h264": ("a.mp4", "libx264", "yuv420p"),
    "h264 10-bit": ("a.mp4", "libx264", "yuv420p10le"),
    "hevc": ("a.mp4", "libx265", "yuv420p"),
    "vp9": ("a.webm", "libvpx-vp9", "yuv420p"),
    "mov": ("a.mov", "mjpeg", "yuvj420p"),
    "mpeg-ts": ("a.ts", "mpeg2video", "yuv420p"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_container_codec_and_pixels_give_the_same_picture(encode, make_bundle, kind):
    av = pytest.importorskip("av")
    name, codec, pixels = KINDS[kind]
    try:
        av.Codec(codec, "w")
    except ValueError:
        pytest.skip(f"this PyAV has no encoder {codec}")
    images = pictures(50)
    rate = 25 if codec == "mpeg2video" else 15
    path = encode(name, images, codec, pixels, rate=rate)
    frames = list(read_video(path).values)
    assert len(frames) in (49, 50)
    expected = images[20].mean(axis=2, keepdims=True).repeat(3, axis=2) if kind == "grey" else images[20]
    if kind == "grey":
        assert np.ptp(frames[20].astype(int), axis=2).max() <= 2
        assert abs(frames[20].mean() - expected.mean()) < 30  # grey weighs the colours
    else:
        assert np.abs(frames[20].astype(int) - expected).mean() < 12
    predictions = [e for e in ActionRecognizer.from_bundle(make_bundle("rgb")).stream(path) if isinstance(e, Predicted)]
    assert len(predictions) == (1 if rate == 25 else 2)


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (49, 65), (241, 17)])
def test_odd_and_tiny_sizes_are_predicted(encode, make_bundle, size):
    path = encode("a.mkv", pictures(60, *size), "ffv1", "bgr0")
    recognizer = ActionRecognizer.from_bundle(make_bundle("rgb"))
    values = read_video(path).values
    assert values[0].shape == (*size, 3)
    prediction = recognizer.predict(values)
    assert np.isfinite([score.confidence for score in prediction.top5]).all()
    assert [e for e in recognizer.stream(path) if isinstance(e, Predicted)]


def test_a_single_frame_is_predicted_and_no_stream(write_video, make_bundle):
    path = write_video(frames=1)
    recognizer = ActionRecognizer.from_bundle(make_bundle("rgb"))
    assert recognizer.predict(read_video(path).values).top5
    (notice,) = recognizer.stream(path)
    assert "before a window of 2.2 s was full" in notice.text


def test_a_turned_video_is_turned_back(encode):
    """Telephones write how they were held into the file's header, as a matrix."""
    path = encode("a.mp4", pictures(5, 48, 64))
    upright = read_video(path).values[0]
    data = path.read_bytes()
    straight = b"".join(v.to_bytes(4, "big") for v in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
    quarter = b"".join(v.to_bytes(4, "big") for v in (0, 1 << 16, 0, (1 << 32) - (1 << 16), 0, 0, 0, 0, 1 << 30))
    at = data.index(straight, data.index(b"tkhd"))
    path.write_bytes(data[:at] + quarter + data[at + len(straight) :])
    turned = read_video(path).values[0]
    assert turned.shape == (64, 48, 3)
    assert np.abs(turned.astype(int) - np.rot90(upright, -1)).mean() < 3


def test_a_variable_rate_is_read_by_its_own_times(encode, make_bundle):
    """60 frames, the first half at 30 a second, the second half at 10: what is seen follows the clock."""
    times_ms = [*range(0, 1000, 33)][:30]
    times_ms += [times_ms[-1] + 100 * (i + 1) for i in range(30)]
    images = pictures(60)
    path = encode("a.mkv", images, "ffv1", "bgr0", times_ms, rate=30)
    recording = read_video(path)
    np.testing.assert_allclose(recording.time_s * 1000, times_ms, atol=1.5)
    assert recording.rate_hz == pytest.approx(59 / times_ms[-1] * 1000, rel=0.01)
    recognizer = ActionRecognizer.from_bundle(make_bundle("rgb"))
    predictions = [e for e in recognizer.stream(path, options=StreamOptions(stride=1)) if isinstance(e, Predicted)]
    for k, prediction in enumerate(predictions):
        at = np.searchsorted(times_ms, (k + np.arange(4)) * 550 - 1e-3)
        assert prediction.window_top5 == recognizer.predict([recording.values[int(i)] for i in at]).top5
    assert len(predictions) == int(times_ms[-1] / 550) - 2


def test_a_header_that_promises_the_unit_of_its_times_is_not_believed(encode):
    """Browsers write WebM with times in milliseconds and nothing else, which FFmpeg calls 1000 frames a second."""
    times_ms = [round(i * 1000 / 30) + (-6, 0, 6)[i % 3] for i in range(90)]
    path = encode("a.mkv", pictures(90), "ffv1", "bgr0", times_ms, rate=1000)
    recording = read_video(path)
    assert recording.rate_hz == pytest.approx(30, rel=0.01)
    source = VideoFileSource(path)
    assert source.rate_hz is None
    times_s = [frame.time_s for frame in iter(source.read, None)]
    np.testing.assert_allclose(times_s, (np.array(times_ms) - times_ms[0]) / 1000, atol=1.5e-3)
    np.testing.assert_array_equal(times_s, recording.time_s)


def test_a_rate_that_is_given_is_that_of_a_stream_as_well(write_video, make_bundle):
    path = write_video(frames=90, rate_hz=15.0)
    events = ActionRecognizer.from_bundle(make_bundle("rgb")).stream(path, frame_rate_hz=30)
    assert max(event.time_s for event in events if isinstance(event, Predicted)) == pytest.approx(3.0, abs=0.6)


def test_a_constant_rate_is_none_of_a_variable_one(encode, write_video):
    assert read_video(write_video("a.avi", frames=40)).time_s is None
    assert read_video(write_video("a.mp4", frames=40, rate_hz=29.97)).time_s is None


MEASURE = """
import sys
from edge import ActionRecognizer
from edge.cold_start import peak_memory_bytes
recognizer = ActionRecognizer.from_bundle(sys.argv[1])
list(recognizer.stream(sys.argv[2]))
print(peak_memory_bytes())
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from /proc")
def test_a_4k_file_needs_memory_for_a_few_frames_however_long_it_is(write_video, make_bundle, run_python):
    folder = make_bundle("rgb")
    peaks = []
    for frames in (4, 24):
        path = write_video(f"{frames}.mp4", frames=frames, size=(3840, 2160), rate_hz=5.0)
        done = run_python("-c", MEASURE, folder, path)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 100e6  # 20 frames more would be 498 MB
    assert peaks[1] < 1e9


# --- damaged files --------------------------------------------------------------------------------


def damage(data, rng):
    """Return a file that is cut, overwritten, or has lost or doubled a piece."""
    data = bytearray(data)
    kind = int(rng.integers(5))
    if kind == 0:
        return bytes(data[: int(rng.integers(1, len(data)))])
    for _ in range(int(rng.integers(1, 20))):
        at = int(rng.integers(len(data)))
        length = int(rng.integers(1, 200))
        if kind == 1:
            data[at] = int(rng.integers(256))
        elif kind == 2:
            data[at : at + length] = bytes(len(data[at : at + length]))
        elif kind == 3:
            data[at : at + length] = rng.bytes(len(data[at : at + length]))
        else:
            data[at : at + length] = data[at : at + length] * 2 if length % 2 else b""
    return bytes(data)


FUZZ = """
import gc, json, os, sys, time
from edge import ActionRecognizer, EdgeError
from edge.items import Item
from edge.media import read_video
from edge.recording import predict_files
from edge.sampling import Track

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

recognizer = ActionRecognizer.from_bundle(sys.argv[1], threads=1)
passes, outcomes = [], []
for _ in range(3):
    outcomes.clear()
    for path in sorted(os.listdir(sys.argv[2])):
        path, started = os.path.join(sys.argv[2], path), time.perf_counter()
        try:
            recognizer.predict(read_video(path).values)
            events = sum(1 for _ in recognizer.stream(path))
            outcomes.append(["result", events, time.perf_counter() - started])
        except EdgeError as error:
            outcomes.append(["error", str(error), time.perf_counter() - started])
    gc.collect()
    passes.append([resident(), len(os.listdir("/proc/self/fd"))])
json.dump({"passes": passes, "outcomes": outcomes}, sys.stdout)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="memory is read from /proc")
def test_damaged_files_are_an_error_or_a_result_and_nothing_leaks(write_video, make_bundle, tmp_path):
    """In a process of its own, which a crash would end; three times, the second and the third in the same memory."""
    good = [write_video(name, frames=40, colour=lambda i: (7 * i % 256, 90, 200)) for name in ("a.avi", "b.mp4")]
    folder = tmp_path / "damaged"
    folder.mkdir()
    for i in range(FUZZED):
        source = good[i % len(good)]
        rng = np.random.default_rng(i)
        (folder / f"{i:04}{source.suffix}").write_bytes(damage(source.read_bytes(), rng))
    environment = {**os.environ, "PYTHONPATH": str(Path(edge.__file__).parents[1]), "OPENCV_FFMPEG_LOGLEVEL": "-8"}
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, str(make_bundle("rgb")), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60 + 3 * FUZZED,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    kinds = [kind for kind, _, _ in found["outcomes"]]
    assert len(kinds) == FUZZED and {"result", "error"} == set(kinds)
    assert all(".avi" in what or ".mp4" in what for kind, what, _ in found["outcomes"] if kind == "error")
    assert max(seconds for _, _, seconds in found["outcomes"]) < 10
    (_, _), (second, files), (third, files_then) = found["passes"]
    assert files_then < files + 10  # one a damaged file would be as many as these
    assert third - second < 8e6 + 20e3 * FUZZED


def test_a_recording_of_a_variable_rate_is_predicted_by_its_own_times_unless_a_rate_is_given(encode, make_bundle):
    times_ms = [*range(0, 1000, 33)][:30]
    times_ms += [times_ms[-1] + 100 * (i + 1) for i in range(30)]
    path = encode("a.mkv", pictures(60), "ffv1", "bgr0", times_ms, rate=30)
    recording = read_video(path)
    recognizer = ActionRecognizer.from_bundle(make_bundle("rgb"))
    by_times = recognizer.predict(Track(recording.values, recording.time_s))
    by_rate = recognizer.predict(recording.values)
    assert by_times.top5 != by_rate.top5
    for rate_hz, expected in ((None, by_times), (20.0, by_rate)):
        rates_hz = {"frame": rate_hz, "skeleton": None, "inertial": None}
        assert predict_files(recognizer, Item(str(path), None, None), rates_hz).top5 == expected.top5


def test_a_drawn_video_lasts_as_long_as_its_recording_with_its_pauses(encode, make_bundle, tmp_path):
    times_ms = [40 * i + 800 * (i >= 50) + 500 * (i >= 75) for i in range(100)]
    path, out = encode("a.mkv", pictures(100), "mpeg4", "yuv420p", times_ms, rate=25), tmp_path / "out"
    assert predict.main([f"--bundle={make_bundle('rgb')}", str(path), f"--output={out}", "--visualize"]) == 0
    record = ["--every_frame", f"--record={tmp_path / 'live.mp4'}"]
    assert live.main([f"--bundle={tmp_path / 'bundle_rgb'}", f"--source={path}", *record]) == 0
    for video in (out / "a.mp4", tmp_path / "live.mp4"):
        drawn = read_video(video)
        assert (len(drawn.values) - 1) / drawn.rate_hz == pytest.approx(times_ms[-1] / 1000, abs=0.05)
