"""Predictions: equal to the model run by hand, and clear about what was given."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edge import ActionRecognizer, EdgeError
from edge.preprocess import prepare_clip
from edge.recognizer import softmax
from edge.sampling import Track, regular_track

RATES = {"frame_rate_hz": 30.0, "skeleton_rate_hz": 30.0}


def logits_by_hand(folder, precision, tracks):
    """Run a bundle's model with nothing of edge but the preprocessing."""
    import onnxruntime

    from edge.preprocess import spec_from_dict

    described = json.loads((folder / "bundle.json").read_text())["inputs"]
    specs = {entry["modality"]: spec_from_dict(entry["modality"], entry["preprocess"]) for entry in described}
    clip = prepare_clip(tracks, specs)
    inputs = {}
    for entry in described:
        array = clip[entry["modality"]]
        inputs[entry["name"]] = (np.moveaxis(array, -1, 0) if entry["layout"] == "NCDHW" else array)[None]
    settings = onnxruntime.SessionOptions()
    settings.add_session_config_entry("session.disable_quant_qdq", "1")  # its int8 kernels round otherwise
    path = str(folder / f"model.{precision}.onnx")
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0][0]


def test_probabilities_of_the_network_are_taken_as_they_are(make_bundle, edit_bundle, depth_frames, skeletons):
    folder = make_bundle("depth", "skeleton", temperature=1.7)
    edit_bundle(folder, lambda values: values["output"].update({"is": "probabilities"}))
    recognizer = ActionRecognizer.from_bundle(folder)
    inputs, _ = recognizer.prepare(depth_frames, skeletons)
    expected = np.sort(recognizer.engine.run(inputs)[0])[::-1][:5]
    found = [score.confidence for score in recognizer.predict(depth_frames, skeletons).top5]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_network_of_another_batch_is_refused(make_bundle, edit_bundle):
    folder = make_bundle("skeleton")

    def fix(values):
        values["output"]["shape"][0] = values["inputs"][0]["shape"][0] = 4

    edit_bundle(folder, fix)
    with pytest.raises(EdgeError, match="takes 4 clips at a time"):
        ActionRecognizer.from_bundle(folder)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_prediction_is_the_softmax_of_the_model(make_bundle, depth_frames, skeletons, precision):
    folder = make_bundle("depth", "skeleton", temperature=1.7)
    tracks = {"depth": regular_track(depth_frames, 30.0), "skeleton": regular_track(skeletons, 90.0)}
    expected = softmax(logits_by_hand(folder, precision, tracks) / 1.7)
    recognizer = ActionRecognizer.from_bundle(folder, "onnxruntime", precision)
    prediction = recognizer.predict(depth_frames, skeletons, frame_rate_hz=30.0, skeleton_rate_hz=90.0)
    best = np.argsort(-expected)[:5]
    assert [score.action for score in prediction.top5] == [recognizer.bundle.labels[i] for i in best]
    np.testing.assert_allclose([score.confidence for score in prediction.top5], expected[best], rtol=1e-6)
    assert (prediction.action, prediction.confidence) == (prediction.top5[0].action, prediction.top5[0].confidence)
    assert prediction.missing == ()
    assert prediction.latency_ms >= prediction.preprocess_ms + prediction.inference_ms > 0


@pytest.mark.parametrize(
    "modalities", [("inertial",), ("skeleton", "inertial"), ("inertial", "depth"), ("depth", "skeleton", "inertial")]
)
def test_any_set_of_modalities_is_predicted(make_bundle, depth_frames, skeletons, samples, modalities):
    """Frames, skeletons and samples of one second."""
    folder = make_bundle(*modalities)
    values = {"depth": depth_frames, "skeleton": skeletons, "inertial": samples}
    tracks = {modality: regular_track(values[modality], len(values[modality])) for modality in modalities}
    expected = softmax(logits_by_hand(folder, "fp32", tracks))
    names = {"depth": "frames"}
    given = {names.get(modality, modality): values[modality] for modality in modalities}
    prediction = ActionRecognizer.from_bundle(folder).predict(**given)
    assert prediction.missing == ()
    assert prediction.confidence == pytest.approx(expected.max(), rel=1e-5)


