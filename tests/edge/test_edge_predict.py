"""The command python -m edge.predict."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edge import ActionRecognizer, predict
from edge.media import read_video


@pytest.mark.parametrize("name", ["clip.avi", "clip.mp4"])
def test_json_says_what_the_recogniser_says(make_bundle, write_video, run_python, name):
    folder, clip = make_bundle("rgb"), write_video(name)
    done = run_python("-m", "edge.predict", f"--bundle={folder}", clip, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    expected = ActionRecognizer.from_bundle(folder).predict(read_video(clip).values)
    assert result["clip"] == str(clip) and result["skeleton"] is None
    assert result["action"] == expected.action
    assert result["confidence"] == pytest.approx(expected.confidence, rel=1e-5)
    assert [score["action"] for score in result["top5"]] == [score.action for score in expected.top5]
    assert result["latency_ms"] > 0 and result["missing"] == []


def test_text_shows_action_top5_latency_and_what_is_missing(make_bundle, write_video, capsys):
    folder, clip = make_bundle("rgb", "skeleton"), write_video()
    assert predict.main([f"--bundle={folder}", str(clip), "--precision=int8", "--threads=1"]) == 0
    out = capsys.readouterr().out
    recognizer = ActionRecognizer.from_bundle(folder, precision="int8")
    expected = recognizer.predict(read_video(clip).values)
    assert f"tiny, engine {recognizer.engine.name}, precision int8: " in out
    assert f"{expected.action}, {expected.confidence:.1%} sure" in out
    for score in expected.top5:
        assert f"{score.confidence:6.1%}" in out
    assert " ms: " in out and "without skeleton" in out


def test_bars_grow_with_the_confidence(make_bundle, skeletons, tmp_path, capsys):
    np.save(tmp_path / "s.npy", skeletons)
    predict.main([f"--bundle={make_bundle('skeleton')}", f"--skeleton={tmp_path / 's.npy'}"])
    lengths = [line.count("#") for line in capsys.readouterr().out.splitlines() if "%" in line][1:]
    assert len(lengths) == 5 and lengths == sorted(lengths, reverse=True) and lengths[0] > 0


def test_a_bad_clip_is_reported_and_the_others_go_on(make_bundle, write_video, tmp_path, run_python):
    folder = make_bundle("rgb")
    good, empty, broken = write_video("a.avi"), tmp_path / "empty.avi", tmp_path / "broken_01.avi"
    empty.write_bytes(b"")
    broken.write_bytes(write_video("b.avi").read_bytes()[:300])
    clips = [empty, good, tmp_path / "nowhere.avi", broken, good]
    done = run_python("-m", "edge.predict", f"--bundle={folder}", *clips, "--json")
    assert done.returncode == 1
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["clip"] for result in results] == [str(clip) for clip in clips]
    assert ["error" in result for result in results] == [True, False, True, True, False]
    messages = done.stderr.splitlines()
    assert len(messages) == 3 and all(message.startswith("error: ") for message in messages)


def test_each_clip_goes_with_its_skeleton(make_bundle, depth_frames, skeletons, tmp_path, capsys):
    folder = make_bundle("depth", "skeleton")
    arguments = [f"--bundle={folder}", "--json"]
    for name, joints in (("a", skeletons), ("b", skeletons[::-1])):
        np.save(tmp_path / f"{name}_d.npy", depth_frames)
        np.save(tmp_path / f"{name}_s.npy", joints)
        arguments += [str(tmp_path / f"{name}_d.npy"), f"--skeleton={tmp_path / name}_s.npy"]
    assert predict.main(arguments) == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    recognizer = ActionRecognizer.from_bundle(folder)
    expected = [recognizer.predict(depth_frames, joints).confidence for joints in (skeletons, skeletons[::-1])]
    assert [result["confidence"] for result in results] == pytest.approx(expected)
    assert expected[0] != pytest.approx(expected[1])


def test_each_clip_goes_with_its_inertial_file(make_bundle, depth_frames, skeletons, samples, tmp_path, capsys):
    folder = make_bundle("depth", "skeleton", "inertial")
    arguments = [f"--bundle={folder}", "--json"]
    for name, values in (("a", samples), ("b", -samples)):
        files = {"d": depth_frames, "s": skeletons, "i": values}
        paths = {kind: tmp_path / f"{name}_{kind}.npy" for kind in files}
        for kind, array in files.items():
            np.save(paths[kind], array)
        arguments += [str(paths["d"]), f"--skeleton={paths['s']}", f"--inertial={paths['i']}"]
    assert predict.main(arguments) == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [result["inertial"] for result in results] == [str(tmp_path / f"{name}_i.npy") for name in "ab"]
    recognizer = ActionRecognizer.from_bundle(folder)
    expected = [recognizer.predict(depth_frames, skeletons, values).confidence for values in (samples, -samples)]
    assert [result["confidence"] for result in results] == pytest.approx(expected)
    assert expected[0] != pytest.approx(expected[1])


def test_inertial_files_alone_are_predicted_and_their_rate_counts(make_bundle, skeletons, samples, tmp_path, capsys):
    np.save(tmp_path / "i.npy", samples)
    np.save(tmp_path / "s.npy", skeletons)
    folder, file = make_bundle("skeleton", "inertial"), f"--inertial={tmp_path / 'i.npy'}"
    assert predict.main([f"--bundle={folder}", file]) == 0
    assert "without skeleton" in capsys.readouterr().out
    arguments = [f"--bundle={folder}", "--json", file, f"--skeleton={tmp_path / 's.npy'}"]
    assert predict.main([*arguments, "--skeleton_rate=30", "--inertial_rate=160"]) == 0
    confidence = json.loads(capsys.readouterr().out)["confidence"]
    recognizer = ActionRecognizer.from_bundle(folder)
    expected = recognizer.predict(None, skeletons, samples, skeleton_rate_hz=30.0, inertial_rate_hz=160.0)
    assert confidence == pytest.approx(expected.confidence)
    assert confidence != pytest.approx(recognizer.predict(None, skeletons, samples).confidence)


def test_rates_from_the_command_line_align_the_modalities(make_bundle, depth_frames, skeletons, tmp_path, capsys):
    folder = make_bundle("depth", "skeleton")
    np.save(tmp_path / "d.npy", depth_frames)
    np.save(tmp_path / "s.npy", skeletons)
    files = [f"--bundle={folder}", "--json", str(tmp_path / "d.npy"), f"--skeleton={tmp_path / 's.npy'}"]
    assert predict.main([*files, "--frame_rate=30", "--skeleton_rate=30"]) == 0
    expected = ActionRecognizer.from_bundle(folder).predict(
        depth_frames, skeletons, frame_rate_hz=30.0, skeleton_rate_hz=30.0
    )
    assert json.loads(capsys.readouterr().out)["confidence"] == pytest.approx(expected.confidence)


def test_a_clip_for_a_bundle_of_skeletons_is_refused(make_bundle, write_video, capsys):
    assert predict.main([f"--bundle={make_bundle('skeleton')}", str(write_video())]) == 1
    assert "reads skeleton, no video: give --skeleton=FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "--bundle"),
        (["--bundle=b"], "at least one CLIP"),
        (["--bundle=b", "x.avi", "--skeleton=1.npy", "--skeleton=2.npy"], "1 clips and 2 skeletons"),
        (
            ["--bundle=b", "--skeleton=1.npy", "--inertial=1.npy", "--inertial=2.npy"],
            "1 skeletons and 2 inertial files",
        ),
        (["--bundle=b", "x.avi", "--threads=0"], "a whole number from 1"),
        (["--bundle=b", "x.avi", "--frame_rate=-1"], "above 0"),
        (["--bundle=b", "x.avi", "--jsno"], "--jsno"),
    ],
)
def test_wrong_arguments_end_with_code_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        predict.main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("option, message", [("--precision=int9", "'int8'"), ("--engine=onnx", "onnxruntime")])
def test_an_unknown_name_ends_with_code_1_and_what_there_is(make_bundle, capsys, option, message):
    assert predict.main([f"--bundle={make_bundle('skeleton')}", "--skeleton=s.npy", option]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ") and message in err and "Traceback" not in err


def test_rates_that_are_given_go_before_those_of_the_files(make_bundle, write_video, skeletons, tmp_path, capsys):
    """The video says 15 Hz, the skeletons 30."""
    clip, joints = write_video(frames=12, colour=lambda i: (20 * i, 255 - 20 * i, 9 * i)), tmp_path / "a_skeleton.mat"
    pytest.importorskip("scipy.io").savemat(joints, {"d_skel": skeletons.transpose(1, 2, 0)})
    folder = make_bundle("rgb", "skeleton")
    recognizer = ActionRecognizer.from_bundle(folder)
    for given in ({}, {"frame": 60.0}, {"skeleton": 60.0}):
        rates = [f"--{kind}_rate={rate_hz}" for kind, rate_hz in given.items()]
        assert predict.main([f"--bundle={folder}", "--json", str(clip), f"--skeleton={joints}", *rates]) == 0
        expected = recognizer.predict(
            read_video(clip).values,
            skeletons,
            frame_rate_hz=given.get("frame", 15.0),
            skeleton_rate_hz=given.get("skeleton", 30.0),
        )
        assert json.loads(capsys.readouterr().out)["confidence"] == pytest.approx(expected.confidence, rel=1e-5)
