"""What a stream was like: counts, latency, and the actions that were seen."""

from __future__ import annotations

from collections import Counter, deque
from typing import Counter as CounterOf
from typing import Deque, Dict, List, Optional, Sequence, Tuple

from rich.table import Table

from edge.events import Ended, Latency, Predicted, StreamEvent
from edge.measure import percentiles

_KEPT = 10_000  # predictions whose latency is kept: a stream may run for weeks


class StreamSummary:
    """Counts what a stream says, in memory that does not grow with time."""

    def __init__(self) -> None:
        self.frames = 0
        self.predictions = 0
        self.dropped_frames = 0
        self.strides: CounterOf[int] = Counter()
        self.actions: CounterOf[str] = Counter()
        self.seconds: Dict[str, float] = {}
        self._latencies: Deque[Latency] = deque(maxlen=_KEPT)
        self._frame_times_s: Deque[float] = deque(maxlen=30)

    def saw_frame(self, clock_s: float) -> None:
        """Count a frame that was looked at, at a time of the clock."""
        self.frames += 1
        self._frame_times_s.append(clock_s)

    @property
    def frame_rate_hz(self) -> Optional[float]:
        """Frames looked at per second, over the last 30; None before the second one."""
        times_s = self._frame_times_s
        return (
            (len(times_s) - 1) / (times_s[-1] - times_s[0]) if len(times_s) > 1 and times_s[-1] > times_s[0] else None
        )

    def add(self, event: StreamEvent) -> None:
        """Count an event."""
        if isinstance(event, Predicted):
            self.predictions += 1
            self.dropped_frames = event.dropped_frames
            self.strides[event.stride] += 1
            self._latencies.append(event.latency)
        elif isinstance(event, Ended):
            self.actions[event.action] += 1
            lasted_s = event.stop_s - event.start_s
            self.seconds[event.action] = self.seconds.get(event.action, 0.0) + lasted_s

    def tables(self) -> List[Table]:
        """Return the summary for people."""
        return [self._counts(), *self._latency(), *self._actions()]

    def _counts(self) -> Table:
        table = Table(title="stream")
        columns = ("frames looked at", "dropped", "predictions", "strides")
        strides = ", ".join(f"{stride}: {count}x" for stride, count in sorted(self.strides.items())[:5])
        return _fill(
            table, columns, [(str(self.frames), str(self.dropped_frames), str(self.predictions), strides or "-")]
        )

    def _latency(self) -> List[Table]:
        if not self._latencies:
            return []
        rows = []
        for part in ("total", "decode", "preprocess", "inference", "smoothing", "waiting"):
            times_ms = [getattr(latency, part + "_ms") for latency in self._latencies]
            shown = percentiles(times_ms)
            cells = ["-" if value is None else f"{value:.2f}" for value in (shown.p50, shown.p90, shown.p99)]
            rows.append(("capture to result" if part == "total" else part, *cells, f"{max(times_ms):.2f}"))
        table = Table(title=f"latency of the last {len(self._latencies)} predictions, ms")
        return [_fill(table, ("", "p50", "p90", "p99", "max"), rows)]

    def _actions(self) -> List[Table]:
        if not self.actions:
            return []
        rows = [(action, str(count), f"{self.seconds[action]:.1f}") for action, count in self.actions.most_common()]
        return [_fill(Table(title="actions"), ("action", "times", "seconds"), rows)]


def _fill(table: Table, columns: Sequence[str], rows: Sequence[Tuple[str, ...]]) -> Table:
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 and not column.startswith("frames") else "right")
    for row in rows:
        table.add_row(*row)
    return table