def test_the_precisions_of_the_fixture_differ(make_bundle, skeletons):
    """Otherwise the test above could not tell which one was run."""
    folder = make_bundle("skeleton")
    fp32, int8 = (ActionRecognizer.from_bundle(folder, precision=p).predict(None, skeletons) for p in ("fp32", "int8"))
    assert abs(fp32.confidence - int8.confidence) > 1e-3


def test_the_video_goes_in_with_channels_first_and_nothing_turned(make_bundle, depth_frames):
    recognizer = ActionRecognizer.from_bundle(make_bundle("depth"))
    clip = prepare_clip({"depth": regular_track(depth_frames, 30.0)}, recognizer.bundle.specs)["depth"]
    video = recognizer.prepare(depth_frames)[0]["video"]
    assert video.shape == (1, 1, 4, 16, 16) and video.dtype == np.float32
    np.testing.assert_array_equal(video[0, 0], clip[..., 0])
    assert np.abs(clip - clip.swapaxes(1, 2)).max() > 0.1  # or turning it could not be seen


@pytest.mark.parametrize("logits", [[0.0, 1.0, -2.0], [1000.0, 999.0, -1000.0]])
def test_softmax_sums_to_one_and_keeps_the_order(logits):
    probabilities = softmax(np.array(logits))
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(), 1)
    assert list(np.argsort(probabilities)) == list(np.argsort(logits))


def test_without_rates_both_modalities_cover_the_same_time(make_bundle, depth_frames, skeletons):
    recognizer = ActionRecognizer.from_bundle(make_bundle("depth", "skeleton"))
    free, _ = recognizer.prepare(depth_frames, skeletons)
    one_rate, _ = recognizer.prepare(depth_frames, skeletons, frame_rate_hz=15.0)
    aligned, _ = recognizer.prepare(depth_frames, skeletons, frame_rate_hz=10.0, skeleton_rate_hz=30.0)  # 1 second each
    for name in free:
        np.testing.assert_allclose(one_rate[name], free[name], atol=1e-5)
        np.testing.assert_allclose(aligned[name], free[name], atol=1e-5)


def test_with_rates_only_the_time_that_both_cover_is_read(make_bundle, depth_frames, skeletons):
    recognizer = ActionRecognizer.from_bundle(make_bundle("depth", "skeleton"))
    whole, _ = recognizer.prepare(depth_frames, skeletons[:11], **RATES)  # 10 frames, a third of a second
    beyond = np.concatenate([skeletons[:11], 100 + skeletons[11:]])
    cut, _ = recognizer.prepare(depth_frames, beyond, **RATES)
    for name in cut:
        np.testing.assert_allclose(cut[name], whole[name], atol=1e-5)


def test_samples_without_a_rate_cover_the_time_of_the_others(make_bundle, depth_frames, skeletons, samples):
    """Frames and skeletons are aligned by their rates, with or without samples whose rate nobody knows."""
    recognizer = ActionRecognizer.from_bundle(make_bundle("depth", "skeleton", "inertial"))
    short = skeletons[:20]  # two thirds of a second; the frames a third
    aligned, _ = recognizer.prepare(depth_frames, short, **RATES)
    both, missing = recognizer.prepare(depth_frames, short, samples, **RATES)
    assert missing == ()
    for name in ("video", "skeleton"):
        np.testing.assert_array_equal(both[name], aligned[name])
    alone, _ = recognizer.prepare(inertial=samples)
    np.testing.assert_allclose(both["inertial"], alone["inertial"], atol=1e-4)


def test_samples_with_a_rate_are_read_where_the_skeletons_are(make_bundle, skeletons, samples):
    recognizer = ActionRecognizer.from_bundle(make_bundle("skeleton", "inertial"))
    rates = {"skeleton_rate_hz": 30.0, "inertial_rate_hz": 80.0}
    whole, _ = recognizer.prepare(None, skeletons[:15], samples[:41], **rates)  # half a second
    beyond = np.concatenate([samples[:41], samples[41:] + 500])
    cut, _ = recognizer.prepare(None, skeletons[:15], beyond, **rates)
    np.testing.assert_array_equal(cut["inertial"], whole["inertial"])


def test_one_frame_beside_many_skeletons_is_shown_all_the_time(make_bundle, depth_frames, skeletons):
    recognizer = ActionRecognizer.from_bundle(make_bundle("depth", "skeleton"))
    inputs, _ = recognizer.prepare(depth_frames[:1], skeletons)
    whole, _ = recognizer.prepare(None, skeletons)
    np.testing.assert_allclose(inputs["skeleton"], whole["skeleton"], atol=1e-5)
    assert inputs["video"].any()


