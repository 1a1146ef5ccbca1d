"""LSTM network over skeletons, described by joints, bones and their motion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from edge.joints import PARENTS, layout_of
from hartx.models.motion import motion
from hartx.models.sequence_lstm import SequenceLSTM

DESCRIPTIONS = ("joints", "bones", "joint_motion", "bone_motion")


def bones(x: Float[Array, "B T I"]) -> Float[Array, "B T I"]:
    """Return for each joint the vector to it from its parent; 0 for the hip, where the tree begins.

    Shi et al., "Two-Stream Adaptive Graph Convolutional Networks", CVPR 2019, section 4.3. It is one matrix
    product, which needs no other shapes than those of x, on a device either.

    Raises:
      ValueError: if there is no layout of so many joints.
    """
    if x.shape[2] % 3:
        raise ValueError(f"{x.shape[2]} features were given; three a joint are expected")
    parents = PARENTS[layout_of(x.shape[2] // 3)]
    joints = np.eye(len(parents), dtype=np.float32)
    from_parents = np.kron(joints - joints[:, parents], np.eye(3, dtype=np.float32))
    return jnp.matmul(x, from_parents, precision=jax.lax.Precision.HIGHEST)


class SkeletonLSTM(SequenceLSTM):
    """`SequenceLSTM` over T x 3 J skeletons. All zeros mean that there is no skeleton.

    Args:
      in_features: 3 J, 75 for 25 joints.
      description: any of "joints" (positions), "bones", "joint_motion", "bone_motion"; they are put side by side.
      motion_scale: factor on the motions. Between two of 48 steps a hand moves a few hundredths of a torso
        length, while positions are of order 1.
      rngs: stream `params`.
      **trunk: the other arguments of `SequenceLSTM`.

    Raises:
      ValueError: for an unknown or no description, and whatever `SequenceLSTM` refuses.
    """

    def __init__(
        self,
        in_features: int = 75,
        description: Sequence[str] = ("joints",),
        motion_scale: float = 1.0,
        *,
        rngs: nnx.Rngs,
        **trunk: Any,
    ) -> None:
        if not description or set(description) - set(DESCRIPTIONS):
            raise ValueError(f"description {tuple(description)} was given; any of {DESCRIPTIONS} is expected")
        super().__init__(len(description) * in_features, rngs=rngs, **trunk)
        self.description = tuple(description)
        self.motion_scale = motion_scale

    def describe(self, x: Float[Array, "B T I"]) -> Float[Array, "B T D"]:
        """Return the parts of the description, side by side."""
        parts = {"joints": x, "bones": bones(x)}
        parts["joint_motion"] = self.motion_scale * motion(parts["joints"])
        parts["bone_motion"] = self.motion_scale * motion(parts["bones"])
        return jnp.concatenate([parts[name] for name in self.description], axis=-1)
