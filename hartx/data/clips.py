"""Which clips a recording gives: random ones in training, fixed views at test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from edge.preprocess import (
    VIDEO_MODALITIES,
    DepthSpec,
    InertialSpec,
    SkeletonSpec,
    VideoSpec,
    crop_clip,
    prepare_clip,
    prepare_inertial,
    read_track,
    thin_depth,
)
from edge.sampling import Track, common_span, nearest, segment_times
from hartx.config import learns_joints
from hartx.data.depth_transforms import Square, depth_clip, joints_in_square, place_square
from hartx.data.draws import NO_DRAW, draw_clip
from hartx.data.inertial_transforms import augment_inertial
from hartx.data.skeleton_transforms import skeleton_clip
from hartx.data.source import Recording
from hartx.data.time_mask import NO_MASK, TimeMask, draw_mask, masked_frames
from hartx.data.time_warp import draw_speeds, warp_time
from hartx.data.video_transforms import video_clip
from hartx.models.pose_lstm import JOINTS, JOINTS_INPUT

Specs = dict[str, Any]


def input_specs(config: ConfigDict) -> Specs:
    """Return what the network reads: stream name to the preprocessing specification that the device shares."""
    clip = config.clip
    every = {
        "rgb": VideoSpec(clip.num_frames, clip.resize, clip.crop),
        "depth": DepthSpec(clip.num_frames, clip.crop, clip.extent_m, clip.range_m),
        "skeleton": SkeletonSpec(clip.skeleton_frames, clip.skeleton_layout),
        "inertial": InertialSpec(clip.inertial_frames),
    }
    return {stream: every[stream] for stream in config.streams}


@dataclass(frozen=True)
class View:
    """One clip of a recording, the same for all modalities.

    Attributes:
      start_s: start of its span.
      stop_s: end of its span.
      offset: where in their segments the instants of frames lie.
      speeds: how fast the span is gone through, see `time_warp`; empty for evenly.
      mask: what of it is masked.
    """

    start_s: float
    stop_s: float
    offset: float | np.ndarray = 0.5
    speeds: tuple[float, ...] = ()
    mask: TimeMask = NO_MASK

    def instants(self, count: int, offset: float | np.ndarray) -> np.ndarray:
        """Return the `count` instants, in seconds, at which a modality is read."""
        if not self.speeds:
            return segment_times(self.start_s, self.stop_s, count, offset)
        shares = segment_times(0.0, 1.0, count, offset)
        return self.start_s + (self.stop_s - self.start_s) * warp_time(shares, self.speeds)


def frame_period_s(tracks: dict[str, Track]) -> float:
    """Return the seconds between two frames of the slowest track: the step that a stride counts."""
    return max(track.duration_s / len(track.time_s) for track in tracks.values())


def _window_s(recording: Recording, config: ConfigDict, stride: int) -> float:
    return config.clip.num_frames * stride * frame_period_s(recording.tracks)


def random_view(recording: Recording, config: ConfigDict, rng: np.random.Generator) -> View:
    """Return a training clip.

    uniform: the recording less a random share of up to `augment.temporal_crop`, with a random instant in
    each segment if `augment.temporal_jitter`. window: `num_frames` frames at a stride drawn from `strides`,
    anywhere in the recording; a recording shorter than that is taken whole. Both: the span is gone through
    at changing speed (`augment.temporal_elastic`), and parts of it are masked (`augment.temporal_mask_ratio`).
    """
    augment = config.augment
    start_s, stop_s = common_span(recording.tracks)
    length_s = stop_s - start_s
    if config.clip.sampling == "window":
        kept_s = min(length_s, _window_s(recording, config, int(rng.choice(config.clip.strides))))
    else:
        kept_s = length_s * (1 - augment.temporal_crop * rng.uniform())
    start_s += rng.uniform() * (length_s - kept_s)
    jitter = config.clip.sampling == "uniform" and augment.temporal_jitter
    offset = rng.uniform(size=config.clip.num_frames) if jitter else 0.5
    speeds = draw_speeds(rng, augment.temporal_elastic)
    mask = draw_mask(rng, augment.temporal_mask_ratio, augment.temporal_masks)
    return View(start_s, start_s + kept_s, offset, speeds, mask)


def test_views(recording: Recording, config: ConfigDict) -> list[View]:
    """Return the `clip.views` clips over which a prediction is averaged.

    uniform: the whole recording, each view at another phase of the segments. window: windows of the first
    stride, evenly spread.
    """
    start_s, stop_s = common_span(recording.tracks)
    count = config.clip.views
    phases = (np.arange(count) + 0.5) / count
    if config.clip.sampling == "uniform":
        return [View(start_s, stop_s, float(phase)) for phase in phases]
    kept_s = min(stop_s - start_s, _window_s(recording, config, config.clip.strides[0]))
    starts = start_s + phases * (stop_s - start_s - kept_s)
    return [View(float(start), float(start) + kept_s) for start in starts]


def training_clip(
    recording: Recording, config: ConfigDict, specs: Specs, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return the network's inputs for a random, augmented clip."""
    view = random_view(recording, config, rng)
    draw = draw_clip(rng, config.augment)
    inputs = {}
    for stream, spec in specs.items():
        # All else is interpolated, so only frames gain from an instant drawn anew in each segment.
        offset = view.offset if stream in VIDEO_MODALITIES else 0.5
        instants = view.instants(spec.num_frames, offset)
        values = read_track(stream, recording.tracks[stream], instants)
        if stream == "rgb":
            inputs[stream] = video_clip(values, spec, draw)
        elif stream == "depth":
            thinned = thin_depth(values, spec)
            square = place_square(thinned, spec, draw)
            inputs[stream] = depth_clip(thinned, square, spec, draw.depth, rng)
            if learns_joints(config):
                inputs[JOINTS_INPUT] = _joints_of_frames(recording, instants, square)
        elif stream == "skeleton":
            inputs[stream] = skeleton_clip(values, spec, draw, rng)
        else:
            inputs[stream] = prepare_inertial(augment_inertial(values, draw, rng), spec)
        inputs[stream][masked_frames(view.mask, spec.num_frames)] = 0
    return inputs


def _joints_of_frames(recording: Recording, instants: np.ndarray, square: Square) -> np.ndarray:
    """Return the (T, 3 J) joints in the depth frames of these instants; zeros where no skeleton was recorded."""
    shape = (len(instants), 3 * len(JOINTS))
    if recording.skeleton is None:
        return np.zeros(shape, np.float32)
    shown = recording.tracks["depth"].time_s
    joints = read_track("skeleton", recording.skeleton, shown[nearest(shown, instants)])
    return joints_in_square(joints, square).reshape(shape)


def depth_and_joints(recording: Recording, spec: DepthSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return the depth of a whole recording as the device sees it, (T, H, W, 1), and the joints in it, (T, 3 J)."""
    start_s, stop_s = common_span(recording.tracks)
    instants = View(start_s, stop_s).instants(spec.num_frames, 0.5)
    thinned = thin_depth(read_track("depth", recording.tracks["depth"], instants), spec)
    joints = _joints_of_frames(recording, instants, place_square(thinned, spec, NO_DRAW))
    return crop_clip(thinned, spec)[..., None], joints


def test_clips(recording: Recording, config: ConfigDict, specs: Specs) -> list[dict[str, np.ndarray]]:
    """Return the network's inputs for each view of a recording, exactly as the device makes them."""
    return [
        prepare_clip(recording.tracks, specs, (view.start_s, view.stop_s), view.offset)  # type: ignore[arg-type]
        for view in test_views(recording, config)
    ]
