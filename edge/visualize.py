"""A recording as a stream: its annotated video, its timeline, its events."""

from __future__ import annotations

import os
import threading
from contextlib import closing
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

from edge.annotate import annotate
from edge.drawn import TIMELINE_SUFFIX, VIDEO_SUFFIX
from edge.events import Ended, Predicted
from edge.files import unfinished
from edge.items import Item
from edge.outputs import LookRecorder
from edge.recognizer import ActionRecognizer
from edge.runtime import StreamOptions
from edge.timeline import write_timeline


def visualize(
    recognizer: ActionRecognizer,
    item: Item,
    rates_hz: Mapping[str, Optional[float]],
    target: Path,
    options: StreamOptions,
    stop: threading.Event,
) -> Optional[Dict[str, Any]]:
    """Write NAME.mp4 and NAME.png of a recording.

    The video gets its name when it is complete; half of one that a killed process left is removed. A recording that is
    shorter than a window has no timeline.

    Args:
      recognizer: what predicts.
      item: the files.
      rates_hz: "frame", "skeleton" and "inertial" to entries per second where a file does not know it.
      target: folder and NAME.
      options: stride, smoothing, thresholds.
      stop: ends it; nothing is left then.

    Returns:
      "video" and "timeline", their paths (or None), and "events", what was said; None if it was ended.

    Raises:
      EdgeError: if the recording cannot be read or the files cannot be written.
    """
    video, timeline = (target.with_name(target.name + suffix) for suffix in (VIDEO_SUFFIX, TIMELINE_SUFFIX))
    half = unfinished(target, VIDEO_SUFFIX)
    recorder = LookRecorder(half)
    predictions: List[Predicted] = []
    ended: List[Ended] = []
    try:
        with closing(recorder):
            for event in recognizer.stream(
                item.clip,
                item.skeleton,
                item.inertial,
                frame_rate_hz=rates_hz.get("frame"),
                skeleton_rate_hz=rates_hz.get("skeleton"),
                inertial_rate_hz=rates_hz.get("inertial"),
                options=options,
                on_frame=lambda look: recorder.write(look, annotate(look, None, show_skeleton=True)),
                stop=stop,
            ):
                if isinstance(event, Predicted):
                    predictions.append(event)
                elif isinstance(event, Ended):
                    ended.append(event)
        if stop.is_set():
            return None
        if predictions:
            write_timeline(timeline, predictions, ended, options.rule.threshold)
        os.replace(str(half), str(video))
    finally:
        if half.exists():
            half.unlink()
    events = [{"action": e.action, "start_s": e.start_s, "stop_s": e.stop_s, "confidence": e.confidence} for e in ended]
    return {"video": str(video), "timeline": str(timeline) if predictions else None, "events": events}
