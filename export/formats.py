"""The formats of a bundle. One table drives dispatch, validation, `--help` and docs/export.md.

`python -m export.formats` prints the table as it stands in the document.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from export.errors import ExportError
from export.estimators import AUTO
from hartx.errors import suggestion

OPSETS = range(13, 22)


@dataclass(frozen=True)
class Options:
    """What a user may ask of an export besides its formats.

    Attributes:
      opset: version of ONNX's operators, of `OPSETS`; 13 for TensorRT 8.2, 17 for 8.5 and up.
      batch: clips that the model takes at a time; None for any number.
      softmax: whether the fitted temperature and a softmax are in the model, whose output is then probabilities.
      calibration_clips: training clips on which the ranges of values are measured.
      calibrator: how an int8 range follows from a tensor's values, of `estimators.ESTIMATORS`, or `AUTO`.
      keep_float: patterns of `fnmatch`; the layers whose names they match stay in float.
      max_drop: points of top-1 that int8 may lose on a held-out training subject before layers return to float;
        None if it may lose any number.
    """

    opset: int = 17
    batch: int | None = None
    softmax: bool = False
    calibration_clips: int = 108
    calibrator: str = AUTO
    keep_float: tuple[str, ...] = ()
    max_drop: float | None = None

    def changed(self) -> list[str]:
        """Return the names of the options that are not at their default."""
        return [field.name for field in dataclasses.fields(self) if getattr(self, field.name) != field.default]


@dataclass(frozen=True)
class Tolerance:
    """How far the outputs of a format may be from the trained model's.

    Attributes:
      absolute: largest difference of any two outputs.
      relative: share of the largest output's magnitude that is allowed on top.
    """

    absolute: float
    relative: float

    def allowed(self, largest: float) -> float:
        """Return the difference that is allowed where the largest output has this magnitude."""
        return self.absolute + self.relative * largest


@dataclass(frozen=True)
class Format:
    """A row of the table.

    Attributes:
      name: what a user types.
      purpose: what it is for.
      file: its name in the bundle.
      beside: names of further files that belong to it.
      package: what making it needs beyond requirements.txt; None for nothing.
      requirements: the file that installs it.
      made_from: the format that it is made from or compared with, which must be exported too; None for the first one.
      precision: what `edge` calls it; None if no engine of `edge` runs it.
      options: the fields of `Options` that it honours.
      tolerance: how close to the trained model it must be on real clips to be written at all.
      maker: "module:function" that makes it of a `product.Job`.
    """

    name: str
    purpose: str
    file: str
    precision: str | None
    options: frozenset[str]
    tolerance: Tolerance
    maker: str
    package: str | None = None
    requirements: str = "requirements.txt"
    made_from: str | None = "onnx-fp32"
    beside: tuple[str, ...] = ()

    def load_maker(self) -> Callable[[Any], Any]:
        """Return the function that makes it: imported only now, so that reading the table costs nothing."""
        module, function = self.maker.split(":")
        return getattr(importlib.import_module(module), function)


# float32 has seven digits: where logits are several hundred, as those of a hardly trained network, two orders of
# summation differ by more than 1e-4.
_EXACT = Tolerance(absolute=1e-4, relative=1e-6)

# In the order in which they are made.
FORMATS = (
    Format(
        name="onnx-fp32",
        purpose="the reference; any engine; float32 throughout",
        file="model.fp32.onnx",
        precision="fp32",
        options=frozenset({"opset", "batch", "softmax"}),
        tolerance=_EXACT,
        maker="export.fp32:make_fp32",
        made_from=None,
    ),
    Format(
        name="onnx-fp16",
        purpose="half the size; for GPUs (TensorRT), and for devices with no INT8; float32 at the border",
        file="model.fp16.onnx",
        precision="fp16",
        options=frozenset({"opset", "batch", "softmax", "calibration_clips"}),
        tolerance=Tolerance(absolute=1e-3, relative=0.01),
        maker="export.fp16:make_fp16",
    ),
    Format(
        name="onnx-int8",
        purpose="a quarter of the size; Q/DQ for TensorRT and OpenVINO; without 3D convolutions, weights alone",
        file="model.int8.onnx",
        precision="int8",
        options=frozenset({"opset", "batch", "softmax", "calibration_clips", "calibrator", "keep_float", "max_drop"}),
        tolerance=Tolerance(absolute=0, relative=0.3),
        maker="export.int8:make_int8",
    ),
    Format(
        name="openvino-int8",
        purpose="the fastest on a CPU: int8 from the first layer on, for OpenVINO alone (an IR)",
        file="model.int8.xml",
        precision="int8-openvino",
        options=frozenset({"batch", "softmax", "calibration_clips", "calibrator", "keep_float", "max_drop"}),
        tolerance=Tolerance(absolute=0, relative=0.3),
        maker="export.openvino:make_openvino",
        package="openvino",
        requirements="edge/requirements-openvino.txt",
        made_from="onnx-int8",
        beside=("model.int8.bin",),
    ),
    Format(
        name="stablehlo",
        purpose="JAX without this code, on CPU, CUDA and TPU: jax.export.deserialize",
        file="model.stablehlo",
        precision=None,
        options=frozenset({"batch", "softmax"}),
        tolerance=_EXACT,
        maker="export.stablehlo:make_stablehlo",
    ),
)

BY_NAME = {row.name: row for row in FORMATS}
BASE = FORMATS[0].name

# onnx-int8 only where layers compute in it.
DEFAULT = ("onnx-fp32", "onnx-int8")


def by_precision(precision: str) -> Format:
    """Return the row that `edge` knows by a precision."""
    return next(row for row in FORMATS if row.precision == precision)


def parse(text: str) -> tuple[Format, ...]:
    """Return the rows that a comma-separated list names, each once, in the order of the table.

    Raises:
      ExportError: for an unknown name, or without the format that another one is made from.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in BY_NAME:
            known = ", ".join(BY_NAME)
            raise ExportError(f"format {name!r} was given; any of {known} is expected" + suggestion(name, BY_NAME))
    chosen = tuple(row for row in FORMATS if row.name in names)
    for row in chosen:
        if row.made_from is not None and row.made_from not in names:
            raise ExportError(
                f"{row.made_from} must be among the formats: {row.name} is made from it or compared with it"
            )
    return chosen


