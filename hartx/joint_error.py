"""How far the joints that a run finds in depth are from the recorded ones."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from hartx.data import Recordings, input_specs
from hartx.data.clips import depth_and_joints
from hartx.jit import jit
from hartx.models.pose_lstm import JOINTS, PoseLSTM, PoseNet


def joint_errors_cm(config: ConfigDict, model: nnx.Module, recordings: Recordings, side: str) -> dict[str, float]:
    """Return the mean distance of each joint that is found from the recorded one, in centimetres.

    Each recording counts alike, by the one clip that lies in the middle of its views; those without a skeleton do not
    count. The distance is taken in space, at the scale of the square around the person, from the skeleton that a frame
    shows (`datasets.utd_mhad.DEPTH_DELAY_S` before that of the same time).

    Args:
      config: of a run that learns joints.
      model: its model, in evaluation mode.
      recordings: with the skeletons beside the depth.
      side: train, validation or test.

    Returns:
      Joint to centimetres, in the order of the joints; empty if no recording counts.
    """
    spec = input_specs(config)["depth"]
    graphdef, state = nnx.split(_pose(model))
    find = jit(lambda state, clip: nnx.merge(graphdef, state)(clip))
    errors = []
    for index in recordings.indices(side):
        recording = recordings.source[index]
        if recording.skeleton is None:
            continue
        clip, joints = depth_and_joints(recording, spec)
        apart = (np.asarray(find(state, jnp.asarray(clip[None])))[0] - joints).reshape(-1, len(JOINTS), 3)
        errors.append(np.linalg.norm(apart, axis=-1).mean(axis=0))
    if not errors:
        return {}
    in_cm = 100 * spec.extent_m * np.mean(errors, axis=0)
    return {joint: float(value) for joint, value in zip(JOINTS, in_cm, strict=True)}


def _pose(model: nnx.Module) -> PoseNet:
    """Return the part of a model that finds joints."""
    return next(part.pose for _, part in nnx.iter_graph(model) if isinstance(part, PoseLSTM))
