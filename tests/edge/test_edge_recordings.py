"""The stream and the batch on real recordings of depth and skeletons."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import edge
from edge import ActionRecognizer, live, predict
from edge.events import Predicted
from edge.media import read_depth, read_skeleton, read_video
from edge.runtime import StreamOptions
from edge.sampling import Track, regular_track

REAL = Path(os.environ.get("HARTX_UTD_MHAD") or Path(edge.__file__).resolve().parents[2] / "shared" / "utd_mhad")
pytestmark = pytest.mark.skipif(
    not (REAL / "Depth").is_dir(), reason=f"the real recordings are not in {REAL} (set HARTX_UTD_MHAD)"
)
NAME = "a24_s1_t1"  # sit to stand: longer than a window


@pytest.fixture
def files():
    pytest.importorskip("scipy")
    return REAL / "Depth" / f"{NAME}_depth.mat", REAL / "Skeleton" / f"{NAME}_skeleton.mat"


def test_a_stream_over_a_recording_is_predict_on_the_same_windows(make_bundle, edit_bundle, files):
    folder = make_bundle("depth", "skeleton")
    edit_bundle(folder, lambda values: values["window"].update(duration_s=1.0))
    recognizer = ActionRecognizer.from_bundle(folder)
    frames, joints = (read(file).values for read, file in zip((read_depth, read_skeleton), files))  # noqa: B905
    skeletons = regular_track(joints, 30.0)
    events = list(recognizer.stream(*files, options=StreamOptions(stride=1)))
    predictions = [event for event in events if isinstance(event, Predicted)]
    assert len(predictions) == int((len(frames) - 1) / 30 / 0.25) - 2 > 0
    for k, prediction in enumerate(predictions):
        instants = (k + np.arange(4)) * 0.25
        at = np.ceil(instants * 30 - 1e-6).astype(int)
        count = int((skeletons.time_s <= at[-1] / 30 + 1e-6).sum())
        expected = recognizer.predict(
            Track(frames[at], instants),
            Track(joints[:count], skeletons.time_s[:count]),
            span=(prediction.start_s, prediction.stop_s),
        )
        assert prediction.window_top5 == expected.top5 and prediction.missing == ()
        assert prediction.start_s == pytest.approx(0.25 * (k - 0.5))


def test_live_and_batch_run_on_recordings(make_bundle, edit_bundle, files, tmp_path, capsys):
    folder = make_bundle("depth", "skeleton")
    edit_bundle(folder, lambda values: values["window"].update(duration_s=1.0))
    depth, skeletons = (tmp_path / name for name in ("depth", "skeletons"))
    for target, source in ((depth, files[0]), (skeletons, files[1])):
        target.mkdir()
        (target / source.name).symlink_to(source)
    out = tmp_path / "out"
    arguments = [
        f"--bundle={folder}",
        str(depth),
        f"--skeleton={skeletons}",
        f"--output={out}",
        "--visualize",
        "--json",
    ]
    assert predict.main(arguments) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["missing"] == [] and Path(row["timeline"]).is_file()
    record = tmp_path / "live.mp4"
    arguments = [f"--bundle={folder}", f"--source={files[0]}", f"--skeleton={files[1]}", "--every_frame"]
    assert live.main([*arguments, f"--record={record}", "--show-skeleton"]) == 0
    frames = read_depth(files[0]).values
    assert len(read_video(record).values) == len(read_video(row["video"]).values) == len(frames)
