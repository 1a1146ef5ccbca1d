"""Which engine and which precision run a bundle.

A name that the user gives is taken or refused. "auto" goes through `ENGINES` from the top and takes the first one that
works here and may be picked with a precision that the bundle has. A precision that loses more than the bundle's
`max_drop_points` of top-1 against fp32 is not picked by itself, nor is int8 that nobody measured, nor what an engine
computes wrong on this processor.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from edge.bundle import Bundle
from edge.engines import ENGINES, EngineEntry, what_device_lacks
from edge.errors import EdgeError, suggestion

_AUTO = "auto"
_log = logging.getLogger("edge")


@dataclass(frozen=True)
class Choice:
    """What runs a bundle.

    Attributes:
      entry: the engine.
      precision: the precision.
      model_path: the file that the engine loads.
      why: one line for people.
    """

    entry: EngineEntry
    precision: str
    model_path: Path
    why: str


def choose(bundle: Bundle, engine: str = _AUTO, precision: str = _AUTO) -> Choice:
    """Return the engine and precision to run a bundle with, and say so in the log "edge".

    Args:
      bundle: the bundle.
      engine: one of `ENGINES` by name, or "auto".
      precision: one that the bundle has, or "auto".

    Raises:
      EdgeError: for an unknown name; if the engine is not installed or does not work here, saying what to install;
        if the bundle has no such precision or the engine cannot run it.
    """
    choice = _first_that_fits(bundle, precision) if engine == _AUTO else _named(bundle, engine, precision)
    _log.info("%s", choice.why)
    return choice


def find_engine(name: str) -> EngineEntry:
    """Return an engine by name.

    Raises:
      EdgeError: for an unknown name.
    """
    known = {entry.name: entry for entry in ENGINES}
    if name not in known:
        raise EdgeError(
            f"engine {name!r} was given; auto or one of {', '.join(known)} is expected"
            + suggestion(name, [_AUTO, *known])
        )
    return known[name]


def what_lacks(entry: EngineEntry, folder: Path) -> Optional[str]:
    """Return what an engine lacks to run a bundle here; None if it lacks nothing.

    Args:
      entry: the engine.
      folder: the bundle's folder.
    """
    reason = what_device_lacks(entry)
    if reason is None:
        try:
            reason = entry.engine_class.lacks(folder)
        except EdgeError as error:
            reason = str(error)
    return reason


def _named(bundle: Bundle, engine: str, precision: str) -> Choice:
    entry = find_engine(engine)
    reason = what_lacks(entry, bundle.path)
    if reason is not None:
        title, *rest = reason.splitlines()
        todo = rest or [f"  To get it: {entry.install}"]
        raise EdgeError("\n".join([f"engine {engine!r} was asked for; {title}", *todo]))
    runnable = runnable_precisions(entry, bundle)
    if precision != _AUTO:
        _check_precision(entry, bundle, runnable, precision)
        return _make(entry, bundle, precision, "both were asked for")
    passed = {**_passed_over(entry, bundle, runnable), **_doubted(entry, runnable)}
    fit = [name for name in runnable if name not in passed]
    if not fit:
        raise EdgeError(
            f"engine {engine!r} runs {', '.join(runnable) or 'nothing'} of this bundle, which has "
            f"{', '.join(bundle.precisions)}; none of it is picked automatically{_reasons(list(passed.values()))}\n"
            f"  Name a precision, or export one that it runs: {', '.join(entry.precisions)}"
        )
    reasons = [passed[name] for name in runnable[: runnable.index(fit[0])]]
    return _make(entry, bundle, fit[0], f"the engine was asked for, which runs this best{_reasons(reasons)}")


def _first_that_fits(bundle: Bundle, precision: str) -> Choice:
    if precision != _AUTO and not any(precision in runnable_precisions(entry, bundle) for entry in ENGINES):
        raise EdgeError(
            f"precision {precision!r} was given; auto or one of {', '.join(bundle.precisions)} is expected"
            + suggestion(precision, [_AUTO, *bundle.precisions])
        )
    reasons: List[str] = []
    for entry in ENGINES:
        if not entry.by_itself:
            continue
        reason = what_lacks(entry, bundle.path)
        if reason is not None:
            reasons.append(f"{entry.name}: {reason.splitlines()[0]}")
            continue
        candidates = [name for name in entry.by_itself if name in runnable_precisions(entry, bundle)]
        passed = _doubted(entry, candidates)
        if precision == _AUTO:
            passed = {**_passed_over(entry, bundle, candidates), **passed}
        fit = [name for name in candidates if name not in passed and precision in (_AUTO, name)]
        if fit:
            return _make(entry, bundle, fit[0], f"the first that fits{_reasons(reasons + list(passed.values()))}")
        reasons += [f"{entry.name}: {why}" for why in list(passed.values()) or ["nothing of this bundle is for it"]]
    raise EdgeError(
        f"no engine that works here runs this bundle{_reasons(reasons)}\n"
        f"  Install one: pip install onnxruntime; python -m edge.doctor says what there is for this device\n"
        f"  Or name the engine to take it all the same: --engine=NAME"
    )


def _make(entry: EngineEntry, bundle: Bundle, precision: str, why: str) -> Choice:
    doubt = entry.engine_class.doubts(precision)
    if doubt:
        _log.warning("engine %s, precision %s: %s", entry.name, precision, doubt)
    path = bundle.path / entry.model_file if entry.model_file else bundle.precisions[precision].path
    return Choice(entry, precision, path, f"engine {entry.name}, precision {precision}: {why}")


def _reasons(reasons: Sequence[str]) -> str:
    return f" ({'; '.join(reasons)})" if reasons else ""


def runnable_precisions(entry: EngineEntry, bundle: Bundle) -> List[str]:
    """Return the precisions of a bundle that an engine can run, the preferred one first; none if it has none for it.

    An engine's own file without a record that can be read counts as none: `what_lacks` says so.
    """
    if entry.model_file is None:
        return [name for name in entry.precisions if name in bundle.precisions]
    if not (bundle.path / entry.model_file).is_file():
        return []
    from edge.engines.engine_record import read_unchecked

    try:
        precision = read_unchecked(bundle.path).get("precision")
    except EdgeError:
        return []
    return [name for name in entry.precisions if name == precision]


def _passed_over(entry: EngineEntry, bundle: Bundle, names: Sequence[str]) -> Dict[str, str]:
    """Return those precisions that are not taken by themselves, and why.

    The same rule as that of `export.tensorrt`, which has applied it already to the engine that it built: rounding to
    half precision seldom moves a class, so float models need no measurement, int8 ones do.
    """
    if entry.model_file is not None or len(bundle.precisions) == 1:
        return {}
    exact = bundle.precisions["fp32"].top1 if "fp32" in bundle.precisions else None
    passed = {}
    for name in names:
        top1 = bundle.precisions[name].top1
        if exact is None or top1 is None:
            if name.startswith("int8"):
                passed[name] = "what int8 loses was not measured"
        elif (exact - top1) * 100 > bundle.max_drop_points + 1e-6:
            passed[name] = f"{name} loses {(exact - top1) * 100:.2f} points of top-1"
    return passed


def _doubted(entry: EngineEntry, names: Sequence[str]) -> Dict[str, str]:
    """Return those precisions that an engine may compute wrong on this device, and why."""
    doubts = {name: entry.engine_class.doubts(name) for name in names}
    return {name: doubt for name, doubt in doubts.items() if doubt}


def _check_precision(entry: EngineEntry, bundle: Bundle, runnable: Sequence[str], name: str) -> None:
    """Raise unless an engine can run a precision of a bundle."""
    if name in runnable:
        return
    expected = f"auto or one of {', '.join(runnable)} is expected" if runnable else "it has nothing else to run"
    if name in bundle.precisions:
        raise EdgeError(
            f"engine {entry.name!r} cannot run precision {name!r} of this bundle, which has "
            f"{', '.join(bundle.precisions)}; {expected}"
        )
    raise EdgeError(f"precision {name!r} was given; {expected}" + suggestion(name, [_AUTO, *runnable]))
