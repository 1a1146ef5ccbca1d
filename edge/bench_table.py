"""The result of `edge.bench` for people to read; what was not measured is a dash."""

from __future__ import annotations

from typing import Any, List, Mapping, Optional, Sequence, Tuple

_MIB = 1 << 20
_HEADINGS = (
    "engine",
    "precision",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "adds %",
    "clip p50",
    "clip p99",
    "fps",
    "x",
    "load ms",
    "cold ms",
    "peak MiB",
    "file MiB",
)
_PARTS = ("preprocess", "inference", "smoothing", "waiting")
_STREAM_HEADINGS = ("engine", "precision", "p50", "p90", "p99", *_PARTS, "windows", "dropped", "stride", "grown MiB")
_POWER_HEADINGS = ("W", "GPU %")


def as_text(result: Mapping[str, Any]) -> str:
    """Return a result as lines of text."""
    given, rows, first = result["input"], result["rows"], result["rows"][0]
    preprocess = result["preprocess_ms"]
    threads, cpus = result["threads"] or "auto", result["cpus"] or "any"
    return "\n".join(
        [
            f"{result['bundle']}: {result['model']}, threads {threads}, cpus {cpus}",
            f"{result['iterations']} iterations after {result['warmup']} to warm up",
            f"input {given['source']}, frames {given['frames']}, skeleton {given['skeleton']}, "
            f"inertial {given['inertial']}",
            "preprocessing a clip: "
            + ", ".join(f"{name} {_cell(preprocess[name], digits=2)} ms" for name in ("p50", "p90", "p99")),
            "",
            *_columns(_table(result)),
            "",
            *_stream_lines(rows),
            "p50 to p99: the engine alone;  adds: by the recogniser, in percent of that, preprocessing left out",
            f"clip: a whole prediction;  fps: frames/s of it, {first['frames_per_clip']} a clip",
            f"x: times as fast as {first['engine']} {first['precision']}, medians of the engine alone",
            "load: import edge and load the bundle;  cold: from the start of the process to the first result",
            _power_line(result),
            "-: not measured",
            *(_not_run(entry) for entry in result["not_run"]),
            *(f"{row['engine']} {row['precision']}: {row['doubt']}" for row in rows if row["doubt"]),
        ]
    )


def _stream_lines(rows: Sequence[Mapping[str, Any]]) -> List[str]:
    """Return a second table of the streams, if there were any."""
    if rows[0]["stream"] is None:
        return []
    cells: List[Tuple[str, ...]] = [_STREAM_HEADINGS]
    for row in rows:
        stream = row["stream"]
        cells.append(
            (
                row["engine"],
                row["precision"],
                *(_cell(stream["latency_ms"][name], digits=2) for name in ("p50", "p90", "p99")),
                *(_cell(stream["parts_ms"][part + "_ms"], digits=2) for part in _PARTS),
                str(stream["predictions"]),
                str(stream["dropped_frames"]),
                str(stream["widest_stride"]),
                _cell(stream["memory_growth_bytes"], _MIB, digits=2),
            )
        )
    first = rows[0]["stream"]
    title = (
        f"stream of {first['seconds']:g} s at {first['camera_rate_hz']:g} frames/s, stride {first['stride']}: "
        "ms from the capture of a window's newest frame to the result, and the medians of its parts"
    )
    return [title, "", *_columns(cells), ""]


def _power_line(result: Mapping[str, Any]) -> str:
    power = result["power"]
    if power is None:
        return "power and GPU load: not measured, there is no tegrastats and no jetson-stats here"
    idle = power["idle"]
    return f"W and GPU %: by {power['source']}, the engine alone; idle {_cell(idle and idle['total_mw'], 1000)} W"


def _not_run(entry: Mapping[str, str]) -> str:
    return f"not run: {' '.join(entry[key] for key in ('engine', 'precision') if key in entry)}: {entry['why']}"


def _table(result: Mapping[str, Any]) -> List[Tuple[str, ...]]:
    with_power = result["power"] is not None
    rows = [_HEADINGS + (_POWER_HEADINGS if with_power else ())]
    for row in result["rows"]:
        rows.append(_cells(row) + (_power_cells(row["power"]) if with_power else ()))
    return rows


def _cells(row: Mapping[str, Any]) -> Tuple[str, ...]:
    engine_ms, total_ms = row["engine_ms"], row["total_ms"]
    return (
        row["engine"],
        row["precision"],
        *(_cell(engine_ms[name], digits=2) for name in ("p50", "p90", "p99")),
        _cell(row["overhead_percent"]),
        *(_cell(total_ms[name], digits=2) for name in ("p50", "p99")),
        _cell(row["fps"]),
        _cell(row["times_as_fast"], digits=2),
        _cell(row["load_ms"], digits=0),
        _cell(row["cold_start_ms"], digits=0),
        _cell(row["peak_memory_bytes"], _MIB, digits=0),
        _cell(row["size_bytes"], _MIB),
    )


def _power_cells(power: Optional[Mapping[str, Any]]) -> Tuple[str, str]:
    values: Mapping[str, Any] = power or {}
    return _cell(values.get("total_mw"), 1000), _cell(values.get("gpu_percent"), digits=0)


def _cell(value: Optional[float], unit: float = 1, digits: int = 1) -> str:
    return "-" if value is None else f"{value / unit:.{digits}f}"


def _columns(rows: Sequence[Sequence[str]]) -> List[str]:
    """Return rows of cells as lines: names to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        names = [cell.ljust(width) for cell, width in zip(row[:2], widths)]
        lines.append("  ".join(names + [cell.rjust(width) for cell, width in zip(row[2:], widths[2:])]))
    return lines
