"""What an export hands over: one folder, described by its `bundle.json`.

The whole folder is checked when it is read (format version, fields, size and sha256 of every file), so
nothing of a damaged or foreign bundle ever reaches an engine.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple, Union

from edge.errors import EdgeError
from edge.preprocess import VIDEO_MODALITIES, spec_from_dict

# 2: the output may be probabilities (`output.is`), and the batch a fixed number.
FORMAT_VERSION = 2
BUNDLE_FILE = "bundle.json"
OUTPUTS = ("logits", "probabilities")
# Points of top-1 that a smaller precision may lose against fp32 and still be picked, unless bundle.json says otherwise.
DEFAULT_MAX_DROP_POINTS = 0.5
MAX_DROP_FIELD = "max_drop_points"

_NUMBER = (int, float)
_OPTIONAL_NUMBER = (int, float, type(None))


@dataclass(frozen=True)
class BundleInput:
    """One input of the network.

    Attributes:
      name: its name in the model file.
      modality: "rgb", "depth", "skeleton" or "inertial".
      spec: the modality's preprocessing, one of `edge.preprocess.SPECS`.
    """

    name: str
    modality: str
    spec: Any

    @property
    def layout(self) -> str:
        """Order of the axes the network wants: NCDHW for video, NTC for skeletons and inertial samples."""
        return "NCDHW" if self.modality in VIDEO_MODALITIES else "NTC"

    @property
    def shape(self) -> Tuple[int, ...]:
        """Shape the network wants, without the batch axis."""
        if self.layout == "NTC":
            return self.spec.shape
        frames, height, width, channels = self.spec.shape
        return (channels, frames, height, width)


@dataclass(frozen=True)
class Precision:
    """One model of the bundle.

    Attributes:
      name: "fp32", "int8", ...
      path: its file; an OpenVINO graph (.xml) has its weights in the .bin of the same name.
      size_bytes: size of its files.
      top1: accuracy as a fraction that the exporter measured; None if there was nothing to measure on.
      clips: number of clips behind `top1`.
      split: the split these came from.
    """

    name: str
    path: Path
    size_bytes: int
    top1: Optional[float]
    clips: Optional[int]
    split: Optional[str]


@dataclass(frozen=True)
class Window:
    """What one prediction sees of a stream: `frames` instants over `duration_s`, anew every `stride`."""

    frames: int
    stride: int
    duration_s: float


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files have been found to be what the exporter wrote.

    Attributes:
      batch: clips that the network takes at a time; None for any number.
      output: "logits", or "probabilities" if temperature and softmax are in the network.
      temperature: what logits are divided by before the softmax, in the network or behind it.
      max_drop_points: points of top-1 that a precision may lose against fp32 and still be picked by itself.
    """

    path: Path
    model: str
    created: str
    inputs: Tuple[BundleInput, ...]
    batch: Optional[int]
    output: str
    window: Window
    temperature: float
    labels: Tuple[str, ...]
    precisions: Mapping[str, Precision]
    versions: Mapping[str, str]
    max_drop_points: float

    @property
    def specs(self) -> Dict[str, Any]:
        """Modality to preprocessing specification, in the order of the inputs."""
        return {entry.modality: entry.spec for entry in self.inputs}

    @property
    def reads(self) -> str:
        """The modalities for people: "depth and skeleton"."""
        return " and ".join(self.specs)

    @property
    def video_modality(self) -> Optional[str]:
        """The modality of the frames, "rgb" or "depth"; None if the network reads no video."""
        return next((entry.modality for entry in self.inputs if entry.layout == "NCDHW"), None)


def read_bundle(path: Union[str, Path]) -> Bundle:
    """Return a bundle after checking all of it.

    Args:
      path: the bundle's folder.

    Raises:
      EdgeError: if it is no bundle, of another format version, incomplete, or a file of it was changed.
    """
    folder = Path(path)
    where = folder / BUNDLE_FILE
    values = _read_json(where)
    version = _field(values, "format_version", int, where)
    if version != FORMAT_VERSION:
        raise EdgeError(
            f"{folder} is a bundle of format version {version}; this program reads version {FORMAT_VERSION}\n"
            f"  Take the program that belongs to it. {_export_again(folder)}"
        )
    bundle = _parse(values, folder, where)
    for name, entry in _field(values, "files", dict, where).items():
        _check_file(folder, name, _as_dict(entry, f"files.{name}", where), where)
    return bundle


