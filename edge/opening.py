"""From what a caller of `ActionRecognizer.stream` names to a stream that can run."""

from __future__ import annotations

import threading
from typing import Any, Mapping, Optional

from edge.errors import EdgeError
from edge.feeds import clock_of, make_feed, read_given
from edge.recognizer import ActionRecognizer
from edge.runtime import OnFrame, StreamOptions, StreamRuntime
from edge.sources import Source, open_source


def open_stream(
    recognizer: ActionRecognizer,
    source: Any,
    skeleton: Any,
    inertial: Any,
    rates_hz: Mapping[str, Optional[float]],
    real_time: bool,
    options: StreamOptions,
    on_frame: Optional[OnFrame],
    stop: Optional[threading.Event],
) -> StreamRuntime:
    """Return the runtime for what a caller of `ActionRecognizer.stream` named; arguments are explained there."""
    bundle = recognizer.bundle
    given = {"skeleton": skeleton, "inertial": inertial}
    present = {modality: value for modality, value in given.items() if value is not None}
    for modality in present:
        if modality not in bundle.specs:
            raise EdgeError(f"{modality} was given; this bundle reads {bundle.reads}")
    present = {modality: read_given(modality, value) for modality, value in present.items()}
    opened: Source
    if source is None:
        opened = clock_of(present, rates_hz, real_time)
    elif bundle.video_modality is None and "skeleton" not in present:
        raise EdgeError(
            f"source {source} was given; this bundle reads {bundle.reads}, no video: give files of these instead "
            f"(--skeleton=FILE, --inertial=FILE), or what finds the skeleton in a frame (--skeleton=mediapipe)"
        )
    else:
        opened = open_source(source, bundle.video_modality or "rgb", real_time, rates_hz.get("video"))
    try:
        feeds = {
            modality: make_feed(modality, value, rates_hz.get(modality), opened.duration_s)
            for modality, value in present.items()
        }
    except EdgeError:
        opened.close()
        raise
    return StreamRuntime(recognizer, opened, feeds, options, on_frame, stop)
