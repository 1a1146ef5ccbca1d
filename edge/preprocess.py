"""What a recording becomes before a network reads it.

The one piece of code for it: training, evaluation, calibration and the device all call these functions,
so they cannot disagree. numpy and OpenCV only. Training puts its random draws (`hartx.data.transforms`)
between the same steps.

Arrays leave here as (T, H, W, C) and (T, F) float32.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence

import cv2
import numpy as np

from edge import joints as joint_layouts
from edge.sampling import Track, common_span, interpolate, nearest, segment_times

# The depth camera of the first Kinect: focal length in units of the image width (285.6 pixels of 320).
FOCAL_LENGTH_PER_WIDTH = 0.8925
# No depth camera measures nearer. A smaller value is noise or another unit, and 1 mm would ask for a crop
# of terabytes.
NEAREST_MM = 300.0
# What 1 stands for in the network's inertial input. People's limbs turn at about 100 degrees a second and feel
# about 1 g, so both sensors' values are of order 1.
ACCELERATION_UNIT_G = 1.0
RATE_UNIT_DEG_S = 100.0


@dataclass(frozen=True)
class VideoSpec:
    """Colour video: the middle square of `crop` / `resize` of the shorter side, (value / 255 - mean) / std.

    The same as the shorter side at `resize` pixels and then the middle `crop` ones, but nothing else is resized.
    """

    num_frames: int = 16
    resize: int = 256
    crop: int = 224
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one clip, (T, H, W, C)."""
        return (self.num_frames, self.crop, self.crop, 3)


@dataclass(frozen=True)
class DepthSpec:
    """Depth video: a square around the person, sized in metres at the person's own distance.

    `extent_m` is the side of the square, `crop` its size in pixels, `range_m` the distance before and
    behind the body that is told apart. Background is 0, the body lies in (0, 1], nearer is larger.
    """

    num_frames: int = 16
    crop: int = 64
    extent_m: float = 2.4
    range_m: float = 0.8

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one clip, (T, H, W, C)."""
        return (self.num_frames, self.crop, self.crop, 1)


@dataclass(frozen=True)
class SkeletonSpec:
    """Skeletons: interpolated to `num_frames`, centred on the hips, in units of the torso's length."""

    num_frames: int = 48
    layout: str = "kinect25"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one clip, (T, 3 J)."""
        return (self.num_frames, 3 * len(joint_layouts.LAYOUTS[self.layout]))


@dataclass(frozen=True)
class InertialSpec:
    """Inertial samples: interpolated to `num_frames`, acceleration in g, angular velocity in 100 degrees/s.

    Nothing is centred: gravity tells how the sensor is held, and that a sensor is there at all.
    """

    num_frames: int = 64

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one clip, (T, 6)."""
        return (self.num_frames, 6)


SPECS = {"rgb": VideoSpec, "depth": DepthSpec, "skeleton": SkeletonSpec, "inertial": InertialSpec}
VIDEO_MODALITIES = ("rgb", "depth")


def window_frames(specs: Mapping[str, Any]) -> int:
    """Return how many instants a window of these modalities has, of which a stride is a part.

    The frames of the video where there is one, else those of the first modality.
    """
    video = [spec for modality, spec in specs.items() if modality in VIDEO_MODALITIES]
    return int((video or list(specs.values()))[0].num_frames)


def spec_to_dict(spec: Any) -> dict[str, Any]:
    """Return a specification as plain values for JSON."""
    return dataclasses.asdict(spec)


def spec_from_dict(modality: str, values: Mapping[str, Any]) -> Any:
    """Return the specification of a modality from plain values.

    Raises:
      ValueError: for an unknown modality, an unknown or missing field, or a value that no clip can be made with.
    """
    if modality not in SPECS:
        raise ValueError(f"modality {modality!r} was given; one of {sorted(SPECS)} is expected")
    known = {field.name for field in dataclasses.fields(SPECS[modality])}
    if set(values) != known:
        raise ValueError(f"{modality}: {sorted(values)} were given; {sorted(known)} are expected")
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    for name, value in given.items():
        usual = getattr(SPECS[modality](), name)
        if not _is_like(value, usual, may_be_negative=name == "mean"):
            raise ValueError(f"{modality}: {name} is {value!r}; something like {usual!r} is expected")
    return SPECS[modality](**given)


def _is_like(value: Any, usual: Any, may_be_negative: bool) -> bool:
    """Return whether a value is of the kind of another one: text, a whole number, or numbers above 0, as many."""
    if isinstance(usual, tuple):
        alike = isinstance(value, tuple) and len(value) == len(usual)
        return alike and all(_is_like(v, u, may_be_negative) for v, u in zip(value, usual))
    if isinstance(usual, str):
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, int if isinstance(usual, int) else (int, float)):
        return False
    return math.isfinite(value) and (value > 0 or may_be_negative)


