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
    prepare_clip,
    prepare_inertial,
    read_track,
)
from edge.sampling import Track, common_span, segment_times
from hartx.data import transforms
from hartx.data.source import Recording

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
    """One clip of a recording: a span in seconds and where in its segments the instants lie."""

    start_s: float
    stop_s: float
    offset: float | np.ndarray = 0.5


def frame_period_s(tracks: dict[str, Track]) -> float:
    """Return the seconds between two frames of the slowest track: the step that a stride counts."""
    return max(track.duration_s / len(track.time_s) for track in tracks.values())


def _window_s(recording: Recording, config: ConfigDict, stride: int) -> float:
    return config.clip.num_frames * stride * frame_period_s(recording.tracks)


def random_view(recording: Recording, config: ConfigDict, rng: np.random.Generator) -> View:
    """Return a training clip.

    uniform: the recording less a random share of up to `augment.temporal_crop`, with a random instant in
    each segment if `augment.temporal_jitter`. window: `num_frames` frames at a stride drawn from `strides`,
    anywhere in the recording; a recording shorter than that is taken whole.
    """
    start_s, stop_s = common_span(recording.tracks)
    length_s = stop_s - start_s
    if config.clip.sampling == "window":
        kept_s = min(length_s, _window_s(recording, config, int(rng.choice(config.clip.strides))))
    else:
        kept_s = length_s * (1 - config.augment.temporal_crop * rng.uniform())
    start_s += rng.uniform() * (length_s - kept_s)
    jitter = config.clip.sampling == "uniform" and config.augment.temporal_jitter
    offset = rng.uniform(size=config.clip.num_frames) if jitter else 0.5
    return View(start_s, start_s + kept_s, offset)


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
    draw = transforms.draw_clip(rng, config.augment)
    inputs = {}
    for stream, spec in specs.items():
        # All else is interpolated, so only frames gain from an instant drawn anew in each segment.
        offset = view.offset if stream in VIDEO_MODALITIES else 0.5
        instants = segment_times(view.start_s, view.stop_s, spec.num_frames, offset)
        values = read_track(stream, recording.tracks[stream], instants)
        if stream == "rgb":
            inputs[stream] = transforms.video_clip(values, spec, draw)
        elif stream == "depth":
            inputs[stream] = transforms.depth_clip(values, spec, draw)
        elif stream == "skeleton":
            inputs[stream] = transforms.skeleton_clip(values, spec, draw, rng)
        else:
            inputs[stream] = prepare_inertial(values, spec)
    return inputs


def test_clips(recording: Recording, config: ConfigDict, specs: Specs) -> list[dict[str, np.ndarray]]:
    """Return the network's inputs for each view of a recording, exactly as the device makes them."""
    return [
        prepare_clip(recording.tracks, specs, (view.start_s, view.stop_s), view.offset)  # type: ignore[arg-type]
        for view in test_views(recording, config)
    ]
