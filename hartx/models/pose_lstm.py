"""Actions from depth by way of the joints: found in each frame, then read like any skeleton."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from edge.joints import LAYOUTS
from hartx.models import init
from hartx.models.conv3d import Conv3D
from hartx.models.encoder import Encoder, JointTargets, TrainingOutput
from hartx.models.resnet3d import batch_norm

# What training has beside the streams: the joints that are to be found in depth, (B, T, 3 J).
JOINTS_INPUT = "joints"
# And how much of each clip is mixed into each, (B, B), where they are; see `JointTargets`.
BLEND_INPUT = "blend"
JOINTS = LAYOUTS["kinect20"]
HIP, NECK = JOINTS.index("hip_center"), JOINTS.index("shoulder_center")

# Joints far from the trunk say what is done; errors there count twice.
_LIMBS = ("elbow", "wrist", "hand", "knee", "ankle", "foot")
_WEIGHTS = np.array([1.0 + any(limb in name for limb in _LIMBS) for name in JOINTS], np.float32)

# Where an error goes over from its square to its size, in sides of the square that a frame shows (about two metres).
_HUBER_DELTA = 0.025
# What is found is a little off, the same over a clip (in sides) and anew in each frame (in torso lengths).
_OFFSET, _JITTER = 0.006, 0.02
_SHORTEST_TORSO = 0.05  # in sides
# The logarithm of how much more one cell is believed than none in particular, at most.
_BOUND = 8.0
# In training every third frame is learnt from: its neighbours show almost the same.
_FRAME_STEP = 3


class FrameConv(nnx.Module):
    """Convolution over height and width of each frame, BatchNorm and ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, size: int, stride: int, *, dtype: DTypeLike, rngs: nnx.Rngs
    ) -> None:
        self.conv = Conv3D(in_channels, out_channels, (1, size, size), (1, stride, stride), dtype=dtype, rngs=rngs)
        self.norm = batch_norm(out_channels, rngs=rngs)

    def __call__(self, x: Float[Array, "B T H W C"]) -> Float[Array, "B T h w D"]:
        return nnx.relu(self.norm(self.conv(x)))


class PoseNet(nnx.Module):
    """Joints in depth frames, each frame on its own.

    Every cell of a coarse picture says of each joint how far away it is, and how much it is to be believed; the joint
    is where they believe it to be on average (Xiong et al., "A2J: Anchor-to-Joint Regression Network for 3D Articulated
    Pose Estimation from a Single Depth Image", ICCV 2019).

    Args:
      width: channels of the first layer, twice as many at an eighth of the resolution.
      dtype: of the convolutions; parameters, BatchNorm and what says where the joints are are float32.
      rngs: stream `params`.
    """

    def __init__(self, width: int, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs) -> None:
        self.stem = FrameConv(1, width, 7, 4, dtype=dtype, rngs=rngs)
        self.near = FrameConv(width, width, 3, 1, dtype=dtype, rngs=rngs)
        self.down = FrameConv(width, 2 * width, 3, 2, dtype=dtype, rngs=rngs)
        self.blocks = nnx.List(FrameConv(2 * width, 2 * width, 3, 1, dtype=dtype, rngs=rngs) for _ in range(4))
        # Small, so that every cell is believed alike at first and none is ruled out by chance.
        self.head = Conv3D(2 * width, 4 * len(JOINTS), 1, kernel_init=init.CLASSIFIER, rngs=rngs)

    def __call__(self, x: Float[Array, "B T H W 1"]) -> Float[Array, "B T I"]:
        """Return x (right), y (up) and z (away) from the square's middle, in its sides, of the joints in turn."""
        x = self.down(self.near(self.stem(x)))
        for first, second in zip(self.blocks[::2], self.blocks[1::2], strict=True):
            x = x + second(first(x))
        # Channels first from here on, as ONNX has them.
        belief, right, up, away = jnp.split(jnp.moveaxis(self.head(x), -1, 1), 4, axis=1)
        rows, columns = (jnp.asarray((np.arange(n) + 0.5) / n - 0.5, jnp.float32) for n in x.shape[2:4])
        right, up = right + columns, up - rows[:, None]
        # Bounded in place of a softmax, whose maximum would have to be spread over the picture again on a device.
        belief = jnp.exp(_BOUND * jnp.tanh(belief / _BOUND))
        total = belief.mean(axis=(3, 4))
        parts = [(belief * part).mean(axis=(3, 4)) / total for part in (right, up, away)]
        return _product(jnp.swapaxes(jnp.concatenate(parts, axis=1), 1, 2), _interleave())


def _interleave() -> Float[np.ndarray, "I I"]:
    """Return what brings all x, all y, all z into x, y, z of the joints in turn: a product, as `bones` is one."""
    count = len(JOINTS)
    order = np.arange(3 * count).reshape(3, count).T.reshape(-1)
    return np.eye(3 * count, dtype=np.float32)[:, order]


def _picked(joint: int) -> Float[np.ndarray, "I 3"]:
    return np.eye(3 * len(JOINTS), dtype=np.float32)[:, 3 * joint : 3 * joint + 3]


