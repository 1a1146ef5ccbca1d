"""Who performs: proportions, looks and manner of the synthetic subjects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.synthetic_mhad.body import Proportions

Colour = tuple[float, float, float]

SKINS: tuple[Colour, ...] = ((0.93, 0.76, 0.65), (0.84, 0.63, 0.49), (0.67, 0.46, 0.33), (0.44, 0.29, 0.21))
HAIRS: tuple[Colour, ...] = ((0.10, 0.08, 0.07), (0.28, 0.18, 0.11), (0.62, 0.48, 0.28), (0.45, 0.43, 0.42))
SHIRTS: tuple[Colour, ...] = (
    (0.75, 0.16, 0.16),
    (0.16, 0.32, 0.66),
    (0.88, 0.86, 0.80),
    (0.15, 0.50, 0.30),
    (0.86, 0.62, 0.14),
    (0.18, 0.18, 0.20),
    (0.52, 0.25, 0.55),
    (0.35, 0.62, 0.68),
)
TROUSERS: tuple[Colour, ...] = (
    (0.14, 0.18, 0.32),
    (0.20, 0.20, 0.21),
    (0.52, 0.44, 0.32),
    (0.36, 0.37, 0.40),
)


@dataclass(frozen=True)
class Looks:
    """Colours as RGB in [0, 1]; whether sleeves and trouser legs are long."""

    skin: Colour
    hair: Colour
    shirt: Colour
    trousers: Colour
    shoes: Colour
    long_sleeves: bool
    long_legs: bool


@dataclass(frozen=True)
class Manner:
    """How somebody moves, in general or at one action.

    Attributes:
      tempo: factor on every duration; above 1 is slower.
      amplitude: factor on how far hands and feet leave their place at rest.
      hand_offset: (outward, up, forward) added to where a working hand goes, in arm lengths.
      elbow: added to the elbows' direction, see `motions.Pose`.
      lean_deg: added to the chest's lean.
      follow: how much of the right hand's way an idle left hand goes along.
      smoothing_s: standard deviation of the Gaussian that rounds the motion off; larger is more fluid.
    """

    tempo: float
    amplitude: float
    hand_offset: np.ndarray
    elbow: float
    lean_deg: float
    follow: float
    smoothing_s: float


@dataclass(frozen=True)
class Subject:
    """One synthetic person."""

    body: Proportions
    looks: Looks
    manner: Manner


def draw_subject(seed: int, number: int) -> Subject:
    """Return subject `number` (from 1) of a seed: always the same one."""
    rng = np.random.default_rng([seed, number])
    return Subject(body=_draw_body(rng), looks=_draw_looks(rng, number), manner=_draw_manner(rng))


def _draw_body(rng: np.random.Generator) -> Proportions:
    height = rng.uniform(1.56, 1.84)
    legs, arms, broad = rng.normal(1.0, 0.025, 3)
    return Proportions(
        trunk=0.245 * height,
        neck_and_head=0.115 * height,
        shoulder_width=0.195 * height * broad,
        upper_arm=0.152 * height * arms,
        forearm=0.142 * height * arms,
        hand=0.045 * height,
        hip_width=0.095 * height,
        thigh=0.250 * height * legs,
        shin=0.235 * height * legs,
        girth=rng.uniform(0.88, 1.18),
    )


def _draw_looks(rng: np.random.Generator, number: int) -> Looks:
    # Shirts are dealt, not drawn, so that eight subjects wear eight colours.
    return Looks(
        skin=SKINS[rng.integers(len(SKINS))],
        hair=HAIRS[rng.integers(len(HAIRS))],
        shirt=SHIRTS[(number - 1) % len(SHIRTS)],
        trousers=TROUSERS[rng.integers(len(TROUSERS))],
        shoes=(0.12, 0.12, 0.13) if rng.random() < 0.6 else (0.80, 0.80, 0.78),
        long_sleeves=bool(rng.random() < 0.4),
        long_legs=bool(rng.random() < 0.75),
    )


def _draw_manner(rng: np.random.Generator) -> Manner:
    return Manner(
        tempo=rng.uniform(0.88, 1.16),
        amplitude=rng.uniform(0.86, 1.08),
        hand_offset=rng.normal(0, 0.06, 3),
        elbow=rng.uniform(-0.1, 0.25),
        lean_deg=rng.uniform(-2, 5),
        follow=rng.uniform(0, 0.15),
        smoothing_s=rng.uniform(0.035, 0.06),
    )
