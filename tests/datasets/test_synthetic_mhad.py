"""The synthetic recordings: their files, their truth to themselves, and that they can be learnt."""

from __future__ import annotations

import subprocess
import sys

import av
import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets import synthetic_mhad
from datasets.errors import DatasetError
from datasets.synthetic_mhad import body
from datasets.synthetic_mhad.__main__ import main, numbers
from datasets.synthetic_mhad.motions import MOTIONS, Pose
from datasets.synthetic_mhad.performance import CAMERA_HEIGHT_M, DEPTH_HZ
from datasets.synthetic_mhad.picture import draw
from datasets.synthetic_mhad.recording import record, rehearse
from datasets.synthetic_mhad.scene import depth_camera, rgb_camera
from datasets.utd_mhad import ACTIONS, RecordingId

SIZE = (96, 128)
SMALL = dict(subjects=(1, 2), actions=(1, 24), trials=1, size=(48, 64), progress=False)

actions = st.sampled_from(sorted(MOTIONS))
subjects = st.integers(1, 8)
keys = st.builds(RecordingId, actions, subjects, st.integers(1, 6))


def joints_of(key: RecordingId, seed: int = 0) -> np.ndarray:
    """The (T, 20, 3) skeleton of a recording."""
    return rehearse(key, seed).at_rate(DEPTH_HZ)


def files_of(folder) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def raw_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "raw"
    synthetic_mhad.write(folder, num_workers=1, **SMALL)
    return folder


# --- files ----------------------------------------------------------------------------------------


def test_the_files_are_named_and_laid_out_as_the_authors_do(raw_dir):
    names = [f"a{a}_s{s}_t1" for a in (1, 24) for s in (1, 2)]
    expected = {f"RGB/{name}_color.avi" for name in names}
    expected |= {f"{f}/{n}_{f.lower()}.mat" for n in names for f in ("Depth", "Skeleton", "Inertial")}
    assert set(files_of(raw_dir)) == expected


def test_the_mat_files_have_the_authors_keys_shapes_and_types(raw_dir):
    depth = scipy.io.loadmat(raw_dir / "Depth" / "a1_s1_t1_depth.mat")["d_depth"]
    skeleton = scipy.io.loadmat(raw_dir / "Skeleton" / "a1_s1_t1_skeleton.mat")["d_skel"]
    samples = scipy.io.loadmat(raw_dir / "Inertial" / "a1_s1_t1_inertial.mat")["d_iner"]
    num_frames = depth.shape[-1]
    assert depth.shape == (24, 32, num_frames) and depth.dtype == np.uint16
    assert skeleton.shape == (20, 3, num_frames) and skeleton.dtype == np.float64
    assert samples.shape == (round(2.65 * num_frames), 6) and samples.dtype == np.float64
    assert 40 <= num_frames <= 125  # as the real ones
    assert 0.03 < (depth > 0).mean() < 0.25
    assert np.median(depth[depth > 0]) == pytest.approx(2850, abs=300)


def test_the_video_is_mpeg4_at_15_frames_a_second_and_as_long_as_the_depth(raw_dir):
    for path in sorted((raw_dir / "RGB").iterdir()):
        with av.open(path) as container:
            stream = container.streams.video[0]
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
            assert stream.codec_context.name == "mpeg4"
            assert stream.codec_context.codec_tag == "XVID"
            assert stream.average_rate == 15
        depth = scipy.io.loadmat(raw_dir / "Depth" / path.name.replace("color.avi", "depth.mat"))["d_depth"]
        assert len(frames) / 15 == depth.shape[-1] / 30
        assert frames[0].shape == (48, 64, 3)


def test_the_decoded_video_shows_what_was_rendered(raw_dir):
    with av.open(raw_dir / "RGB" / "a24_s2_t1_color.avi") as container:
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    rendered = record(RecordingId(24, 2, 1), (48, 64), seed=0).rgb
    assert np.abs(decoded.astype(int) - rendered).mean() < 6


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_workers(raw_dir, tmp_path):
    synthetic_mhad.write(tmp_path / "again", num_workers=2, **SMALL)
    assert files_of(tmp_path / "again") == files_of(raw_dir)


