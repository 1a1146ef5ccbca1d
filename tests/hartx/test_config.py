"""Configs: golden files, checked values, and the one that a run keeps."""

import importlib
import os

import pytest
from ml_collections import ConfigDict

from configs import base, skeleton
from hartx import config as configs
from hartx.errors import HartxError

EXPERIMENTS = (
    "rgb",
    "rgb:small",
    "depth",
    "depth:video",
    "skeleton",
    "skeleton:plain",
    "inertial",
    "fusion:rgb",
    "fusion:skeleton_inertial",
    "fusion:depth",
    "fusion:depth_inertial",
    "fusion:all",
    "fusion:demo",
)


CHANGES = ("prune", "finetune")  # of a finished run: they are no experiments by themselves


def get(experiment):
    name, _, variant = experiment.partition(":")
    get_config = importlib.import_module(f"configs.{name}").get_config
    return get_config(variant) if variant else get_config()


@pytest.mark.parametrize("experiment", [*EXPERIMENTS, *CHANGES])
def test_golden(experiment, repository):
    """Any change of a default is a diff that somebody reads. HARTX_GOLDEN=write writes the files anew."""
    text = "".join(f"{k} = {v!r}\n" for k, v in sorted(configs.flatten(get(experiment)).items()))
    golden = repository / "tests/hartx/golden" / (experiment.replace(":", "_") + ".txt")
    if os.environ.get("HARTX_GOLDEN") == "write":
        golden.write_text(text)
    assert text == golden.read_text()


def test_every_config_file_has_a_golden_file(repository):
    files = {path.stem for path in (repository / "configs").glob("*.py")} - {"__init__", "base"}
    assert files == {experiment.partition(":")[0] for experiment in EXPERIMENTS} | {*CHANGES}


def test_every_step_of_the_skeleton_ablation_changes_the_network_or_the_recipe():
    flat = [configs.flatten(skeleton.get_config(step)) for step in skeleton.STEPS]
    for before, after, changes in zip(flat[:-1], flat[1:], list(skeleton.STEPS.values())[1:], strict=True):
        different = {field for field in after if after[field] != before[field]} - {"name"}
        assert different == set(changes)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_config_is_sound_and_has_a_docstring_with_its_command(experiment):
    config = get(experiment)
    configs.check(config)
    document = importlib.import_module(f"configs.{experiment.partition(':')[0]}").__doc__
    assert f"--config=configs/{experiment.partition(':')[0]}.py" in document


def test_joints_are_not_learnt_beside_other_streams():
    config = base.get_config()
    config.streams = ("depth", "skeleton")
    configs.check(config)
    config.model.depth_members = ("video", "pose")
    with pytest.raises(HartxError, match="which learns joints from depth alone"):
        configs.check(config)


@pytest.mark.parametrize("field, value", [("mixing.cutmix", 1.0), ("augment.temporal_mask_ratio", 0.2)])
def test_joints_are_not_learnt_where_the_depth_is_cut_out(field, value):
    config = get("depth")
    config.update_from_flattened_dict({field: value})
    with pytest.raises(HartxError, match=f"config.{field}={value} was given.*0 is expected"):
        configs.check(config)


def test_clips_in_which_joints_are_learnt_are_blended_all_of_a_batch_together():
    config = get("depth")
    config.accumulate = 2
    with pytest.raises(HartxError, match=r"config.accumulate=2 was given.*1 is expected"):
        configs.check(config)
    config.mixing.mixup = 0.0
    configs.check(config)