def normalise(joints: Float[Array, "B T I"]) -> Float[Array, "B T I"]:
    """Return skeletons centred on the clip's mean hip, in units of the torso's mean length.

    `edge.preprocess.normalise_skeleton` does the same to skeletons that are given, with the median length.
    Products spread what is the same for all joints and steps: broadcasting would be shape arithmetic in ONNX.
    """
    count = len(JOINTS)
    hip = _mean_over_time(_product(joints, np.tile(_picked(HIP), (1, count))))
    torso = _product(joints, _picked(NECK) - _picked(HIP))
    length = jnp.sqrt(_product(torso**2, np.ones((3, 3 * count), np.float32)) + 1e-8)
    return (joints - hip) / jnp.maximum(_mean_over_time(length), _SHORTEST_TORSO)


def _product(x: Float[Array, "B T I"], matrix: Float[np.ndarray, "I K"]) -> Float[Array, "B T K"]:
    return jnp.matmul(x, jnp.asarray(matrix), precision=jax.lax.Precision.HIGHEST)


def _mean_over_time(x: Float[Array, "B T I"]) -> Float[Array, "B T I"]:
    """Return for each step the mean of all."""
    steps = x.shape[1]
    return jnp.swapaxes(_product(jnp.swapaxes(x, 1, 2), np.full((steps, steps), 1 / steps, np.float32)), 1, 2)


def joint_loss(found: Float[Array, "B T I"], true: Float[Array, "B T I"]) -> Float[Array, ""]:
    """Return the mean Huber loss of the joints, in sides of the square; clips whose joints are all 0 do not count."""
    error = jnp.abs(found - true)
    error = jnp.where(error < _HUBER_DELTA, error**2 / (2 * _HUBER_DELTA), error - _HUBER_DELTA / 2)
    known = jnp.any(true != 0, axis=(1, 2)).astype(jnp.float32)
    a_clip = (error * np.repeat(_WEIGHTS, 3)).mean(axis=(1, 2))
    return (known * a_clip).sum() / jnp.maximum(known.sum(), 1.0)


class PoseLSTM(Encoder):
    """Joints found in depth frames, read by a network of skeletons.

    The joints are learnt from the skeletons that were recorded beside the depth; none is needed afterwards. The
    network that reads them learns from both, those found and those recorded, and teaches the other nothing.

    Args:
      pose: finds the joints.
      reader: network of T x 3 J skeletons.
    """

    def __init__(self, pose: PoseNet, reader: Encoder) -> None:
        nnx.Module.__init__(self)
        self.num_features = reader.num_features
        self.pose = pose
        self.reader = reader

    def encode(self, x: Float[Array, "B T H W 1"]) -> Float[Array, "B F"]:
        """Return the features of a batch of clips."""
        return self.reader.encode(normalise(self.pose(x)))

    def classify(self, features: Float[Array, "B F"], rngs: nnx.Rngs | None = None) -> Float[Array, "B num_classes"]:
        """Return the logits of a batch of features. `rngs` (stream `dropout`) is needed in training only."""
        return self.reader.classify(features, rngs)

    def training_output(
        self, x: Float[Array, "B T H W 1"], targets: JointTargets | None, rngs: nnx.Rngs | None
    ) -> TrainingOutput:
        """Return what is learnt from a batch of clips.

        Args:
          x: the clips, not mixed yet.
          targets: the joints recorded, from the square's middle, in its sides, and how joints are to be mixed. All
            zeros stand for a clip of which none were recorded: it is read as it was found.
          rngs: stream `dropout`.

        Returns:
          The logits of each part of the reader for the joints found, then for those recorded, and the loss of the
          joints found (`joint_loss`).

        Raises:
          ValueError: if there are no joints or no `rngs`.
        """
        if targets is None or rngs is None:
            raise ValueError(f"no {'joints' if targets is None else 'rngs'} were given; joints are learnt with both")
        joints = targets.joints
        known = jnp.any(joints != 0, axis=(1, 2), keepdims=True)
        step = min(_FRAME_STEP, x.shape[1])
        start = jax.random.randint(rngs.dropout(), (), 0, step)
        some, their_joints = (_every(step, start, values) for values in (x, joints))
        loss = joint_loss(self.pose(some), their_joints)
        self.pose.eval()
        found = jax.lax.stop_gradient(self.pose(x))
        self.pose.train()
        logits: list[Float[Array, "B num_classes"]] = []
        for sequence in (found, jnp.where(known, joints, found)):
            offset = _OFFSET * jax.random.normal(rngs.dropout(), (len(x), 1, joints.shape[2]))
            seen = normalise(targets.blended(sequence) + offset)
            seen = seen + _JITTER * jax.random.normal(rngs.dropout(), seen.shape)
            logits += self.reader.training_output(seen, None, rngs).logits
        return TrainingOutput(logits, loss)


def _every(step: int, start: Array, values: Float[Array, "B T ..."]) -> Float[Array, "B t ..."]:
    """Return every `step`-th entry over time from `start` on, which is below `step`."""
    count = values.shape[1] // step
    whole = values[:, : count * step].reshape(values.shape[0], count, step, *values.shape[2:])
    return jax.lax.dynamic_index_in_dim(whole, start, axis=2, keepdims=False)
