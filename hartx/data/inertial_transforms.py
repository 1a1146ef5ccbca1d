"""What the draws of training do to raw inertial samples, before they are scaled for the network."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from hartx.data.draws import ClipDraw

# In a mirror that negates x, acceleration is a vector like any other; angular velocity is an axial one,
# whose components in the mirror's plane change sign instead.
_MIRROR = np.array([-1, 1, 1, 1, -1, -1], np.float32)


def augment_inertial(
    values: Float[np.ndarray, "T 6"], draw: ClipDraw, rng: np.random.Generator
) -> Float[np.ndarray, "T 6"]:
    """Return inertial samples as another way of wearing the sensor, and another sensor, would give them.

    Args:
      values: 3 accelerations and 3 angular velocities an instant, in any unit of their own.
      draw: one rotation for both triples, one scale, and the strength of the noise.
      rng: gives the noise, the one draw that is not the same for all instants.

    Returns:
      float32, in the units given; exactly `values` without a draw.
    """
    drawn = draw.inertial
    values = values.astype(np.float32)
    if draw.flip:
        values = values * _MIRROR
    if any(drawn.rotation):
        matrix, _ = cv2.Rodrigues(np.radians(drawn.rotation))
        values = (values.reshape(-1, 2, 3) @ matrix.T.astype(np.float32)).reshape(-1, 6)
    values = values * np.float32(drawn.scale)
    if drawn.noise:
        triples = values.reshape(-1, 2, 3)
        size = np.sqrt(np.mean(np.square(triples).sum(-1), axis=0))[:, None]
        values = (triples + drawn.noise * size * rng.standard_normal(triples.shape, np.float32)).reshape(-1, 6)
    return values