# --- colour ---------------------------------------------------------------------------------------


def square_side(frame: np.ndarray, spec: VideoSpec) -> int:
    """Return the side of the square that the network sees of an (H, W, 3) frame, in the frame's own pixels."""
    return max(1, round(min(frame.shape[:2]) * spec.crop / spec.resize))


def crop_square(frame: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    """Return the square of `side` pixels whose upper left corner is (top, left)."""
    return frame[top : top + side, left : left + side]


def centre_crop(frame: np.ndarray, side: int) -> np.ndarray:
    """Return the middle square of `side` pixels."""
    height, width = frame.shape[:2]
    return crop_square(frame, (height - side) // 2, (width - side) // 2, side)


def resize_square(square: np.ndarray, size: int) -> np.ndarray:
    """Return a square at `size` pixels; made smaller, each of them is the mean of the area that it covers."""
    if len(square) == size:
        return square
    return cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA if len(square) > size else cv2.INTER_LINEAR)


def normalise_video(frames: np.ndarray, spec: VideoSpec) -> np.ndarray:
    """Return uint8 frames (..., 3) as float32, (value / 255 - mean) / std."""
    mean = np.asarray(spec.mean, np.float32) * 255
    scale = 1 / (np.asarray(spec.std, np.float32) * 255)
    # A byte has 256 values: looking them up is the same numbers as computing them, 18 times as fast.
    table = (np.arange(256, dtype=np.float32)[:, None] - mean) * scale
    rows = np.ascontiguousarray(frames).reshape(-1, frames.shape[-2], 3)
    return cv2.LUT(rows, table[None]).reshape(frames.shape)


def prepare_video(frames: Iterable[np.ndarray], spec: VideoSpec) -> np.ndarray:
    """Return (T, crop, crop, 3) float32 of T RGB uint8 frames of any size."""
    squares = [resize_square(centre_crop(frame, square_side(frame, spec)), spec.crop) for frame in frames]
    return normalise_video(np.stack(squares), spec)


# --- depth ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Body:
    """Where the person stands in a depth clip: centre in pixels (of the median), distance in millimetres."""

    row: float
    column: float
    distance_mm: float


def thin_depth(frames: Sequence[np.ndarray], spec: DepthSpec) -> np.ndarray:
    """Return depth frames (T, H, W) with every n-th row and column only.

    So many that the width of the picture still is twice `crop` pixels: the square around the person keeps about
    as many as it is given to the network in, and everything that follows costs a small part.
    """
    step = max(1, frames[0].shape[1] // (2 * spec.crop))
    return np.stack([frame[::step, ::step] for frame in frames])


def find_body(frames: np.ndarray) -> Body:
    """Return where the person is in (T, H, W) depth frames whose background is 0.

    The medians over all foreground pixels of the clip: an arm that is stretched out moves them little,
    and the crop stays the same over the clip, so that walking is seen as walking.
    """
    height, width = frames.shape[1:]
    seen = np.flatnonzero(frames > 0)  # many times as fast as nonzero of the frames themselves
    if len(seen) == 0:
        return Body(height / 2, width / 2, 2500.0)
    rows, columns = np.divmod(seen % (height * width), width)
    return Body(float(np.median(rows)), float(np.median(columns)), float(np.median(frames.reshape(-1)[seen])))


def depth_side(body: Body, frame_width: int, spec: DepthSpec) -> int:
    """Return the side, in pixels of the frame, of a square of `extent_m` metres at the body's distance."""
    distance_mm = max(body.distance_mm, NEAREST_MM)
    return max(2, round(FOCAL_LENGTH_PER_WIDTH * frame_width * 1000 * spec.extent_m / distance_mm))


def crop_depth(frame: np.ndarray, body: Body, spec: DepthSpec) -> np.ndarray:
    """Return the (crop, crop) float32 picture of the person in one (H, W) uint16 depth frame.

    0.5 + 0.5 (distance - depth) / range on the body, clipped to [0, 1]; 0 elsewhere and outside the frame.
    """
    side = depth_side(body, frame.shape[1], spec)
    top, left = round(body.row - side / 2), round(body.column - side / 2)
    inside = frame[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
    nearness = np.clip(0.5 + (body.distance_mm - inside.astype(np.float32)) * (0.5 / (1000 * spec.range_m)), 0, 1)
    square = np.zeros((side, side), np.float32)
    square[max(-top, 0) :, max(-left, 0) :][: inside.shape[0], : inside.shape[1]] = nearness * (inside > 0)
    return cv2.resize(square, (spec.crop, spec.crop), interpolation=cv2.INTER_AREA)


def crop_clip(thinned: np.ndarray, spec: DepthSpec) -> np.ndarray:
    """Return (T, crop, crop) float32 pictures of the person in thinned depth frames (T, H, W)."""
    body = find_body(thinned)
    return np.stack([crop_depth(frame, body, spec) for frame in thinned])


def prepare_depth(frames: Sequence[np.ndarray], spec: DepthSpec) -> np.ndarray:
    """Return (T, crop, crop, 1) float32 of T uint16 depth frames (H, W) in millimetres, background 0."""
    return crop_clip(thin_depth(frames, spec), spec)[..., None]


# --- skeletons ------------------------------------------------------------------------------------


def normalise_skeleton(joints: np.ndarray, layout: str) -> np.ndarray:
    """Return (T, J, 3) skeletons centred on the clip's mean hip, in units of the torso's median length.

    Raises:
      ValueError: for a number of joints that does not fit the layout.
    """
    if layout == "kinect25":
        joints = joint_layouts.to_kinect25(joints)
    names = joint_layouts.LAYOUTS[layout]
    if joints.shape[1:] != (len(names), 3):
        raise ValueError(f"a skeleton of shape {joints.shape} was given; (T, {len(names)}, 3) is expected")
    hip, neck = joints[:, names.index("hip_center")], joints[:, names.index("shoulder_center")]
    torso = float(np.median(np.linalg.norm(neck - hip, axis=-1)))
    return ((joints - hip.mean(axis=0)) / max(torso, 1e-3)).astype(np.float32)


def prepare_skeleton(joints: np.ndarray, spec: SkeletonSpec) -> np.ndarray:
    """Return (T, 3 J) float32 of T skeletons (T, 20 or 25, 3) in metres."""
    return normalise_skeleton(joints, spec.layout).reshape(len(joints), -1)


# --- inertial samples -----------------------------------------------------------------------------


def prepare_inertial(samples: np.ndarray, spec: InertialSpec) -> np.ndarray:
    """Return (T, 6) float32 of T inertial samples: acceleration x y z in g, angular velocity x y z in degrees/s.

    The units are fixed, none is measured on recordings: a sensor that measures the same gives the same.

    Raises:
      ValueError: for samples of another shape.
    """
    if samples.shape != spec.shape:
        raise ValueError(f"inertial samples of shape {samples.shape} were given; {spec.shape} is expected")
    return (samples / np.repeat([ACCELERATION_UNIT_G, RATE_UNIT_DEG_S], 3)).astype(np.float32)


# --- a whole clip ---------------------------------------------------------------------------------

_PREPARE: Mapping[str, Callable[[Any, Any], np.ndarray]] = {
    "rgb": prepare_video,
    "depth": prepare_depth,
    "skeleton": prepare_skeleton,
    "inertial": prepare_inertial,
}


def frames_at(track: Track, instants: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the frames of a video at the instants, one at a time: together, large ones would take much memory."""
    return (track.values[int(i)] for i in nearest(track.time_s, instants))


def read_track(modality: str, track: Track, instants: np.ndarray) -> Any:
    """Return what a track shows at the instants: frames are picked, joints and inertial samples interpolated."""
    if modality in VIDEO_MODALITIES:
        return list(frames_at(track, instants))
    return interpolate(np.asarray(track.values, np.float32), track.time_s, instants)


def prepare_clip(
    tracks: Mapping[str, Track],
    specs: Mapping[str, Any],
    span: tuple[float, float] | None = None,
    offset: float = 0.5,
) -> dict[str, np.ndarray]:
    """Return the network's inputs for one clip of a recording.

    Args:
      tracks: modality to track; those that `specs` does not name are ignored.
      specs: modality to specification. A modality without a track (or with an empty one) gives zeros,
        which is what the networks are trained to take for "absent".
      span: (start, stop) seconds; the whole recording if not given.
      offset: where in its segment each instant lies, see `segment_times`.

    Returns:
      modality to float32 array of the specification's `shape`, no batch axis.
    """
    present = {m: tracks[m] for m in specs if m in tracks and len(tracks[m].time_s)}
    if not present:
        raise ValueError(f"none of the modalities {sorted(specs)} was given")
    start_s, stop_s = span or common_span(present)
    inputs = {}
    for modality, spec in specs.items():
        if modality not in present:
            inputs[modality] = np.zeros(spec.shape, np.float32)
            continue
        instants = segment_times(start_s, stop_s, spec.num_frames, offset)
        track = present[modality]
        values = frames_at(track, instants) if modality == "rgb" else read_track(modality, track, instants)
        inputs[modality] = _PREPARE[modality](values, spec)
    return inputs