@pytest.mark.parametrize("name", CHANGES)
def test_what_only_changes_a_run_is_no_config_of_its_own(name):
    with pytest.raises(HartxError, match=f"config {name} only changes a finished run"):
        configs.check(get(name))


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("streams", ("depht",), "did you mean 'depth'"),
        ("streams", (), "config.streams is empty"),
        ("dataset.name", "utd_mahd", "did you mean 'utd_mhad'"),
        ("clip.sampling", "windows", "did you mean 'window'"),
        ("model.dtype", "float16", "float32, bfloat16"),
        ("batch_size", 0, "at least 1"),
        ("seed", -1, "at least 0"),
        ("streams", ("skeleton", "skeleton"), "each stream is expected once"),
        ("dataset.num_workers", -1, "at least 0"),
        ("optim.clip_norm", -1.0, "at least 0"),
        ("optim.warmup_epochs", float("nan"), "at least 0"),
        ("model.video.width", 0, "at least 1"),
        ("clip.range_m", 0.0, "more than 0"),
        ("augment.color_jitter", (0.2, 0.2), "4 numbers"),
        ("augment.rgb_scale", (0.5, 0.8, 0.9), "2 numbers"),
        ("label_smoothing", 1.0, "0 <= value < 1"),
        ("modality_dropout", -0.1, "0 <= value < 1"),
        ("clip.inertial_frames", 1, "at least 2"),
        ("model.inertial.pooling", "frist", "last, mean_max"),
        ("model.inertial.dropout", 1.0, "0 <= value < 1"),
        ("accumulate", 3, "no multiple"),
        ("clip.strides", (), "one or more numbers"),
        ("clip.strides", (0, 1), "one or more numbers"),
        ("augment.temporal_elastic", 1.0, "0 <= value < 1"),
        ("augment.temporal_mask_ratio", -0.1, "0 <= value < 1"),
        ("augment.temporal_masks", 0, "at least 1"),
        ("augment.limb_scale", 1.0, "0 <= value < 1"),
        ("augment.tilt_degrees", -5.0, "at least 0"),
        ("protocol", "losso:7", "did you mean 'loso'"),
    ],
)
def test_a_value_no_run_can_use_is_refused(field, value, message):
    config = base.get_config()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(HartxError, match=message):
        configs.check(config)


def test_a_crop_larger_than_the_frame_is_refused():
    config = get("rgb")
    config.clip.crop = 300
    with pytest.raises(HartxError, match="larger than"):
        configs.check(config)


def test_a_window_of_frames_needs_a_stream_that_has_frames():
    config = get("inertial")
    config.clip.sampling = "window"
    with pytest.raises(HartxError, match="'window' counts frames"):
        configs.check(config)
    config.streams = ("inertial", "skeleton")
    configs.check(config)


def test_a_window_of_frames_is_refused_where_streams_are_trained_alone_first():
    config = get("fusion:skeleton_inertial")
    config.clip.sampling = "window"
    with pytest.raises(HartxError, match=r"Use 'uniform', or an empty config\.pretraining"):
        configs.check(config)


@pytest.mark.parametrize("scale", [(0.0, 1.0), (1.0, 0.5), (0.5, 1.4)])
def test_an_area_that_no_frame_has_is_refused(scale):
    config = get("rgb")
    config.augment.rgb_scale = (0.2, 1.3)
    configs.check(config)
    config.augment.rgb_scale = scale
    with pytest.raises(HartxError, match=r"largest <= 1\.31"):
        configs.check(config)


def test_keep_and_load_round_trip(tmp_path):
    config = get("fusion:depth")
    configs.keep(config, tmp_path)
    assert configs.flatten(configs.load(tmp_path)) == configs.flatten(config)
    assert isinstance(configs.load(tmp_path).streams, tuple)
    configs.keep(configs.load(tmp_path), tmp_path)


def test_another_config_in_the_workdir_is_refused_and_the_difference_named(tmp_path):
    config = base.get_config()
    configs.keep(config, tmp_path)
    config.optim.learning_rate = 5e-4
    with pytest.raises(HartxError, match=r"optim\.learning_rate: 0\.001 there, 0\.0005 now"):
        configs.keep(config, tmp_path)
    assert configs.load(tmp_path).optim.learning_rate == 1e-3


def test_fields_that_leave_the_run_the_same_may_change(tmp_path):
    config = base.get_config()
    configs.keep(config, tmp_path)
    config.dataset.data_dir = "/elsewhere"
    config.clip.views = 4
    configs.keep(config, tmp_path)
    assert configs.load(tmp_path).clip.views == 4
    for field in configs.FREE_FIELDS:
        assert field in configs.flatten(config)


def test_an_empty_workdir_says_how_to_start(tmp_path):
    with pytest.raises(HartxError, match=r"--config=configs/fusion.py"):
        configs.load(tmp_path)


def test_a_damaged_config_is_one_clear_error(tmp_path):
    (tmp_path / "config.json").write_text('{"name": "x"')
    with pytest.raises(HartxError, match="damaged"):
        configs.load(tmp_path)


def test_flatten_names_nested_fields():
    assert configs.flatten(ConfigDict({"a": {"b": (1, 2)}, "c": 3})) == {"a.b": [1, 2], "c": 3}
