"""The stream: equal to `predict` on a file, and in real time never late."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from edge import ActionRecognizer, EdgeError, capture
from edge.events import Ended, Notice, Predicted, Started, as_dict
from edge.feeds import clock_of, make_feed
from edge.media import Recording, read_video
from edge.runtime import StreamOptions, StreamRuntime
from edge.sampling import Track, regular_track
from edge.sources import Frame
from edge.streaming import NONE, StreamRule, narrate


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def busy(i):
    return (10 * i) % 256, (37 * i) % 256, 255 - (23 * i) % 256


class Camera:
    """A source that gives a frame every `gap_s` seconds, as a camera does; None in `frames` is a lost camera."""

    live, returns, duration_s = True, True, None

    def __init__(self, frames, gap_s=0.02):
        self.rate_hz, self.frames, self.gap_s = 1 / gap_s, list(frames), gap_s
        self.closed, self.reopened, self.begun_s = False, 0, time.perf_counter()

    def read(self):
        time.sleep(self.gap_s)
        if not self.frames:
            self.returns = False
            return None
        image = self.frames.pop(0)
        if image is None:
            return None
        now_s = time.perf_counter()
        return Frame(image, now_s - self.begun_s, now_s, 0.0)

    def reopen(self):
        self.reopened += 1
        return self.reopened > 1

    def close(self):
        self.closed = True


class Slow:
    """An engine that takes its time."""

    name = "slow"

    def __init__(self, engine, seconds):
        self.engine, self.seconds, self.running = engine, seconds, 0

    def run(self, inputs):
        self.running += 1
        assert self.running == 1  # two at a time would share the input arrays
        time.sleep(self.seconds)
        output = self.engine.run(inputs)
        self.running -= 1
        return output


@pytest.fixture
def shorten(edit_bundle):
    """A function that makes a bundle's window last some seconds."""

    def edit(folder, seconds):
        edit_bundle(folder, lambda values: values["window"].update(duration_s=seconds))
        return ActionRecognizer.from_bundle(folder)

    return edit


def images(count):
    return [np.full((24, 32, 3), busy(i), np.uint8) for i in range(count)]


# --- equal answers --------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz, stride", [(15.0, 1), (30.0, 2), (60.0, 3)])
@pytest.mark.parametrize("name", ["clip.avi", "clip.mp4"])
def test_a_stream_over_a_file_is_predict_on_the_same_windows_bit_for_bit(
    make_bundle, write_video, name, rate_hz, stride
):
    recognizer = ActionRecognizer.from_bundle(make_bundle("rgb", temperature=1.7))
    path = write_video(name, frames=int(6 * rate_hz), rate_hz=rate_hz, colour=busy)
    events = list(recognizer.stream(path, options=StreamOptions(stride=stride)))
    predictions = of(Predicted, events)
    frames = list(read_video(path).values)
    step_s = 2.2 / 4
    firsts = np.arange(0, len(frames), stride)
    firsts = firsts[(firsts + 3) * step_s <= (len(frames) - 1) / rate_hz + 1e-9]
    assert len(predictions) == len(firsts) > 2
    for first, prediction in zip(firsts, predictions):  # noqa: B905
        at = np.ceil((first + np.arange(4)) * step_s * rate_hz - 1e-6).astype(int)
        expected = recognizer.predict([frames[i] for i in at])
        assert prediction.window_top5 == expected.top5
        assert prediction.time_s == pytest.approx(at[-1] / rate_hz, abs=2e-3)
    assert of(Notice, events) == [] and predictions[-1].dropped_frames == 0


