"""Configs: checking values, keeping the one a run was started with, comparing two of them."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from edge.joints import LAYOUTS
from edge.preprocess import SPECS
from hartx.errors import HartxError, suggestion
from hartx.files import write_json
from hartx.protocol import is_test

# Fields whose change does not change what a run computes: a run may be resumed with others.
FREE_FIELDS = (
    "dataset.data_dir",
    "dataset.raw_dir",
    "dataset.cache_gib",
    "dataset.num_workers",
    "log_steps",
    "checkpoint_epochs",
    "eval_checkpoint",
    "clip.views",
    "streams_dir",
)

# Those of them that change the run's report.
TEST_FIELDS = ("clip.views", "eval_checkpoint")

_CHOICES = {
    "dataset.name": ("auto", "utd_mhad", "synthetic_mhad", "video_folder"),
    "clip.sampling": ("uniform", "window"),
    "clip.skeleton_layout": tuple(LAYOUTS),
    "model.dtype": ("float32", "bfloat16"),
    "model.skeleton.pooling": ("last", "mean_max"),
    "model.inertial.pooling": ("last", "mean_max"),
    "eval_checkpoint": ("last", "best"),
}
_AT_LEAST = {
    "batch_size": 1,
    "num_epochs": 1,
    "accumulate": 1,
    "log_steps": 1,
    "clip.num_frames": 1,
    "clip.skeleton_frames": 2,
    "clip.inertial_frames": 2,
    "clip.views": 1,
    "clip.crop": 16,
    "seed": 0,
    "checkpoint_epochs": 0,
    "dataset.num_workers": 0,
    "dataset.cache_gib": 0,
    "joint_loss": 0,
    "auxiliary_loss": 0,
    "synthetic.trials": 1,
    "synthetic.height": 16,
    "synthetic.width": 16,
    "optim.learning_rate": 0,
    "optim.warmup_epochs": 0,
    "optim.weight_decay": 0,
    "optim.clip_norm": 0,
    "model.video.width": 1,
    "model.pose.width": 1,
    "model.skeleton.layers": 1,
    "model.skeleton.features": 1,
    "model.skeleton.members": 1,
    "model.inertial.layers": 1,
    "model.inertial.features": 1,
    "model.inertial.members": 1,
    "model.fusion.hidden": 1,
    "mixing.mixup": 0,
    "mixing.cutmix": 0,
    "augment.temporal_masks": 1,
    "augment.rotation_degrees": 0,
    "augment.turn_degrees": 0,
    "augment.tilt_degrees": 0,
    "augment.body_shear": 0,
    "augment.skeleton_jitter": 0,
    "augment.depth_noise": 0,
    "augment.inertial_rotation_degrees": 0,
    "augment.inertial_jitter": 0,
}
_ABOVE_0 = ("clip.extent_m", "clip.range_m")
_LENGTHS = {"augment.color_jitter": 4, "augment.rgb_scale": 2}
_SHARES = (
    "label_smoothing",
    "modality_dropout",
    "ema_decay",
    "mixing.cutmix_share",
    "augment.temporal_crop",
    "augment.temporal_elastic",
    "augment.temporal_mask_ratio",
    "augment.depth_shift",
    "augment.depth_erase",
    "augment.body_scale",
    "augment.body_stretch",
    "augment.limb_scale",
    "augment.joint_dropout",
    "augment.inertial_scale",
    "model.video.dropout",
    "model.skeleton.dropout",
    "model.inertial.dropout",
    "model.fusion.dropout",
)


def flatten(config: ConfigDict | dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return {"optim.learning_rate": 0.001, ...}; sequences as lists, as JSON keeps them."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, ConfigDict | dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = _with_lists(value)
    return flat


def _with_lists(value: Any) -> Any:
    return [_with_lists(entry) for entry in value] if isinstance(value, tuple | list) else value


def check(config: ConfigDict) -> None:
    """Raise HartxError for a value no run can use."""
    if "streams" not in config:  # configs/prune.py or finetune.py, whose other fields come from that run
        raise HartxError(f"config {config.name} only changes a finished run; start it with python main.py --config=...")
    flat = flatten(config)
    checked = (*_CHOICES, *_AT_LEAST, *_ABOVE_0, *_LENGTHS, *_SHARES)
    if absent := [field for field in checked if field not in flat]:
        raise HartxError(
            f"the config has no {', '.join(absent)}: it is of an older version of this program\n"
            f"  Take the commit that made it (trained_by in run.json), or train again in another --workdir"
        )
    _check_streams(config)
    _check_values(flat)
    _check_sampling(config)
    _check_joints(config)
    _check_ranges(config)
    is_test(config.protocol, [])
    if config.batch_size % config.accumulate:
        raise HartxError(
            f"config.batch_size={config.batch_size} is no multiple of config.accumulate={config.accumulate}"
        )


def _check_streams(config: ConfigDict) -> None:
    """Raise HartxError for streams that cannot be read, or not be trained one by one first."""
    if not config.streams:
        raise HartxError(f"config.streams is empty; any of {', '.join(SPECS)} is expected")
    for stream in config.streams:
        if stream not in SPECS:
            raise HartxError(
                f"config.streams names {stream!r}; any of {', '.join(SPECS)} is expected{suggestion(stream, SPECS)}"
            )
    if len(set(config.streams)) < len(config.streams):
        raise HartxError(f"config.streams={tuple(config.streams)} was given; each stream is expected once")
    if config.pretraining and (len(config.streams) < 2 or set(config.pretraining) != set(config.streams)):
        raise HartxError(
            f"config.pretraining names {', '.join(config.pretraining)}; all of config.streams, two or more "
            f"({', '.join(config.streams)}), or none is expected"
        )


def _check_values(flat: Mapping[str, Any]) -> None:
    """Raise HartxError for a field, of a flattened config, whose value alone no run can use."""
    for field, choices in _CHOICES.items():
        if flat[field] not in choices:
            near = suggestion(str(flat[field]), choices)
            raise HartxError(f"config.{field}={flat[field]!r} was given; one of {', '.join(choices)} is expected{near}")
    for field, least in _AT_LEAST.items():
        if not least <= flat[field] < math.inf:  # so that nan is none
            raise HartxError(f"config.{field}={flat[field]} was given; at least {least} is expected")
    for field in _ABOVE_0:
        if not 0 < flat[field] < math.inf:
            raise HartxError(f"config.{field}={flat[field]} was given; more than 0 is expected")
    for field, length in _LENGTHS.items():
        numbers = [value for value in flat[field] if isinstance(value, int | float) and 0 <= value < math.inf]
        if not len(flat[field]) == len(numbers) == length:
            raise HartxError(f"config.{field}={flat[field]} was given; {length} numbers of at least 0 are expected")
    for field in _SHARES:
        if not 0 <= flat[field] < 1:
            raise HartxError(f"config.{field}={flat[field]} was given; 0 <= value < 1 is expected")


def _check_sampling(config: ConfigDict) -> None:
    """Raise HartxError for clips that cannot be cut out of recordings."""
    if "rgb" in config.streams and config.clip.crop > config.clip.resize:
        raise HartxError(f"config.clip.crop={config.clip.crop} is larger than config.clip.resize={config.clip.resize}")
    if config.clip.sampling == "window" and config.pretraining:
        raise HartxError(
            "config.clip.sampling='window' cannot be combined with config.pretraining: a window is clip.num_frames "
            "frames of the slowest stream, so the streams alone and their fusion would see windows of different "
            "lengths. Use 'uniform', or an empty config.pretraining"
        )
    if config.clip.sampling == "window" and set(config.streams) == {"inertial"}:
        raise HartxError(
            "config.clip.sampling='window' counts frames, and the inertial stream alone has none; "
            "give 'uniform', or another stream beside it"
        )


def learns_joints(config: ConfigDict) -> bool:
    """Return whether this very run learns to find joints in depth; a fusion of trained streams does not."""
    return tuple(config.streams) == ("depth",) and "pose" in config.model.depth_members


def _check_joints(config: ConfigDict) -> None:
    """Raise HartxError where joints cannot be learnt from depth as the config has it."""
    if "depth" not in config.streams or "pose" not in config.model.depth_members or config.pretraining:
        return
    if len(config.streams) > 1:
        raise HartxError(
            f"config.streams {', '.join(config.streams)} without config.pretraining was given with 'pose' in "
            "config.model.depth_members, which learns joints from depth alone; give ('video',), or pretraining as in "
            "configs/fusion.py"
        )
    for field, value in (
        ("mixing.cutmix", config.mixing.cutmix),
        ("augment.temporal_mask_ratio", config.augment.temporal_mask_ratio),
    ):
        if value:
            raise HartxError(
                f"config.{field}={value} was given with 'pose' in config.model.depth_members; 0 is expected, since "
                "joints cannot be learnt where the depth around them is cut out"
            )
    if config.accumulate > 1 and config.mixing.mixup:
        raise HartxError(
            f"config.accumulate={config.accumulate} was given with config.mixing.mixup={config.mixing.mixup} and "
            "'pose' in config.model.depth_members; 1 is expected, since clips of the whole batch are blended"
        )


def _check_ranges(config: ConfigDict) -> None:
    """Raise HartxError for a sequence of numbers that no clip can be drawn from."""
    strides = config.clip.strides
    if not strides or not all(isinstance(stride, int | float) and 1 <= stride < math.inf for stride in strides):
        raise HartxError(f"config.clip.strides={strides} was given; one or more numbers of at least 1 are expected")
    low, high = config.augment.rgb_scale
    largest = (config.clip.resize / config.clip.crop) ** 2
    if "rgb" in config.streams and not 0 < low <= high <= largest:
        raise HartxError(
            f"config.augment.rgb_scale=({low}, {high}) was given; 0 < smallest <= largest <= {largest:.3g}, which is "
            f"the whole of clip.resize={config.clip.resize} against clip.crop={config.clip.crop}, is expected"
        )


def load(workdir: Path) -> ConfigDict:
    """Return the config that the run in `workdir` was started with.

    Raises:
      HartxError: if there is none or it cannot be read.
    """
    path = workdir / "config.json"
    if not path.exists():
        raise HartxError(
            f"{workdir} holds no run (config.json is missing). "
            f"Start one: python main.py --config=configs/fusion.py --workdir={workdir}"
        )
    try:
        values = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise HartxError(f"{path} is damaged: {error}. Give the config again with --config") from None
    return ConfigDict(_with_tuples(values))


def _with_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_tuples(entry) for key, entry in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def dataset_name(config: ConfigDict) -> str:
    """Return which dataset a config means: given recordings if there are any, else the embedded one."""
    if config.dataset.name != "auto":
        return config.dataset.name
    return "utd_mhad" if config.dataset.raw_dir else "synthetic_mhad"


def free_fields(config: ConfigDict) -> set[str]:
    """Return the fields that leave what a config computes the same, where the config is all that is known of a run.

    UTD-MHAD is the same wherever it lies, a folder of clips is not.
    """
    return set(FREE_FIELDS) - ({"dataset.raw_dir"} if dataset_name(config) == "video_folder" else set())


def fields_as_meant(config: ConfigDict) -> dict[str, Any]:
    """Return a config as `flatten` does, with the dataset that "auto" stands for: it goes by raw_dir, which is free."""
    return flatten(config) | ({"dataset.name": dataset_name(config)} if "dataset" in config else {})


def changed_fields(old: ConfigDict, new: ConfigDict, free: Collection[str]) -> dict[str, tuple[Any, Any]]:
    """Return the fields, but for the free ones, in which two configs differ: field to its values, "absent" for none."""
    there, now = fields_as_meant(old), fields_as_meant(new)
    return {
        field: (there.get(field, "absent"), now.get(field, "absent"))
        for field in sorted(there.keys() | now.keys())
        if field not in free and there.get(field, ...) != now.get(field, ...)
    }


def list_changes(changed: Mapping[str, tuple[Any, Any]]) -> str:
    """Return what `changed_fields` found for people, a line a field."""
    return "".join(f"  {field}: {old} there, {new} now\n" for field, (old, new) in changed.items())


def check_same(config: ConfigDict, workdir: Path) -> None:
    """Check that the config in `workdir`, if there is one, describes the same run.

    Raises:
      HartxError: if the run there was started with another config; the differences are listed.
    """
    if (workdir / "config.json").exists():
        # Not `free_fields`: clips may have been moved since; that they are the same ones is checked by themselves.
        changed = changed_fields(load(workdir), config, FREE_FIELDS)
        if changed:
            raise HartxError(
                f"{workdir} holds a run with another config\n{list_changes(changed)}"
                f"  Give another --workdir, or resume that run: python main.py --workdir={workdir}"
            )


def keep(config: ConfigDict, workdir: Path) -> None:
    """Write the config into `workdir`.

    Raises:
      HartxError: if the run there was started with another config; the differences are listed.
    """
    check_same(config, workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / "config.json", config.to_dict())