def check_options(formats: Sequence[Format], options: Options) -> None:
    """Check that each option that was changed is honoured by a format that was chosen.

    Raises:
      ExportError: with the formats that do honour it.
    """
    for name in options.changed():
        if not any(name in row.options for row in formats):
            chosen, honour = _names(formats), _names(row for row in FORMATS if name in row.options)
            raise ExportError(f"--{name} was given, which {chosen} cannot honour; {honour} can")


def check_packages(formats: Sequence[Format]) -> None:
    """Check that what the chosen formats are made with is installed.

    Raises:
      ExportError: with what to install.
    """
    for row in formats:
        if row.package is not None and importlib.util.find_spec(row.package) is None:
            raise ExportError(
                f"{row.name} needs the package {row.package}, which is not installed\n"
                f"  pip install -r {row.requirements}, or export without it"
            )


def _names(formats: Iterable[Format]) -> str:
    return ", ".join(row.name for row in formats)


def as_text() -> str:
    """Return the table for a terminal."""
    width = max(map(len, BY_NAME))
    lines = []
    for row in FORMATS:
        honours = " ".join(f"--{name}" for name in sorted(row.options))
        lines += [f"  {row.name:{width}}  {row.purpose}", f"  {'':{width}}  {row.file}; {honours}"]
    return "\n".join(lines)


def as_markdown() -> str:
    """Return the table for a document."""
    lines = ["| format | what for | file | options | within |", "|---|---|---|---|---|"]
    for row in FORMATS:
        honours = " ".join(f"`--{name}`" for name in sorted(row.options))
        bounds = [f"{row.tolerance.absolute:g}"] if row.tolerance.absolute else []
        bounds += [f"{row.tolerance.relative * 100:g}% of the largest output"] if row.tolerance.relative else []
        lines.append(f"| `{row.name}` | {row.purpose} | `{row.file}` | {honours} | {' + '.join(bounds)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(as_markdown())
