"""From the `model` section of a config to a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from ml_collections import ConfigDict

from hartx.errors import HartxError, suggestion
from hartx.models.encoder import Encoder
from hartx.models.ensemble import Ensemble
from hartx.models.fusion import Fusion, SingleStream
from hartx.models.pose_lstm import JOINTS, PoseLSTM, PoseNet
from hartx.models.resnet3d import ResNet3D
from hartx.models.sequence_lstm import SequenceLSTM
from hartx.models.skeleton_lstm import SkeletonLSTM

DEPTH_MEMBERS = ("video", "pose")

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def _video(config: ConfigDict, shape: tuple[int, ...], num_classes: int, rngs: nnx.Rngs) -> Encoder:
    return ResNet3D(in_channels=shape[-1], num_classes=num_classes, dtype=_dtype(config), rngs=rngs, **config.video)


def _dtype(config: ConfigDict) -> DTypeLike:
    if config.dtype not in DTYPES:
        raise ValueError(_unknown("model.dtype", config.dtype, DTYPES))
    return DTYPES[config.dtype]


def _depth(config: ConfigDict, shape: tuple[int, ...], num_classes: int, rngs: nnx.Rngs) -> Encoder:
    unknown = set(config.depth_members) - set(DEPTH_MEMBERS)
    if unknown or not config.depth_members:
        raise ValueError(f"depth_members {tuple(config.depth_members)} were given; any of {DEPTH_MEMBERS} is expected")
    makers = {"video": _video, "pose": _pose}
    return _together([makers[member](config, shape, num_classes, rngs) for member in config.depth_members])


def _pose(config: ConfigDict, shape: tuple[int, ...], num_classes: int, rngs: nnx.Rngs) -> Encoder:
    pose = PoseNet(config.pose.width, dtype=_dtype(config), rngs=rngs)
    alike = config.copy_and_resolve_references()
    alike.skeleton.motion_scale = config.pose.motion_scale
    alike.skeleton.members = 1
    return PoseLSTM(pose, _skeleton(alike, (shape[0], 3 * len(JOINTS)), num_classes, rngs))


def _skeleton(config: ConfigDict, shape: tuple[int, ...], num_classes: int, rngs: nnx.Rngs) -> Encoder:
    arguments = dict(config.skeleton)
    descriptions, members = arguments.pop("descriptions"), arguments.pop("members")
    if members < 1:
        raise ValueError(f"{members} members were given; at least 1 is expected")
    arguments["features"] = _share(arguments["features"], len(descriptions), "descriptions")
    return _together(
        [
            SkeletonLSTM(shape[-1], description, num_classes=num_classes, rngs=rngs, **arguments)
            for _ in range(members)
            for description in descriptions
        ]
    )


def _inertial(config: ConfigDict, shape: tuple[int, ...], num_classes: int, rngs: nnx.Rngs) -> Encoder:
    arguments = dict(config.inertial)
    count = arguments.pop("members")
    arguments["features"] = _share(arguments["features"], count, "members")
    return _together([SequenceLSTM(shape[-1], num_classes=num_classes, rngs=rngs, **arguments) for _ in range(count)])


def _share(features: int, count: int, what: str) -> int:
    """Return how many features each member of an ensemble has."""
    if count < 1 or features % count:
        raise ValueError(f"{count} {what} were given; a number that divides features ({features}) is expected")
    return features // count


def _together(members: Sequence[Encoder]) -> Encoder:
    return members[0] if len(members) == 1 else Ensemble(members)


# Modality to the function that makes its encoder from the `model` section.
ENCODERS = {"rgb": _video, "depth": _depth, "skeleton": _skeleton, "inertial": _inertial}


def _unknown(what: str, given: str, known: Iterable[str]) -> str:
    return f"{what} {given!r} was given; one of {', '.join(known)} is expected{suggestion(given, known)}"


def create_model(
    config: ConfigDict,
    streams: Sequence[str],
    input_shapes: Mapping[str, tuple[int, ...]],
    num_classes: int,
    *,
    rngs: nnx.Rngs,
) -> SingleStream | Fusion:
    """Return the model that a config describes: one stream alone, or the fusion of several.

    Args:
      config: the `model` section: `video` (arguments of `ResNet3D`), `depth_members` (what reads depth),
        `pose` (of `PoseNet`, whose joints a network like that of skeletons reads), `skeleton` (of `SkeletonLSTM`:
        where there are several `descriptions`, their networks share the `features`, and all of them are there
        `members` times), `inertial` (of `SequenceLSTM`, of which `members` share the `features`), `fusion` (of
        `Fusion`) and `dtype`, 'float32' or 'bfloat16', of the convolutions over frames and clips.
      streams: modalities, in the order of fusion.
      input_shapes: modality to the shape of one clip without the batch, (T, H, W, C) or (T, features).
      num_classes: number of actions.
      rngs: stream `params`.

    Raises:
      HartxError: for an unknown modality or a value that a model refuses.
    """
    for name in streams:
        if name not in ENCODERS:
            raise HartxError(_unknown("stream", name, ENCODERS))
    if not streams:
        raise HartxError(f"no stream was given; at least one of {', '.join(ENCODERS)} is expected")
    try:
        encoders = {name: ENCODERS[name](config, input_shapes[name], num_classes, rngs) for name in streams}
        if len(streams) == 1:
            return SingleStream(streams[0], encoders[streams[0]])
        return Fusion(encoders, num_classes=num_classes, rngs=rngs, **config.fusion.to_dict())
    except ValueError as error:
        raise HartxError(f"config.model: {error}") from error
