"""How the draws of training move the whole body in space: one matrix, for skeletons and depth alike.

x is to the right, y up, z along the camera's axis.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from hartx.data.draws import BodyDraw


def rotation(turn: float, tilt: float, angle: float) -> Float[np.ndarray, "3 3"]:
    """Return the rotation about the vertical (y), then the left-right axis (x), then the camera's (z); degrees."""
    (cy, cx, cz), (sy, sx, sz) = (f(np.radians([turn, tilt, angle])) for f in (np.cos, np.sin))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


def deformation(stretch: tuple[float, ...], shear: tuple[float, ...]) -> Float[np.ndarray, "3 3"]:
    """Return the stretch along (x, y, z) followed by the shear, whose matrix has the diagonal 1."""
    matrix = np.eye(3)
    matrix[~np.eye(3, dtype=bool)] = shear
    return matrix * np.asarray(stretch)


def body_matrix(draw: BodyDraw, angle: float) -> Float[np.ndarray, "3 3"]:
    """Return what multiplies every point of the body: deformation, rotation and size. `angle` is in the image plane."""
    return draw.scale * rotation(draw.turn, draw.tilt, angle) @ deformation(draw.stretch, draw.shear)
