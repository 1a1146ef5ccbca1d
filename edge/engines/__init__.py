"""Programs that run a model file, behind one small interface, and how one is picked.

An engine knows arrays and one model file. Windows, frames and labels live above it, in
`edge.recognizer`. A new engine is a module here and a line in `ENGINES`.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Mapping, Optional, Protocol, Tuple

import numpy as np

from edge.errors import EdgeError, suggestion


class Engine(Protocol):
    """One loaded model."""

    name: str

    def __init__(self, model_path: Path, threads: Optional[int] = None) -> None:
        """Load a model.

        Args:
          model_path: the model file; it has one output.
          threads: number of threads of one run; None leaves it to the engine (all cores).

        Raises:
          EdgeError: if the engine refuses the file.
        """

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the output, (B, ...) float32, for inputs by name, (B, ...) float32.

        Raises:
          EdgeError: if the inputs do not fit the model.
        """


@dataclass(frozen=True)
class EngineEntry:
    """How an engine is found, and what is best run on it.

    Attributes:
      name: what a user types.
      package: the package it needs, as it is imported.
      install: the package as pip knows it.
      module: the module here that holds it.
      attribute: the class in that module.
      precisions: the precisions it can run, the one that "auto" prefers first.
    """

    name: str
    package: str
    install: str
    module: str
    attribute: str
    precisions: Tuple[str, ...]


# In the order in which "auto" tries them.
ENGINES = (
    EngineEntry(
        name="onnxruntime",
        package="onnxruntime",
        install="onnxruntime",
        module="edge.engines.onnxruntime",
        attribute="OnnxRuntimeEngine",
        # fp32 first: it has no fast int8 kernels for 3D convolutions, so int8 is smaller but not faster; nor has it
        # kernels for float16, which it computes in float32.
        precisions=("fp32", "int8", "fp16"),
    ),
)


def pick_engine(name: str) -> EngineEntry:
    """Return the entry of an engine by name; "auto" gives the first one whose package is installed.

    Raises:
      EdgeError: for an unknown name, or if the package is not installed.
    """
    known = {entry.name: entry for entry in ENGINES}
    if name == "auto":
        for entry in ENGINES:
            if _installed(entry):
                return entry
        raise EdgeError(
            f"no engine is installed; one of {', '.join(known)} is needed\n"
            f"  Install one: pip install {ENGINES[0].install}"
        )
    if name not in known:
        raise EdgeError(
            f"engine {name!r} was given; auto or one of {', '.join(known)} is expected"
            + suggestion(name, ["auto", *known])
        )
    if not _installed(known[name]):
        raise EdgeError(
            f"engine {name!r} needs the package {known[name].package}, which is not installed\n"
            f"  Install it: pip install {known[name].install}"
        )
    return known[name]


def _installed(entry: EngineEntry) -> bool:
    return importlib.util.find_spec(entry.package) is not None


def pick_precision(entry: EngineEntry, available: Iterable[str], name: str) -> str:
    """Return the precision to run; "auto" gives the engine's preferred one of those a bundle has.

    Args:
      entry: the engine.
      available: names of the precisions in the bundle.
      name: what the user asked for.

    Raises:
      EdgeError: if the bundle has no such precision or the engine cannot run it.
    """
    available = list(available)
    runnable = [precision for precision in entry.precisions if precision in available]
    if name == "auto" and runnable:
        return runnable[0]
    if name in runnable:
        return name
    expected = f"auto or one of {', '.join(runnable)} is expected" if runnable else "it has nothing else to run"
    if name in available or name == "auto":
        raise EdgeError(
            f"engine {entry.name!r} cannot run precision {name!r} of this bundle, which has "
            f"{', '.join(available)}; {expected}"
        )
    raise EdgeError(f"precision {name!r} was given; {expected}" + suggestion(name, ["auto", *runnable]))


def load_engine(entry: EngineEntry, model_path: Path, threads: Optional[int] = None) -> Engine:
    """Return a model loaded by an engine.

    Raises:
      EdgeError: if the engine's package cannot be imported or refuses the file.
    """
    if threads is not None and threads < 1:
        raise EdgeError(f"threads={threads} was given; at least 1 is expected")
    try:
        module = importlib.import_module(entry.module)
    except ImportError as error:
        raise EdgeError(
            f"engine {entry.name!r}: the package {entry.package} is there but cannot be imported: {error}\n"
            f"  Install it again: pip install --force-reinstall {entry.install}"
        ) from error
    engine_class = getattr(module, entry.attribute)
    engine: Engine = engine_class(model_path, threads)
    return engine
