"""Every check of a bundle: hashes, structure, placement rules, metadata, and how close it is to the trained model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from edge.errors import EdgeError
from export import int8_checks
from export.bundle import CALIBRATION_FILE, SENSITIVITY_FILE, identify
from export.checks import Check, accuracy, attempt, check_format, compute, unchanged
from export.clips import Clips
from export.contents import Contents, read
from export.errors import ExportError
from export.exporter import parity_clips, trained, window_s
from export.formats import Format
from export.parity import Compute, compare
from hartx.calibration import read_temperature
from hartx.run import Run


def verify(bundle: Path, run: Run | None, clips: Clips | None) -> Iterator[Check]:
    """Yield every check of a bundle; the first one alone if the device would refuse it.

    Args:
      bundle: its folder.
      run: the run it should have been made from; None to check the files alone.
      clips: the run's recordings.
    """
    try:
        contents = read(bundle)
    except (EdgeError, ExportError) as error:
        yield Check("bundle.json", "fields, sizes, hashes", False, str(error))
        return
    listed = len(contents.raw["files"])
    yield Check("bundle.json", "fields, sizes, hashes", True, f"{listed} files are as they were written")
    yield attempt("bundle.json", "as it was written", lambda: unchanged(contents))
    yield attempt("bundle.json", "accuracy as it was measured", lambda: accuracy(contents))
    for row in contents.rows:
        yield from check_format(contents, row)
    if contents.path(SENSITIVITY_FILE).exists():
        yield attempt(SENSITIVITY_FILE, "of these models", lambda: int8_checks.sensitivity(contents))
    if run is not None and clips is not None:
        yield from _against_run(contents, run, clips)


def _against_run(contents: Contents, run: Run, clips: Clips) -> Iterator[Check]:
    """Yield the checks that need the trained model; the first one alone if it is another run's bundle."""
    from_run = attempt("bundle.json", "made from the run", lambda: same_run(contents, run))
    yield from_run
    if not from_run.passed:
        return
    yield attempt("bundle.json", "temperature and window", lambda: _of_run(contents, run, clips))
    if any(row.precision == "int8" for row in contents.rows) and int8_checks.has_layers(contents):
        yield attempt(CALIBRATION_FILE, "training recordings only", lambda: _calibration_clips(contents, clips))
    reference, chosen = trained(run, contents.inputs, contents.head), parity_clips(clips)
    for row in contents.rows:
        yield attempt(row.file, "parity with the trained model", partial(_parity, contents, row, reference, chosen))


def _parity(contents: Contents, row: Format, reference: Compute, chosen: Sequence[Mapping[str, np.ndarray]]) -> str:
    found = compare(compute(contents, row), reference, contents.inputs, chosen, row.tolerance)
    if not found.holds:
        raise ExportError(str(found))
    return str(found)


def same_run(contents: Contents, run: Run) -> str:
    """Return the step of the run that a bundle was made from.

    Raises:
      ExportError: if it was made from another one.
    """
    found, expected = contents.raw.get("run"), identify(run)
    if found != expected:
        raise ExportError(f"the bundle was made from {found}; the run in {run.workdir} is {expected}")
    if contents.bundle.labels != run.labels or list(contents.bundle.specs.values()) != list(run.specs.values()):
        raise ExportError("labels or preprocessing of the bundle are not those of the run")
    return f"step {run.step}; labels and preprocessing agree"


def _of_run(contents: Contents, run: Run, clips: Clips) -> str:
    temperature, fitted = contents.bundle.temperature, read_temperature(run.workdir)
    if temperature != fitted:
        raise ExportError(f"temperature is {temperature:g}; that of the run is {fitted:g}\n  Export again")
    duration_s, spanned_s = contents.raw["window"]["duration_s"], window_s(clips)
    if duration_s != spanned_s:
        raise ExportError(f"window.duration_s is {duration_s}; the run's clips span {spanned_s} s")
    return f"temperature {temperature:g}; {duration_s} s"


def _calibration_clips(contents: Contents, clips: Clips) -> str:
    names = contents.read_json(CALIBRATION_FILE).get("clips", [])
    strange = sorted(set(names) - {entry.name for entry in clips.entries("train")})
    if strange or not names:
        raise ExportError(f"not among the run's training recordings: {', '.join(strange) or 'no clips are named'}")
    return f"{len(names)} clips"
