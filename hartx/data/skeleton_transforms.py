"""What the draws of training do to skeletons, around `edge.preprocess`.

x is to the right, y up, z along the camera's axis. With `NO_DRAW` a clip is exactly what the device sees.
"""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import Float

from edge import preprocess
from edge.joints import LAYOUTS, PARENTS, ROOT, layout_of
from edge.preprocess import SkeletonSpec
from hartx.data.draws import BONES, ClipDraw, both_sides
from hartx.data.space import body_matrix


def mirror_skeleton(joints: Float[np.ndarray, "T J 3"], layout: str) -> Float[np.ndarray, "T J 3"]:
    """Return the skeleton in the mirror: x negated, left and right joints exchanged."""
    names = LAYOUTS[layout]
    other = {"left": "right", "right": "left"}
    swapped = []
    for name in names:
        side, _, rest = name.partition("_")
        swapped.append(names.index(f"{other[side]}_{rest}") if side in other else names.index(name))
    return joints[:, swapped] * np.array([-1, 1, 1], joints.dtype)


def map_joints(joints: Float[np.ndarray, "T J 3"], matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "T J 3"]:
    """Return every joint multiplied by a matrix, about the origin."""
    return (joints.reshape(-1, 3) @ matrix.T.astype(joints.dtype)).reshape(joints.shape)


@functools.cache
def _tree(layout: str) -> tuple[Float[np.ndarray, "J J"], Float[np.ndarray, "J J"], list[int]]:
    """Return joints to bones, bones to joints (the root counts as a bone), and the index in `BONES` of each, or -1."""
    names, parents = LAYOUTS[layout], PARENTS[layout]
    to_bones = np.eye(len(names))
    for joint, parent in enumerate(parents):
        to_bones[joint, parent] -= joint != parent
    factor = [-1 if name == ROOT else BONES.index(both_sides(name)) for name in names]
    return to_bones, np.rint(np.linalg.inv(to_bones)), factor


def scale_bones(joints: Float[np.ndarray, "T J 3"], bones: tuple[float, ...]) -> Float[np.ndarray, "T J 3"]:
    """Return the same poses of somebody with other proportions.

    Bones keep their directions and the root its place; left and right get the same factor.

    Args:
      joints: T skeletons of 20 or 25 joints, any unit.
      bones: factor on the length of each of `BONES`.
    """
    to_bones, to_joints, factor = _tree(layout_of(joints.shape[1]))
    matrix = (to_joints * np.asarray((*bones, 1.0))[factor]) @ to_bones
    return matrix.astype(joints.dtype) @ joints


def drop_joints(
    joints: Float[np.ndarray, "T J 3"], missing: tuple[str, ...], layout: str
) -> Float[np.ndarray, "T J 3"]:
    """Return the skeletons with the missing joints at the origin, which is the clip's mean hip."""
    names = LAYOUTS[layout]
    joints = joints.copy()
    joints[:, [names.index(name) for name in missing if name in names]] = 0
    return joints


def skeleton_clip(
    joints: np.ndarray, spec: SkeletonSpec, draw: ClipDraw, rng: np.random.Generator
) -> Float[np.ndarray, "T F"]:
    """Return T skeletons (T, 20 or 25, 3) as the network reads them, with the draw applied.

    Proportions change before the skeleton is normalised: the network sees nobody's torso at another length.
    `rng` gives the noise on the joints, the one draw that is not the same for all frames.
    """
    drawn = draw.skeleton
    if drawn.bones:
        joints = scale_bones(joints, drawn.bones)
    clip = preprocess.normalise_skeleton(joints, spec.layout)
    clip = map_joints(clip, body_matrix(draw.body, draw.angle))
    if draw.flip:  # after it was turned, as pictures are
        clip = mirror_skeleton(clip, spec.layout)
    if drawn.noise:
        clip = clip + drawn.noise * rng.standard_normal(clip.shape, np.float32)
    if drawn.missing:
        clip = drop_joints(clip, drawn.missing, spec.layout)
    return clip.reshape(len(clip), -1)