def _export_again(folder: Path) -> str:
    return f"Export again: python -m export --workdir=RUN --bundle={folder}"


def _read_json(where: Path) -> Dict[str, Any]:
    if not where.is_file():
        raise EdgeError(
            f"{where.parent} is not a bundle: there is no {BUNDLE_FILE} in it\n"
            f"  Expected a folder written by: python -m export --workdir=RUN --bundle={where.parent}"
        )
    try:
        values = json.loads(where.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EdgeError(f"{where} cannot be read as JSON: {error}\n  {_export_again(where.parent)}") from None
    return _as_dict(values, "the whole file", where)


def _as_dict(value: Any, name: str, where: Path) -> Dict[str, Any]:
    if not isinstance(value, dict):
        raise EdgeError(f"{where}: {name} is {value!r}; an object is expected\n  {_export_again(where.parent)}")
    return value


def _field(values: Mapping[str, Any], name: str, kind: Any, where: Path, inside: str = "") -> Any:
    """Return a field that must be there and of a kind (a type or several)."""
    if name not in values:
        raise EdgeError(f"{where} has no field {inside + name!r}\n  {_export_again(where.parent)}")
    value = values[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        kinds = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise EdgeError(
            f"{where}: field {inside + name!r} is {value!r}; {kinds} is expected\n  {_export_again(where.parent)}"
        )
    return value


def _parse(values: Mapping[str, Any], folder: Path, where: Path) -> Bundle:
    def take(name: str, kind: Any) -> Any:
        return _field(values, name, kind, where)

    labels = tuple(take("labels", list))
    output = take("output", dict)
    shape = _field(output, "shape", list, where, "output.")
    kind = _field(output, "is", str, where, "output.")
    batch: Any = shape[0] if shape else "batch"
    temperature = float(take("temperature", _NUMBER))
    files = take("files", dict)
    bundle = Bundle(
        path=folder,
        model=take("model", str),
        created=take("created", str),
        inputs=tuple(_parse_input(entry, i, batch, where) for i, entry in enumerate(take("inputs", list))),
        batch=None if batch == "batch" else batch,
        output=kind,
        window=_parse_window(take("window", dict), where),
        temperature=temperature,
        labels=labels,
        precisions={
            name: _parse_precision(name, _as_dict(entry, f"precisions.{name}", where), files, where)
            for name, entry in take("precisions", dict).items()
        },
        versions=take("versions", dict),
        max_drop_points=_parse_max_drop(values, where),
    )
    wrong = None
    if not labels or not all(isinstance(label, str) for label in labels):
        wrong = "labels must be a list of names"
    elif len(set(labels)) < len(labels):
        wrong = f"the labels name {next(label for label in labels if labels.count(label) > 1)!r} more than once"
    elif not shape or shape[-1] != len(labels):
        wrong = f"there are {len(labels)} labels for an output of shape {shape}"
    elif kind not in OUTPUTS:
        wrong = f"output.is is {kind!r}; one of {', '.join(OUTPUTS)} is expected"
    elif bundle.batch is not None and not (type(bundle.batch) is int and bundle.batch > 0):
        wrong = f"the batch of the output is {batch!r}; 'batch' or a number from 1 is expected"
    elif min(bundle.window.frames, bundle.window.stride) < 1 or not bundle.window.duration_s > 0:
        wrong = f"the window is {bundle.window}; numbers above 0 are expected"
    elif not temperature > 0:
        wrong = f"temperature is {temperature}; more than 0 is expected"
    elif not bundle.inputs or not bundle.precisions:
        wrong = "there are no inputs or no precisions"
    elif sum(entry.layout == "NCDHW" for entry in bundle.inputs) > 1 or len(bundle.specs) < len(bundle.inputs):
        wrong = "at most one video, one skeleton and one inertial input are expected"
    if wrong:
        raise EdgeError(f"{where}: {wrong}\n  {_export_again(folder)}")
    return bundle


def _parse_input(entry: Any, index: int, batch: Any, where: Path) -> BundleInput:
    inside = f"inputs[{index}]."
    entry = _as_dict(entry, inside[:-1], where)
    modality = _field(entry, "modality", str, where, inside)
    try:
        spec = spec_from_dict(modality, _field(entry, "preprocess", dict, where, inside))
    except ValueError as error:
        raise EdgeError(f"{where}: {inside}preprocess: {error}\n  {_export_again(where.parent)}") from None
    parsed = BundleInput(_field(entry, "name", str, where, inside), modality, spec)
    expected = {"layout": parsed.layout, "dtype": "float32", "shape": [batch, *parsed.shape]}
    for name, value in expected.items():
        given = _field(entry, name, type(value), where, inside)
        if given != value:
            raise EdgeError(
                f"{where}: field {inside + name!r} is {given!r}; its preprocessing makes {value!r}\n"
                f"  {_export_again(where.parent)}"
            )
    return parsed


def _parse_max_drop(values: Mapping[str, Any], where: Path) -> float:
    value = values.get(MAX_DROP_FIELD, DEFAULT_MAX_DROP_POINTS)
    if isinstance(value, bool) or not isinstance(value, _NUMBER) or not 0 <= value <= 100:
        raise EdgeError(f"{where}: field {MAX_DROP_FIELD!r} is {value!r}; points from 0 to 100 are expected")
    return float(value)


def _parse_window(entry: Mapping[str, Any], where: Path) -> Window:
    kinds = {"frames": int, "stride": int, "duration_s": _NUMBER}
    return Window(**{name: _field(entry, name, kind, where, "window.") for name, kind in kinds.items()})


def _parse_precision(name: str, entry: Mapping[str, Any], files: Mapping[str, Any], where: Path) -> Precision:
    inside = f"precisions.{name}."
    file = _field(entry, "file", str, where, inside)
    if file not in files:
        raise EdgeError(
            f"{where}: {inside}file is {file!r}, which 'files' does not list\n  {_export_again(where.parent)}"
        )
    return Precision(
        name=name,
        path=where.parent / file,
        size_bytes=_field(entry, "size_bytes", int, where, inside),
        top1=_field(entry, "top1", _OPTIONAL_NUMBER, where, inside),
        clips=_field(entry, "clips", (int, type(None)), where, inside),
        split=_field(entry, "split", (str, type(None)), where, inside),
    )


def _check_file(folder: Path, name: str, entry: Mapping[str, Any], where: Path) -> None:
    """Raise unless a file of the bundle is there and has the size and sha256 the exporter wrote down."""
    if Path(name).name != name:  # a bundle from elsewhere must not make us open files outside its folder
        raise EdgeError(f"{where}: 'files' lists {name!r}; a plain file name is expected")
    size_bytes = _field(entry, "size_bytes", int, where, f"files.{name}.")
    expected = _field(entry, "sha256", str, where, f"files.{name}.")
    path = folder / name
    if not path.is_file():
        raise EdgeError(f"{path} is missing from its bundle\n  Copy the whole folder. {_export_again(folder)}")
    problem = None
    if path.stat().st_size != size_bytes:
        problem = f"expected {size_bytes} bytes, found {path.stat().st_size}"
    else:
        try:
            found = sha256_of(path)
        except OSError as error:
            raise EdgeError(
                f"{path} cannot be read: {error.strerror}\n  Give this user permission to read it"
            ) from None
        if found != expected:
            problem = f"expected sha256 {expected}, found {found}"
    if problem:
        raise EdgeError(
            f"{path} does not match its bundle\n"
            f"  {problem}\n"
            f"  The file was changed after export. {_export_again(folder)}"
        )


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