def test_lists_and_arrays_of_frames_are_the_same(make_bundle, depth_frames):
    recognizer = ActionRecognizer.from_bundle(make_bundle("depth"))
    array, listed = recognizer.predict(depth_frames), recognizer.predict(list(depth_frames))
    assert array.top5 == listed.top5


def test_a_missing_modality_is_fed_zeros_and_named(make_bundle, depth_frames, skeletons):
    recognizer = ActionRecognizer.from_bundle(make_bundle("depth", "skeleton"))
    inputs, missing = recognizer.prepare(depth_frames)
    assert missing == ("skeleton",) and not inputs["skeleton"].any() and inputs["video"].any()
    assert recognizer.predict(None, skeletons).missing == ("depth",)


def test_colour_frames_are_read_as_the_model_wants_them(make_bundle):
    recognizer = ActionRecognizer.from_bundle(make_bundle("rgb"))
    red = [np.full((24, 32, 3), (255, 0, 0), np.uint8)] * 5
    inputs, _ = recognizer.prepare(red)
    assert inputs["video"].shape == (1, 3, 4, 16, 16) and inputs["video"].dtype == np.float32
    assert inputs["video"][0, 0].min() > 0 > inputs["video"][0, 1].max()


def test_a_bundle_of_skeletons_needs_no_frames(make_bundle, skeletons):
    recognizer = ActionRecognizer.from_bundle(make_bundle("skeleton"))
    assert recognizer.predict(skeleton=skeletons).missing == ()


BAD_FRAMES = {
    "empty": ([], "0 frames were given"),
    "float": (np.zeros((3, 24, 32), np.float32), "float32"),
    "colour": (np.zeros((3, 24, 32, 3), np.uint8), "uint8"),
    "one frame": (np.zeros((24, 32), np.uint16), r"\(32,\)"),
    "no pixels": (np.zeros((3, 0, 32), np.uint16), r"\(0, 32\)"),
    "sizes": ([np.zeros((24, 32), np.uint16), np.zeros((24, 30), np.uint16)], "frame 1"),
    "names": (["a.png"], "frame 0 is str"),
}


@pytest.mark.parametrize("kind", BAD_FRAMES)
def test_frames_that_do_not_fit_are_refused(make_bundle, kind):
    frames, message = BAD_FRAMES[kind]
    recognizer = ActionRecognizer.from_bundle(make_bundle("depth"))
    with pytest.raises(EdgeError, match=message):
        recognizer.predict(frames)


def test_grey_frames_are_refused_by_a_colour_model(make_bundle):
    recognizer = ActionRecognizer.from_bundle(make_bundle("rgb"))
    with pytest.raises(EdgeError, match="RGB"):
        recognizer.predict([np.zeros((24, 32), np.uint8)])


BAD_SKELETONS = {
    "joints": (np.zeros((5, 21, 3)), r"\(5, 21, 3\)"),
    "flat": (np.zeros((5, 60)), r"\(5, 60\)"),
    "empty": (np.zeros((0, 20, 3)), r"\(0, 20, 3\)"),
    "nan": (np.full((5, 20, 3), np.nan), "not finite, first in frame 0"),
    "text": ([["a"]], "not an array of numbers"),
}


@pytest.mark.parametrize("kind", BAD_SKELETONS)
def test_skeletons_that_do_not_fit_are_refused(make_bundle, kind):
    skeleton, message = BAD_SKELETONS[kind]
    recognizer = ActionRecognizer.from_bundle(make_bundle("skeleton"))
    with pytest.raises(EdgeError, match=message):
        recognizer.predict(skeleton=skeleton)


BAD_SAMPLES = {
    "columns": (np.ones((5, 9)), r"\(5, 9\)"),
    "one sample": (np.ones(6), r"\(6,\)"),
    "empty": (np.ones((0, 6)), r"\(0, 6\)"),
    "nan": ([[0, 1, 0, 0, 0, 0], [0, 1, 0, 0, np.inf, 0]], "not finite, first in sample 1"),
    "text": ([["a"]], "not an array of numbers"),
    "m/s2": (np.tile([0, 9.81, 0, 10, 0, 0], (5, 1)), r"9\.81 in the median"),
    "without gravity": (np.tile([0, 0.02, 0, 10, 0, 0], (5, 1)), "with gravity"),
}


