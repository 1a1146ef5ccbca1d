"""Which recordings UTD-MHAD consists of."""

from __future__ import annotations

import re
from itertools import product
from typing import NamedTuple

# Of the prepared dataset. A change in what is stored asks for a new version.
NAME = "utd_mhad"
VERSION = "1.0.0"

# In the authors' order; the names are those of their sample code, spelled out.
ACTIONS = (
    "swipe_left",
    "swipe_right",
    "wave",
    "clap",
    "throw",
    "arm_cross",
    "basketball_shoot",
    "draw_x",
    "draw_circle_clockwise",
    "draw_circle_counter_clockwise",
    "draw_triangle",
    "bowling",
    "boxing",
    "baseball_swing",
    "tennis_swing",
    "arm_curl",
    "tennis_serve",
    "push",
    "knock",
    "catch",
    "pickup_throw",
    "jog",
    "walk",
    "sit_to_stand",
    "stand_to_sit",
    "lunge",
    "squat",
)
SUBJECTS = range(1, 9)
TRIALS = range(1, 5)
MODALITIES = ("rgb", "depth", "skeleton", "inertial")

# A depth frame shows the body where the skeleton had it one and a half frames before: a network that was taught so is
# nearest to the skeletons of then on a subject left out too, and one that was taught no delay is nearest there as well.
DEPTH_DELAY_S = 0.05

# (the word in a file's name, its ending) to modality. The .txt skeletons come from mirrors.
MODALITY_OF_FILE = {
    ("color", "avi"): "rgb",
    ("depth", "mat"): "depth",
    ("skeleton", "mat"): "skeleton",
    ("skeleton", "txt"): "skeleton",
    ("inertial", "mat"): "inertial",
}
NAME_PATTERN = "a{action}_s{subject}_t{trial}_{color.avi | depth.mat | skeleton.mat | inertial.mat}"
_NAME = re.compile(r"a(\d+)_s(\d+)_t(\d+)_([a-z]+)\.([a-z]+)", re.IGNORECASE)


class RecordingId(NamedTuple):
    """One recording; all three count from 1."""

    action: int
    subject: int
    trial: int

    @property
    def name(self) -> str:
        """The authors' name, such as a27_s8_t3."""
        return f"a{self.action}_s{self.subject}_t{self.trial}"


# The authors dropped three of the 864 combinations as corrupted.
DROPPED = frozenset({RecordingId(8, 1, 4), RecordingId(23, 6, 4), RecordingId(27, 8, 4)})
EXPECTED = frozenset(
    RecordingId(*key) for key in product(range(1, len(ACTIONS) + 1), SUBJECTS, TRIALS) if key not in DROPPED
)


class FileName(NamedTuple):
    """What a file's name says it holds."""

    recording: RecordingId
    modality: str


def parse_name(name: str) -> FileName | None:
    """Return what a file's name says it holds, None where it is not the name of a recording's file."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    action, subject, trial, word, ending = match.groups()
    modality = MODALITY_OF_FILE.get((word.lower(), ending.lower()))
    return FileName(RecordingId(int(action), int(subject), int(trial)), modality) if modality else None