def test_a_recording_does_not_depend_on_the_others(raw_dir, tmp_path):
    synthetic_mhad.write(tmp_path, num_workers=1, **{**SMALL, "subjects": [2], "actions": [24]})
    everything = files_of(raw_dir)
    for name, data in files_of(tmp_path).items():
        assert everything[name] == data


def test_another_seed_trial_or_subject_is_another_recording():
    key = RecordingId(3, 1, 1)
    first = joints_of(key)
    for other in (joints_of(key, seed=1), joints_of(key._replace(trial=2)), joints_of(key._replace(subject=2))):
        assert other.shape != first.shape or not np.allclose(other, first, atol=0.01)


def test_the_random_state_of_others_is_left_alone():
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    record(RecordingId(3, 1, 1), (48, 64), seed=0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


# --- bodies ---------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(key=keys, other_action=actions)
def test_bones_keep_their_length_over_time_and_over_actions(key, other_action):
    first, second = np.array(body.BONES).T
    lengths = [
        np.linalg.norm(joints[:, first] - joints[:, second], axis=-1)
        for joints in (joints_of(key), joints_of(key._replace(action=other_action)))
    ]
    np.testing.assert_allclose(np.concatenate(lengths), np.broadcast_to(lengths[0][0], (sum(map(len, lengths)), 19)))


@settings(max_examples=30, deadline=None)
@given(key=keys)
def test_bodies_move_smoothly_above_the_floor_and_inside_the_colour_picture(key):
    joints = joints_of(key)
    assert np.isfinite(joints).all()
    assert joints[..., 1].min() > -CAMERA_HEIGHT_M
    speed = np.linalg.norm(np.diff(joints, axis=0), axis=-1).max() * DEPTH_HZ
    assert speed < 12  # m/s; an elbow that flips over within a frame is faster
    camera = rgb_camera(*SIZE)
    rows, columns = camera.project(joints)
    assert rows.min() > 0.01 * camera.height and rows.max() < 0.99 * camera.height
    assert columns.min() > 0.05 * camera.width and columns.max() < 0.95 * camera.width


@settings(max_examples=8, deadline=None)
@given(key=keys)
def test_joints_project_onto_the_depth_foreground_just_behind_its_surface(key):
    recording = record(key, (240, 320), seed=0)
    camera = depth_camera(120, 160)
    joints = np.moveaxis(recording.skeleton, -1, 0)
    rows, columns = (np.rint(a).astype(int) for a in camera.project(joints))
    inside = (rows >= 0) & (rows < camera.height) & (columns >= 0) & (columns < camera.width)
    assert inside.mean() > 0.97
    frame = np.broadcast_to(np.arange(len(joints))[:, None], rows.shape)
    surface_m = recording.depth[rows[inside], columns[inside], frame[inside]] / 1000
    seen = surface_m > 0
    assert seen.mean() > 0.98
    behind = joints[..., 2][inside][seen] - surface_m[seen]
    assert behind.min() > -0.02  # nothing of the body is behind its own joints
    assert np.median(behind) < 0.15


@given(reach=st.tuples(*[st.floats(-1, 1)] * 3), turn=st.floats(-1, 1))
def test_an_elbow_points_away_from_the_arm_and_moves_little_when_the_hand_does(reach, turn):
    hand = np.array(reach)
    if np.linalg.norm(hand) < 0.3 or hand @ (0.2, -0.5, 0.75) < -0.75 * np.linalg.norm(hand):
        return  # behind and above the shoulder nobody reaches
    towards = body.elbow_direction(np.stack([hand, hand + (0.001, -0.001, 0.001)]), np.array([turn, turn]))
    np.testing.assert_allclose(np.linalg.norm(towards, axis=-1), 1)
    assert abs(towards[0] @ hand) < 1e-9
    assert np.linalg.norm(towards[1] - towards[0]) < 0.05


@given(
    root=st.tuples(*[st.floats(-1, 1)] * 3),
    target=st.tuples(*[st.floats(-2, 2)] * 3),
    first=st.floats(0.2, 0.4),
    second=st.floats(0.2, 0.4),
)
def test_a_limb_keeps_its_lengths_and_reaches_what_is_in_reach(root, target, first, second):
    start, goal = np.array([root]), np.array([target])
    distance = np.linalg.norm(goal - start)
    if distance < 0.3:
        return
    middle, end = body.bend_limb(start, goal, np.array([[0.31, -1.0, 0.17]]), first, second)
    assert np.linalg.norm(end - middle) == pytest.approx(second)
    assert np.linalg.norm(end - start) < first + second
    if distance < body.FREE_REACH * (first + second):
        np.testing.assert_allclose(end, goal, atol=1e-9)


def test_mirroring_a_pose_twice_gives_it_back():
    for motion in MOTIONS.values():
        for _, pose in motion.poses(repeats=1):
            assert pose.mirrored().mirrored() == pose
    assert Pose(right_hand=(1, 2, 3)).mirrored().left_hand == (1, 2, 3)


# --- actions --------------------------------------------------------------------------------------


def test_every_action_has_a_motion():
    assert sorted(MOTIONS) == list(range(1, len(ACTIONS) + 1))


@pytest.mark.parametrize("pair", [(1, 2), (9, 10), (24, 25)])
def test_actions_that_differ_in_direction_are_each_others_reverse(pair):
    forwards, backwards = (MOTIONS[action].poses(repeats=1) for action in pair)
    assert [pose for _, pose in backwards] == [pose for _, pose in reversed(forwards)]
    assert [s for s, _ in backwards[1:]] == [s for s, _ in reversed(forwards[1:])]


@pytest.mark.parametrize("subject", range(1, 9))
def test_directions_are_those_of_the_names(subject):
    def path(action: int, joint: str) -> np.ndarray:
        return joints_of(RecordingId(action, subject, 1))[:, body.JOINTS.index(joint)]

    for action, sign in ((24, 1), (25, -1)):
        height = path(action, "head")[:, 1]
        assert sign * (height[-1] - height[0]) > 0.25
    for action, sign in ((1, -1), (2, 1)):  # x is to the person's right
        x = path(action, "right_hand")[:, 0]
        assert sign * (np.argmax(x) - np.argmin(x)) > 0
    for action, sign in ((9, 1), (10, -1)):  # clockwise as the person sees it: from the top to the right
        middle = path(action, "right_hand")[:, :2]
        middle = middle[len(middle) // 4 : -len(middle) // 4]
        x, y = (middle - middle.mean(axis=0)).T
        assert np.sign(np.sum(y[:-1] * x[1:] - x[:-1] * y[1:])) == sign


def _features(joints: np.ndarray, count: int = 32) -> np.ndarray:
    """Joints at `count` instants, centred on the mean hip, in torso lengths."""
    instants = np.linspace(0, len(joints) - 1, count)
    left = np.minimum(instants.astype(int), len(joints) - 2)
    weight = (instants - left)[:, None, None]
    resampled = joints[left] * (1 - weight) + joints[left + 1] * weight
    torso = np.linalg.norm(resampled[:, 1] - resampled[:, 3], axis=-1).mean()
    return (resampled - resampled[:, 3].mean(axis=0)) / torso


def _nearest_neighbour_accuracy(features: np.ndarray) -> float:
    """Cross-subject accuracy of (subject, action, ...) features: odd subjects are known, even ones asked."""
    known, asked = (features[i::2].reshape(4 * len(MOTIONS), -1) for i in (0, 1))
    labels = np.tile(np.arange(len(MOTIONS)), 4)
    distance = np.square(asked[:, None] - known[None]).sum(axis=-1)
    return float((labels[distance.argmin(axis=1)] == labels).mean())


def test_actions_can_be_told_apart_across_subjects_but_not_without_the_order_of_frames():
    features = np.array([[_features(joints_of(RecordingId(a, s, 1))) for a in sorted(MOTIONS)] for s in range(1, 9)])
    accuracy = _nearest_neighbour_accuracy(features)
    assert 0.7 < accuracy < 0.98  # neither hopeless nor trivial; chance is 1 in 27
    rng = np.random.default_rng(0)
    shuffled = np.array([[clip[rng.permutation(len(clip))] for clip in row] for row in features])
    assert _nearest_neighbour_accuracy(shuffled) < accuracy - 0.3


# --- preparing ------------------------------------------------------------------------------------


def test_prepare_converts_once_and_keeps_no_raw_files(tmp_path):
    options = {**SMALL, "actions": (24,), "num_workers": 1}
    builder = synthetic_mhad.prepare(tmp_path, **options)
    records = builder.as_data_source("s1+s2")
    assert [r["name"] for r in records] == [b"a24_s1_t1", b"a24_s2_t1"]
    assert [int(r["action"]) for r in records] == [23, 23]
    assert len(records[0]["rgb"]["frames"]) == len(records[0]["depth"]["frames"]) / 2
    written = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.array_record*")}
    assert not list(tmp_path.rglob("*.mat")) and not list(tmp_path.rglob("*.avi"))
    again = synthetic_mhad.prepare(tmp_path, **options)
    assert again.data_path == builder.data_path
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.array_record*")} == written
    other = synthetic_mhad.prepare(tmp_path, **{**options, "seed": 1})
    assert other.data_path != builder.data_path


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"subjects": [0, 1]}, r"subjects \[0\] given.*1..8"),
        ({"subjects": []}, "subjects none given"),
        ({"actions": [28]}, r"actions \[28\] given.*1..27"),
        ({"trials": 0}, "trials 0 given"),
        ({"seed": -1}, "seed -1 given"),
        ({"size": (16, 16)}, "at least 32"),
        ({"size": (50, 64)}, "multiples of 4"),
        ({"size": (64, 128)}, "3/4 of the width"),
    ],
)
def test_arguments_that_cannot_be_are_refused_and_nothing_is_written(tmp_path, changes, words):
    for make in (synthetic_mhad.write, synthetic_mhad.prepare):
        with pytest.raises(DatasetError, match=words):
            make(tmp_path / "out", **{**SMALL, **changes})
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_recordings_is_refused(raw_dir):
    before = files_of(raw_dir)
    with pytest.raises(DatasetError, match="already has RGB"):
        synthetic_mhad.write(raw_dir, **{**SMALL, "seed": 5})
    assert files_of(raw_dir) == before


