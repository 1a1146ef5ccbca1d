"""What each of the 27 actions looks like: a table of key poses.

A motion is a list of steps, each "within so many seconds, go to this pose"; what a step does not name stays
as it was. Pairs of actions that are told apart only by the order in time (the swipes, the circles, sitting
down and standing up) are literally each other's reverse.

Who performs a motion, how fast and how neatly, is decided in `performance`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Pose:
    """A posture of the body, independent of who takes it. The default is standing with hanging arms.

    Attributes:
      right_hand, left_hand: wrist as seen from its shoulder, (outward, up, forward) in arm lengths. The axes
        turn with the chest's twist but stay upright when the chest leans. Negative outward is across the body.
      right_elbow, left_elbow: quarter turns of the elbow about the arm, outward and up; 0 hangs freely.
      lean_deg, twist_deg, tilt_deg: chest bent forward; turned to the left; bent to the right.
      hip: the pelvis as seen from where it is when standing, (right, up, forward) in leg lengths.
      right_foot, left_foot: the ankle as seen from where it stands, (outward, up, forward) in leg lengths.
    """

    right_hand: Vector = (0.10, -0.96, 0.08)
    left_hand: Vector = (0.10, -0.96, 0.08)
    right_elbow: float = 0.0
    left_elbow: float = 0.0
    lean_deg: float = 0.0
    twist_deg: float = 0.0
    tilt_deg: float = 0.0
    hip: Vector = (0.0, 0.0, 0.0)
    right_foot: Vector = (0.0, 0.0, 0.0)
    left_foot: Vector = (0.0, 0.0, 0.0)

    def mirrored(self) -> Pose:
        """Return the pose with left and right exchanged."""
        return Pose(
            right_hand=self.left_hand,
            left_hand=self.right_hand,
            right_elbow=self.left_elbow,
            left_elbow=self.right_elbow,
            lean_deg=self.lean_deg,
            twist_deg=-self.twist_deg,
            tilt_deg=-self.tilt_deg,
            hip=(-self.hip[0], self.hip[1], self.hip[2]),
            right_foot=self.left_foot,
            left_foot=self.right_foot,
        )


Step = tuple[float, Mapping[str, Any]]


@dataclass(frozen=True)
class Motion:
    """Steps that lead in, a cycle that is repeated, steps that lead out.

    Attributes:
      before, cycle, after: (seconds, fields of `Pose` that change) each.
      repeats: fewest and most repetitions of the cycle.
      start: the pose at the start.
      either_side: people do this with either side, so recordings mirror it at random.
      backwards: the steps are played in reverse.
      distance_m: how far from the camera the person stands.
      seat: a chair stands behind the person.
    """

    before: tuple[Step, ...]
    cycle: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()
    repeats: tuple[int, int] = (1, 1)
    start: Pose = Pose()
    either_side: bool = False
    backwards: bool = False
    distance_m: float = 2.85
    seat: bool = False

    def poses(self, repeats: int) -> list[tuple[float, Pose]]:
        """Return (seconds since the pose before, pose) with the cycle repeated that often; the first is 0 s."""
        sequence = [(0.0, self.start)]
        for seconds, changes in (*self.before, *self.cycle * repeats, *self.after):
            sequence.append((seconds, dataclasses.replace(sequence[-1][1], **changes)))
        if not self.backwards:
            return sequence
        seconds_to_next = [seconds for seconds, _ in sequence[1:]]
        return list(zip([0.0, *reversed(seconds_to_next)], [pose for _, pose in reversed(sequence)], strict=True))


STAND: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Pose)}


def _wait(seconds: float) -> Step:
    return seconds, {}


def _back(seconds: float) -> tuple[Step, Step]:
    """Return to standing, and stay."""
    return (seconds, STAND), _wait(0.3)


def _both(hand: Vector, elbow: float = 0.0, **changes: Any) -> dict[str, Any]:
    """Both hands do the same, mirrored."""
    return dict(right_hand=hand, left_hand=hand, right_elbow=elbow, left_elbow=elbow, **changes)


def _right(hand: Vector, elbow: float = 0.0, **changes: Any) -> dict[str, Any]:
    """Only the right hand moves."""
    return dict(right_hand=hand, right_elbow=elbow, **changes)


def _reverse(motion: Motion) -> Motion:
    return dataclasses.replace(motion, backwards=True)


def _drawn(seconds: float, *points: tuple[float, float]) -> Iterator[Step]:
    """The right hand draws a line through (outward, up) points on a wall in front of the person."""
    for outward, up in points:
        yield seconds, _right((outward, up, 0.62), elbow=0.3)


def _circle(count: int = 12) -> list[tuple[float, float]]:
    """Points of a circle, clockwise as the person sees it, from the top to the top."""
    angles = [2 * math.pi * i / count for i in range(count + 1)]
    return [(-0.08 + 0.45 * math.sin(angle), 0.1 + 0.45 * math.cos(angle)) for angle in angles]


def _strides(foot: Vector, ahead: Vector, behind: Vector, seconds: float, **changes: Any) -> tuple[Step, ...]:
    """Right knee up, both down, left knee up, both down; each arm swings with the other leg."""
    down: dict[str, Any] = dict(right_foot=(0.0, 0.0, 0.0), left_foot=(0.0, 0.0, 0.0))
    between = ((ahead[0] + behind[0]) / 2, (ahead[1] + behind[1]) / 2, (ahead[2] + behind[2]) / 2)
    right_up = dict(right_foot=foot, left_hand=ahead, right_hand=behind, twist_deg=-6.0, **changes)
    left_up = dict(left_foot=foot, right_hand=ahead, left_hand=behind, twist_deg=6.0, **changes)
    middle = dict(_both(between, **changes), twist_deg=0.0, **down)
    return (seconds, right_up), (seconds, middle), (seconds, left_up), (seconds, middle)


SWIPE_LEFT = Motion(
    before=(
        _wait(0.2),
        (0.45, _right((0.62, -0.02, 0.5), elbow=0.2, twist_deg=-6.0)),
        (0.40, _right((-0.72, 0.12, 0.48), twist_deg=12.0)),
        _wait(0.12),
        *_back(0.5),
    )
)

CIRCLE_CLOCKWISE = Motion(
    before=(
        _wait(0.2),
        (0.4, _right((-0.08, 0.55, 0.62), elbow=0.3)),
        *_drawn(0.115, *_circle()),
        *_back(0.5),
    )
)

SEATED = Pose(**{**STAND, **_both((0.02, -0.72, 0.42)), "hip": (0.0, -0.46, -0.46), "lean_deg": 6.0})

SIT_TO_STAND = Motion(
    start=SEATED,
    before=(
        _wait(0.3),
        (0.45, _both((0.05, -0.75, 0.4), hip=(0.0, -0.43, -0.36), lean_deg=38.0)),
        (0.60, dict(STAND, hip=(0.0, 0.0, 0.0), lean_deg=2.0)),
        _wait(0.5),
    ),
    seat=True,
)

# fmt: off
MOTIONS: dict[int, Motion] = {
    1: SWIPE_LEFT,
    2: _reverse(SWIPE_LEFT),
    3: Motion(  # wave
        before=(_wait(0.2), (0.4, _right((0.30, 0.42, 0.35), elbow=0.3))),
        cycle=((0.19, _right((0.62, 0.36, 0.32), elbow=0.3)), (0.19, _right((0.02, 0.48, 0.36), elbow=0.3))),
        repeats=(2, 3),
        after=_back(0.45),
    ),
    4: Motion(  # clap
        before=(_wait(0.2), (0.4, _both((0.30, -0.35, 0.55)))),
        cycle=((0.16, _both((-0.26, -0.30, 0.60))), (0.17, _both((0.18, -0.32, 0.56)))),
        repeats=(2, 3),
        after=_back(0.45),
    ),
    5: Motion(  # throw
        before=(
            _wait(0.2),
            (0.35, _right((0.62, -0.10, -0.30), elbow=-0.2, twist_deg=-22.0, lean_deg=-4.0)),
            (0.22, _right((0.55, 0.42, -0.24), elbow=-0.5, twist_deg=-28.0, lean_deg=-6.0)),
            (0.20, _right((-0.05, 0.45, 0.80), elbow=0.5, twist_deg=18.0, lean_deg=8.0)),
            (0.22, _right((-0.45, -0.40, 0.60), elbow=0.2, twist_deg=28.0, lean_deg=12.0)),
        ),
        after=_back(0.5),
    ),
    6: Motion(  # arms crossed on the chest
        before=(
            _wait(0.2),
            (0.35, _both((0.30, -0.55, 0.45))),
            (0.35, _both((-0.66, -0.05, 0.34), elbow=0.25)),
            _wait(0.5),
            (0.30, _both((0.30, -0.55, 0.45))),
        ),
        after=_back(0.4),
    ),
    7: Motion(  # basketball shoot
        before=(
            _wait(0.2),
            (0.40, _both((-0.18, -0.40, 0.55), hip=(0.0, -0.09, 0.0), lean_deg=8.0)),
            (0.25, _both((-0.16, 0.28, 0.54), elbow=0.3, hip=(0.0, -0.05, 0.0), lean_deg=0.0)),
            (0.20, _right((-0.16, 0.88, 0.42), elbow=0.4, left_hand=(-0.2, 0.62, 0.42), left_elbow=0.4,
                          hip=(0.0, 0.03, 0.0))),
            _wait(0.22),
            (0.25, _both((0.00, -0.15, 0.62), hip=(0.0, 0.0, 0.0))),
        ),
        after=_back(0.4),
    ),
    8: Motion(  # draw x
        before=(
            _wait(0.2),
            *_drawn(0.42, (-0.48, 0.55), (0.40, -0.30)),
            *_drawn(0.30, (0.38, 0.55)),
            *_drawn(0.42, (-0.50, -0.30)),
        ),
        after=_back(0.45),
    ),
    9: CIRCLE_CLOCKWISE,
    10: _reverse(CIRCLE_CLOCKWISE),
    11: Motion(  # draw triangle
        before=(_wait(0.2), *_drawn(0.42, (-0.05, 0.62), (0.42, -0.28), (-0.52, -0.28), (-0.05, 0.62))),
        after=_back(0.5),
    ),
    12: Motion(  # bowling
        distance_m=3.15,
        before=(
            _wait(0.15),
            (0.40, _right((0.05, -0.55, 0.55), lean_deg=10.0)),
            (0.50, _right((0.22, -0.55, -0.66), lean_deg=32.0, twist_deg=-16.0, hip=(0.0, -0.10, 0.12),
                          left_foot=(0.0, 0.0, 0.35))),
            (0.32, _right((-0.05, -0.62, 0.70), lean_deg=42.0, twist_deg=6.0, hip=(0.0, -0.22, 0.30),
                          left_foot=(-0.05, 0.0, 0.55))),
            (0.28, _right((-0.15, 0.15, 0.85), lean_deg=30.0, twist_deg=14.0)),
        ),
        after=_back(0.8),
    ),
    13: Motion(  # boxing
        either_side=True,
        before=(_wait(0.15), (0.35, _both((-0.16, 0.02, 0.38)))),
        cycle=(
            (0.17, _right((-0.24, 0.10, 0.94), elbow=0.3, twist_deg=20.0)),
            (0.17, _right((-0.16, 0.02, 0.38), twist_deg=0.0)),
            (0.17, dict(left_hand=(-0.24, 0.10, 0.94), left_elbow=0.3, twist_deg=-20.0)),
            (0.17, dict(left_hand=(-0.16, 0.02, 0.38), left_elbow=0.0, twist_deg=0.0)),
        ),
        repeats=(1, 2),
        after=_back(0.45),
    ),
    14: Motion(  # baseball swing
        before=(
            _wait(0.2),
            (0.55, _right((0.12, 0.08, 0.28), elbow=0.8, left_hand=(-0.74, 0.02, 0.34), twist_deg=-38.0)),
            _wait(0.15),
            (0.30, _right((-0.45, -0.12, 0.76), left_hand=(-0.14, -0.16, 0.80), twist_deg=26.0)),
            (0.28, _right((-0.74, 0.12, 0.42), left_hand=(0.10, 0.08, 0.44), twist_deg=52.0)),
        ),
        after=_back(0.65),
    ),
    15: Motion(  # tennis swing
        before=(
            _wait(0.2),
            (0.45, _right((0.80, -0.30, -0.30), twist_deg=-34.0)),
            (0.25, _right((0.38, -0.20, 0.84), elbow=0.2, twist_deg=8.0)),
            (0.25, _right((-0.55, 0.38, 0.52), elbow=0.6, twist_deg=34.0)),
        ),
        after=_back(0.6),
    ),
    16: Motion(  # arm curl
        before=(_wait(0.2), (0.25, _both((0.10, -0.90, 0.30)))),
        cycle=((0.36, _both((0.06, -0.12, 0.34))), (0.36, _both((0.10, -0.88, 0.34)))),
        repeats=(1, 2),
        after=_back(0.3),
    ),
    17: Motion(  # tennis serve
        before=(
            _wait(0.15),
            (0.22, _right((0.35, -0.60, -0.05), left_hand=(-0.05, -0.20, 0.85), twist_deg=-8.0)),
            (0.25, _right((0.55, -0.45, -0.25), left_hand=(-0.10, 0.85, 0.42), left_elbow=0.4, twist_deg=-18.0)),
            (0.30, _right((0.34, 0.36, -0.30), elbow=-0.6, left_hand=(0.10, 0.30, 0.70),
                          twist_deg=-24.0, lean_deg=-8.0)),
            (0.20, _right((-0.02, 0.90, 0.36), elbow=0.4, left_hand=(0.1, -0.5, 0.4), left_elbow=0.0,
                          twist_deg=14.0, lean_deg=8.0)),
            (0.22, _right((-0.45, -0.45, 0.58), left_hand=STAND["left_hand"], twist_deg=26.0, lean_deg=16.0)),
        ),
        after=_back(0.55),
    ),
    18: Motion(  # two-handed push
        before=(
            _wait(0.2),
            (0.40, _both((0.02, -0.22, 0.28))),
            (0.30, _both((-0.08, -0.04, 0.94), elbow=0.2, lean_deg=6.0)),
            _wait(0.15),
            (0.30, _both((0.02, -0.25, 0.35), lean_deg=0.0)),
        ),
        after=_back(0.4),
    ),
    19: Motion(  # knock on a door
        before=(_wait(0.2), (0.4, _right((-0.08, 0.22, 0.42)))),
        cycle=((0.14, _right((-0.10, 0.28, 0.66))), (0.15, _right((-0.08, 0.24, 0.46)))),
        repeats=(2, 4),
        after=_back(0.45),
    ),
    20: Motion(  # catch
        before=(
            _wait(0.2),
            (0.42, _right((0.10, 0.50, 0.72), elbow=0.3)),
            _wait(0.12),
            (0.24, _right((0.00, -0.02, 0.42))),
            _wait(0.12),
        ),
        after=_back(0.45),
    ),
    21: Motion(  # pick up and throw
        before=(
            _wait(0.2),
            (0.65, _right((-0.15, -0.92, 0.20), lean_deg=82.0, hip=(0.0, -0.24, -0.12))),
            _wait(0.10),
            (0.50, dict(STAND, **_right((0.60, 0.05, -0.30), elbow=-0.2, twist_deg=-24.0))),
            (0.20, _right((0.45, 0.45, -0.25), elbow=-0.5, twist_deg=-28.0)),
            (0.20, _right((-0.05, 0.45, 0.80), elbow=0.5, twist_deg=18.0, lean_deg=8.0)),
            (0.22, _right((-0.45, -0.40, 0.60), elbow=0.2, twist_deg=28.0, lean_deg=12.0)),
        ),
        after=_back(0.45),
    ),
    22: Motion(  # jog on the spot
        either_side=True,
        before=(_wait(0.1), (0.2, _both((0.06, -0.52, 0.30)))),
        cycle=_strides((0.0, 0.34, -0.22), (0.0, -0.30, 0.50), (0.14, -0.66, -0.06), 0.14, lean_deg=5.0),
        repeats=(3, 4),
        after=_back(0.3),
    ),
    23: Motion(  # walk on the spot
        either_side=True,
        before=(_wait(0.1),),
        cycle=_strides((0.0, 0.17, 0.04), (0.06, -0.86, 0.40), (0.10, -0.90, -0.30), 0.25),
        repeats=(2, 2),
        after=_back(0.25),
    ),
    24: SIT_TO_STAND,
    25: _reverse(SIT_TO_STAND),
    26: Motion(  # lunge
        either_side=True,
        distance_m=3.25,
        before=(
            _wait(0.2),
            (0.40, dict(right_foot=(0.0, 0.12, 0.40), hip=(0.0, -0.02, 0.15))),
            (0.45, dict(right_foot=(0.0, 0.0, 0.72), hip=(0.0, -0.32, 0.36), lean_deg=4.0)),
            _wait(0.25),
            (0.45, dict(right_foot=(0.0, 0.12, 0.40), hip=(0.0, -0.02, 0.15), lean_deg=0.0)),
        ),
        after=_back(0.40),
    ),
    27: Motion(  # squat
        before=(
            _wait(0.2),
            (0.35, _both((0.0, -0.35, 0.80), elbow=0.2)),
            (0.70, _both((-0.02, 0.02, 0.94), elbow=0.2, hip=(0.0, -0.44, -0.26), lean_deg=32.0)),
            _wait(0.15),
            (0.65, _both((0.0, -0.35, 0.80), hip=(0.0, 0.0, 0.0), lean_deg=0.0)),
        ),
        after=_back(0.35),
    ),
}
# fmt: on