def test_what_is_said_is_the_rule_applied_to_the_predictions(make_bundle, write_video):
    """The rule that hartx.streaming measures on recordings."""
    recognizer = ActionRecognizer.from_bundle(make_bundle("rgb"))
    rule = StreamRule(threshold=0.75, smoothing=3, release=0.5)
    path = write_video(frames=300, rate_hz=15.0, colour=lambda i: busy(i // 30))
    events = list(recognizer.stream(path, options=StreamOptions(stride=1, rule=rule)))
    predictions = of(Predicted, events)
    rows = [{score.action: score.confidence for score in p.window_top5} for p in predictions]
    labels = recognizer.bundle.labels
    rows = [[row.get(label, 1 - sum(row.values())) for label in labels] for row in rows]
    narration = narrate(labels, rule, [(p.start_s, p.time_s) for p in predictions], rows)
    assert [p.action for p in predictions] == [d.action for d in narration.decisions]
    assert [(e.action, e.start_s, e.stop_s) for e in of(Ended, events)] == [
        (e.action, e.start_s, e.stop_s) for e in narration.events
    ]
    assert [e.time_s for e in of(Started, events)] == [e.start_s for e in narration.events]
    assert len({p.action for p in predictions}) > 1 and NONE in {p.action for p in predictions}


def test_a_fused_stream_over_files_is_predict_on_the_same_windows(
    make_bundle, depth_frames, skeletons, samples, tmp_path
):
    recognizer = ActionRecognizer.from_bundle(make_bundle("depth", "skeleton", "inertial"))
    frames = np.concatenate([depth_frames] * 6)  # 6 seconds at 10 Hz
    joints = np.concatenate([skeletons, skeletons[::-1]] * 3)  # at 30 Hz
    values = np.concatenate([samples] * 6)
    for name, array in (("d", frames), ("s", joints), ("i", values)):
        np.save(tmp_path / f"{name}.npy", array)
    events = recognizer.stream(
        tmp_path / "d.npy",
        tmp_path / "s.npy",
        tmp_path / "i.npy",
        frame_rate_hz=10.0,
        skeleton_rate_hz=30.0,
        options=StreamOptions(stride=1),
    )
    predictions = of(Predicted, events)
    assert len(predictions) > 5
    for prediction in predictions:
        known = {}
        for name, track in (("s", regular_track(joints, 30.0)), ("i", regular_track(values, 80.0))):
            count = int((track.time_s <= prediction.time_s + 1e-6).sum())
            known[name] = Track(track.values[:count], track.time_s[:count])
        first = round((prediction.start_s + 2.2 / 8) / 0.55)
        assert (prediction.start_s, prediction.stop_s) == pytest.approx((0.55 * (first - 0.5), 0.55 * (first + 3.5)))
        at = np.ceil((first + np.arange(4)) * 5.5 - 1e-6).astype(int)
        instants = (first + np.arange(4)) * 0.55
        expected = recognizer.predict(
            Track(frames[at], instants), known["s"], known["i"], span=(prediction.start_s, prediction.stop_s)
        )
        assert prediction.window_top5 == expected.top5 and prediction.missing == ()


def test_the_same_file_gives_the_same_events_again(make_bundle, write_video):
    recognizer = ActionRecognizer.from_bundle(make_bundle("rgb"))
    path = write_video(frames=90, colour=busy)

    def said():
        return [(type(e), e.time_s, getattr(e, "confidence", None)) for e in recognizer.stream(path)]

    assert said() == said() != []


# --- latency --------------------------------------------------------------------------------------


def test_the_parts_of_the_latency_are_its_whole(make_bundle, write_video):
    recognizer = ActionRecognizer.from_bundle(make_bundle("rgb"))
    for prediction in of(Predicted, recognizer.stream(write_video(frames=90, colour=busy))):
        parts = as_dict(prediction)["latency"]
        total_ms = parts.pop("total_ms")
        assert total_ms == pytest.approx(sum(parts.values()), abs=1e-6)
        assert min(parts["decode_ms"], parts["preprocess_ms"], parts["inference_ms"], parts["smoothing_ms"]) > 0


def test_a_slow_engine_widens_the_stride_says_so_and_is_not_late(make_bundle, shorten):
    recognizer = shorten(make_bundle("rgb"), 0.4)  # an instant every 0.1 s
    recognizer.engine = Slow(recognizer.engine, 0.35)
    camera = Camera(images(150), 0.02)
    events = list(recognizer.stream(camera, options=StreamOptions(stride=1)))
    predictions, notices = of(Predicted, events), of(Notice, events)
    assert len(predictions) >= 5
    assert min(p.stride for p in predictions[1:]) >= 3
    assert any(n.about == "stride" and "not 1" in n.text for n in notices)
    assert max(p.latency.total_ms for p in predictions) < 1500  # 350 if alone; all windows in a queue: 7000
    assert camera.closed


def test_slow_looking_drops_frames_and_counts_them(make_bundle, shorten):
    recognizer = shorten(make_bundle("rgb"), 0.4)
    seen = []

    def show(look):
        seen.append(look.frame.time_s)
        time.sleep(0.06)

    predictions = of(Predicted, recognizer.stream(Camera(images(100), 0.01), on_frame=show))
    assert predictions[-1].dropped_frames > 20 and len(seen) + predictions[-1].dropped_frames <= 101
    assert max(p.latency.total_ms for p in predictions) < 1500  # all frames in a queue: 5000
    assert seen == sorted(seen)


def test_a_file_in_real_time_takes_as_long_as_it_lasts_and_gives_the_same(make_bundle, shorten, write_video):
    recognizer = shorten(make_bundle("rgb"), 0.4)
    path = write_video(frames=30, rate_hz=15.0, colour=busy)
    started = time.perf_counter()
    live = of(Predicted, recognizer.stream(path, real_time=True, options=StreamOptions(stride=1)))
    assert 1.8 < time.perf_counter() - started < 15
    every = of(Predicted, recognizer.stream(path, options=StreamOptions(stride=1)))
    if live[-1].dropped_frames == 0:
        same = {p.time_s: p.window_top5 for p in every}
        assert all(same[p.time_s] == p.window_top5 for p in live) and len(live) >= len(every) - 2


# --- faults ---------------------------------------------------------------------------------------


def test_an_unplugged_camera_ends_the_action_and_goes_on_when_it_is_back(make_bundle, shorten, monkeypatch):
    monkeypatch.setattr("edge.capture.RETRY_S", 0.15)
    recognizer = shorten(make_bundle("rgb"), 0.6)  # longer than the camera is away
    camera = Camera([*images(40), None, *images(50)], 0.02)
    rule = StreamRule(threshold=0.0, smoothing=1)
    events = list(recognizer.stream(camera, options=StreamOptions(stride=1, rule=rule)))
    texts = [event.text for event in of(Notice, events)]
    lost, back = (next(i for i, t in enumerate(texts) if word in t) for word in ("is lost", "is back"))
    assert lost < back and camera.reopened == 2
    at = next(i for i, event in enumerate(events) if isinstance(event, Notice) and "is lost" in event.text)
    assert isinstance(events[at + 1], Ended)
    before, after = of(Predicted, events[:at]), of(Predicted, events[at:])
    assert before and after
    assert all(p.start_s > before[-1].time_s for p in after)  # no window holds both scenes


def test_a_window_that_the_engine_has_when_the_camera_goes_is_nothing_any_more(make_bundle, shorten, monkeypatch):
    monkeypatch.setattr("edge.capture.RETRY_S", 0.1)
    recognizer = shorten(make_bundle("rgb"), 0.2)
    engine, release, runs = recognizer.engine, threading.Event(), []

    class Held:
        name = "held"

        def run(self, inputs):
            runs.append(1)
            if len(runs) == 2:  # the first one warms up
                release.wait(20)
            return engine.run(inputs)

    recognizer.engine = Held()
    events = []
    for event in recognizer.stream(Camera([*images(40), None, *images(60)], 0.02)):
        events.append(event)
        if isinstance(event, Notice) and "is lost" in event.text:
            release.set()
    assert len(runs) > 2 and min(p.time_s for p in of(Predicted, events)) > 0.9


@pytest.mark.parametrize("count", [0, 30])
def test_a_stalled_source_is_named_once_and_can_be_stopped(make_bundle, shorten, count):
    recognizer = shorten(make_bundle("rgb"), 0.2)
    camera, stop, events = Camera(images(count), 0.01), threading.Event(), []
    camera.read_frames, hang = camera.read, threading.Event()

    def read():
        if not camera.frames:
            hang.wait(20)
        return camera.read_frames()

    camera.read = read
    threading.Timer(1.2, stop.set).start()
    started = time.perf_counter()
    for event in recognizer.stream(camera, options=StreamOptions(stall_s=0.3), stop=stop):
        events.append(event)
    hang.set()
    assert time.perf_counter() - started < 12  # the read hangs for 20
    (notice,) = [event for event in of(Notice, events) if event.about == "source"]
    assert "no frame for 0." in notice.text


def test_an_error_in_the_capture_reaches_the_caller(make_bundle):
    recognizer = ActionRecognizer.from_bundle(make_bundle("rgb"))
    camera = Camera([])

    def read():
        raise EdgeError("the lens fell off")

    camera.read = read
    with pytest.raises(EdgeError, match="the lens fell off"):
        list(recognizer.stream(camera))


def test_a_caller_that_stops_reading_closes_the_source(make_bundle, shorten):
    recognizer = shorten(make_bundle("rgb"), 0.1)
    camera = Camera(images(500), 0.005)
    for event in recognizer.stream(camera):
        if isinstance(event, Predicted):
            break
    del event
    threads = [t.name for t in threading.enumerate()]
    assert camera.closed and not any(name.startswith(("capture", "engine")) for name in threads)


def test_frames_of_another_modality_are_refused(make_bundle, depth_frames):
    recognizer = ActionRecognizer.from_bundle(make_bundle("rgb"))
    with pytest.raises(EdgeError, match="this bundle reads rgb"):
        list(recognizer.stream(Camera(list(depth_frames))))
    with pytest.raises(EdgeError, match="frame_rate_hz"):
        list(recognizer.stream(depth_frames))
    with pytest.raises(EdgeError, match="depth in millimetres"):
        ActionRecognizer.from_bundle(make_bundle("depth")).stream(0)


@pytest.mark.parametrize("stride", [0, -1])
def test_a_stride_below_1_is_refused(stride):
    with pytest.raises(EdgeError, match="at least 1"):
        StreamOptions(stride=stride)


# --- skeletons ------------------------------------------------------------------------------------


def test_a_function_finds_the_skeletons_and_those_it_misses_are_named(make_bundle, write_video, skeletons):
    recognizer = ActionRecognizer.from_bundle(make_bundle("rgb", "skeleton"))
    seen = []

    def find(image, time_s):
        seen.append((image.shape, time_s))
        return None if 4 < time_s < 9 else skeletons[int(time_s * 15) % 30]

    path = write_video(frames=200, rate_hz=15.0, colour=busy)
    events = list(recognizer.stream(path, find, options=StreamOptions(stride=1)))
    predictions = of(Predicted, events)
    assert len(seen) == 200 and seen[0] == ((48, 64, 3), 0.0)
    absent = [p.time_s for p in predictions if p.missing == ("skeleton",)]
    assert absent and min(absent) > 6 and max(absent) < 9.2
    assert predictions[0].missing == predictions[-1].missing == ()
    texts = [event.text for event in of(Notice, events)]
    assert texts == ["without skeleton", "all modalities are there"]


def test_a_bundle_of_skeletons_goes_by_their_clock(make_bundle, skeletons):
    recognizer = ActionRecognizer.from_bundle(make_bundle("skeleton"))
    joints = np.concatenate([skeletons, skeletons[::-1]] * 4)
    predictions = of(Predicted, recognizer.stream(None, joints, skeleton_rate_hz=30.0, options=StreamOptions(stride=1)))
    assert len(predictions) == int(7.97 / 0.55) - 2
    last = predictions[-1]
    track = regular_track(joints, 30.0)
    count = int((track.time_s <= last.time_s + 1e-6).sum())
    expected = recognizer.predict(None, Track(joints[:count], track.time_s[:count]), span=(last.start_s, last.stop_s))
    assert last.window_top5 == expected.top5


def test_skeletons_that_do_not_fit_are_refused(make_bundle, write_video, skeletons):
    recognizer = ActionRecognizer.from_bundle(make_bundle("rgb", "skeleton"))
    path = write_video(frames=10)
    with pytest.raises(EdgeError, match=r"\(1, 3, 3\) was given"):
        list(recognizer.stream(path, lambda image, time_s: np.zeros((3, 3))))
    with pytest.raises(EdgeError, match="skeleton was given; this bundle reads rgb"):
        ActionRecognizer.from_bundle(make_bundle("rgb")).stream(path, skeletons)
    with pytest.raises(EdgeError, match="rate is not known"):
        ActionRecognizer.from_bundle(make_bundle("skeleton")).stream(None, skeletons)


def test_a_source_that_still_reads_when_the_stream_ends_is_closed_when_it_has_read(monkeypatch):
    monkeypatch.setattr(capture, "_JOIN_S", 0.01)
    reads, goes_on = threading.Event(), threading.Event()

    class Stalling(Camera):
        def read(self):
            reads.set()
            goes_on.wait()
            return None

    source = Stalling([])
    frames = capture.NewestFrame(source)
    reads.wait()
    frames.close()
    assert not source.closed  # it is in use
    goes_on.set()
    frames._thread.join()
    assert source.closed


def test_streams_and_predictions_at_once_take_turns(make_bundle, skeletons):
    recognizer = ActionRecognizer.from_bundle(make_bundle("skeleton"))
    recognizer = ActionRecognizer(recognizer.bundle, Slow(recognizer.engine, 0.005), "fp32")  # it asserts that
    clips = [skeletons * scale for scale in (0.5, 1.0, 2.0)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda clip: recognizer.predict(skeleton=clip).top5, clips * 5))
    assert found == [recognizer.predict(skeleton=clip).top5 for clip in clips] * 5


def test_a_track_that_begins_late_is_seen_from_then_on(make_bundle, skeletons):
    recognizer = ActionRecognizer.from_bundle(make_bundle("skeleton"))
    track = Track(np.concatenate([skeletons] * 10), 300 + np.arange(300) / 30)
    predictions = of(Predicted, recognizer.stream(None, skeleton=track, options=StreamOptions(stride=1)))
    seen = [event.time_s for event in predictions if not event.missing]
    assert 299.9 < seen[0] < 300.7 and 309 < seen[-1] <= 310
    assert len(seen) > 15  # an instant is 0.55 s
    assert all(event.missing == ("skeleton",) for event in predictions if event.time_s < 299)


def test_each_window_of_a_file_is_a_stride_behind_the_one_before(make_bundle, write_video):
    recognizer = ActionRecognizer.from_bundle(make_bundle("rgb"))
    predictions = of(Predicted, recognizer.stream(write_video(frames=90), options=StreamOptions(stride=1)))
    assert len(predictions) > 3 and {prediction.stride for prediction in predictions} == {1}


def test_finding_a_skeleton_counts_as_preprocessing(make_bundle, write_video, skeletons):
    recognizer = ActionRecognizer.from_bundle(make_bundle("rgb", "skeleton"))

    def find(image, time_s):
        time.sleep(0.01)
        return skeletons[0]

    predictions = of(Predicted, recognizer.stream(write_video(frames=60, colour=busy), find))
    assert min(prediction.latency.preprocess_ms for prediction in predictions) >= 10


def test_a_narrower_stride_is_said_when_ten_predictions_have_held_it(make_bundle, write_video):
    recognizer = ActionRecognizer.from_bundle(make_bundle("rgb"))
    first = of(Predicted, recognizer.stream(write_video(frames=60)))[0]
    runtime = StreamRuntime(recognizer, Camera([]), {}, StreamOptions(stride=2))

    def said(stride):
        runtime._held = stride > 2
        return [notice.text for notice in runtime._notices(replace(first, stride=stride))]

    assert said(5)[0].startswith("the stride is 5, not 2: the engine takes")
    assert [said(2) for _ in range(10)] == [[]] * 9 + [["the stride is 2"]]


def test_what_was_seen_before_a_camera_went_is_shown_no_more(make_bundle, shorten, monkeypatch):
    monkeypatch.setattr("edge.capture.RETRY_S", 0.15)
    looks = []
    list(shorten(make_bundle("rgb"), 0.4).stream(Camera([*images(40), None, *images(3)]), on_frame=looks.append))
    assert any(look.prediction is not None for look in looks) and looks[-1].prediction is None


def test_a_rate_that_is_given_goes_before_that_of_the_file(skeletons):
    feed = make_feed("skeleton", Recording(skeletons, 30.0), 15.0, None)
    assert len(list(feed.read(Frame(None, 1.0, 0.0, 0.0)))) == 16
    clock = clock_of({"skeleton": Recording(skeletons, 30.0)}, {"skeleton": 15.0}, real_time=False)
    assert (clock.rate_hz, clock.duration_s) == (15.0, 2.0)


def test_a_source_is_closed_where_what_goes_with_it_does_not_fit(make_bundle):
    camera = Camera(images(3))
    with pytest.raises(EdgeError, match=r"\(5, 3, 3\) was given"):
        ActionRecognizer.from_bundle(make_bundle("rgb", "skeleton")).stream(camera, np.zeros((5, 3, 3)))
    assert camera.closed