def test_the_command_writes_and_tells_mistakes_in_one_line(tmp_path, capsys):
    arguments = ["--subjects=2", "--actions=5", "--trials=1", "--size", "48", "64", "--num_workers=1"]
    assert main([f"--raw_dir={tmp_path}", *arguments]) == 0
    assert (tmp_path / "RGB" / "a5_s2_t1_color.avi").exists()
    assert "1 recordings" in capsys.readouterr().out
    assert main([f"--raw_dir={tmp_path}", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("error: raw_dir ") and "Traceback" not in error
    with pytest.raises(SystemExit) as exit_info:
        main([f"--raw_dir={tmp_path}", "--actions=x"])
    assert exit_info.value.code == 2


def test_lists_of_numbers_may_hold_ranges():
    assert numbers("1,3,5-8") == [1, 3, 5, 6, 7, 8]


def test_importing_it_loads_no_slow_library():
    code = "import sys, datasets.synthetic_mhad; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"jax", "tensorflow_datasets", "matplotlib"} & set(out.stdout.split())


def test_the_picture_shows_three_strips_a_recording():
    figure = draw()
    assert len(figure.axes) == 3 * 6
    assert {axis.get_title(loc="left") for axis in figure.axes} >= {"throw, subject 3", "squat, subject 7"}