@pytest.mark.parametrize("kind", BAD_SAMPLES)
def test_inertial_samples_that_do_not_fit_are_refused(make_bundle, kind):
    inertial, message = BAD_SAMPLES[kind]
    recognizer = ActionRecognizer.from_bundle(make_bundle("inertial"))
    with pytest.raises(EdgeError, match=message):
        recognizer.predict(inertial=inertial)


def test_what_the_bundle_does_not_read_is_refused(make_bundle, depth_frames, skeletons, samples):
    with pytest.raises(EdgeError, match="inertial samples were given; this bundle reads rgb"):
        ActionRecognizer.from_bundle(make_bundle("rgb")).predict(inertial=samples)
    with pytest.raises(EdgeError, match="this bundle reads depth"):
        ActionRecognizer.from_bundle(make_bundle("depth")).predict(depth_frames, skeletons)
    with pytest.raises(EdgeError, match="this bundle reads skeleton"):
        ActionRecognizer.from_bundle(make_bundle("skeleton")).predict(depth_frames, skeletons)


def test_nothing_at_all_is_refused(make_bundle):
    with pytest.raises(EdgeError, match="nothing was given; this bundle reads depth and skeleton"):
        ActionRecognizer.from_bundle(make_bundle("depth", "skeleton")).predict()


@pytest.mark.parametrize("rate_hz", [0.0, -30.0, float("nan"), float("inf")])
def test_an_impossible_rate_is_refused(make_bundle, depth_frames, rate_hz):
    with pytest.raises(EdgeError, match="Hz was given"):
        ActionRecognizer.from_bundle(make_bundle("depth")).predict(depth_frames, frame_rate_hz=rate_hz)


@pytest.mark.parametrize(
    "span", [(2.5, 0.5), (100, 102), (-5, -1), (float("nan"), 2), (1, 1), (0, 1, 2), "ab", (None, 1)]
)
def test_a_span_that_is_no_part_of_the_recording_is_refused(make_bundle, skeletons, span):
    with pytest.raises(EdgeError, match=r"a span of .* was given; .* is expected"):
        ActionRecognizer.from_bundle(make_bundle("skeleton")).predict(
            skeleton=skeletons, skeleton_rate_hz=15, span=span
        )


def test_frames_that_cannot_be_counted_are_refused(make_bundle, depth_frames):
    with pytest.raises(EdgeError, match="generator was given; a list or an array of frames is expected"):
        ActionRecognizer.from_bundle(make_bundle("depth")).predict(frame for frame in depth_frames)


def test_a_model_that_gives_nan_is_no_prediction(make_bundle, skeletons):
    recognizer = ActionRecognizer.from_bundle(make_bundle("skeleton"))

    class Broken:
        name = "broken"

        def run(self, inputs):
            return np.full((1, 6), np.nan, np.float32)

    with pytest.raises(EdgeError, match="finite numbers are expected"):
        ActionRecognizer(recognizer.bundle, Broken(), "fp32").predict(skeleton=skeletons)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (np.arange(30) / 30 + 1.7e9, "seconds since the recording began"),
        (np.arange(30)[::-1] / 30, "times that do not increase"),
        (np.where(np.arange(30) == 9, np.nan, np.arange(30) / 30), "times that do not increase"),
        (np.arange(31) / 30, "one for each of 30"),
        (np.arange(30) / 30 - 0.5, "seconds since the recording began"),
    ],
)
def test_times_of_a_track_that_cannot_be_are_refused(make_bundle, skeletons, times, message):
    recognizer = ActionRecognizer.from_bundle(make_bundle("skeleton"))
    with pytest.raises(EdgeError, match=message):
        recognizer.predict(skeleton=Track(skeletons, times))
    with pytest.raises(EdgeError, match=message):
        list(recognizer.stream(None, skeleton=Track(skeletons, times), skeleton_rate_hz=30))


def test_times_of_a_track_may_be_a_list(make_bundle, skeletons):
    recognizer = ActionRecognizer.from_bundle(make_bundle("skeleton"))
    found = recognizer.predict(skeleton=Track(skeletons, [i / 30 for i in range(30)]))
    assert found.top5 == recognizer.predict(skeleton=skeletons, skeleton_rate_hz=30).top5
