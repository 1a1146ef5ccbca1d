"""Opset and inputs of an ONNX file, read without the onnx package, which devices seldom have.

Only the few fields that are needed are decoded; the rest, weights above all, is stepped over. Field numbers are those
of onnx.proto (ModelProto, GraphProto, ValueInfoProto, TensorShapeProto), the encoding is that of Protocol Buffers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Optional, Tuple

from edge.errors import EdgeError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class OnnxInput:
    """An input of a model; a dimension is None where it is dynamic."""

    name: str
    shape: Tuple[Optional[int], ...]


@dataclass(frozen=True)
class OnnxHeader:
    """What a model file says of itself."""

    opset: int
    inputs: Tuple[OnnxInput, ...]


@dataclass(frozen=True)
class _Field:
    """A field of a message: a number, or bytes that may be a message themselves."""

    number: int
    value: int
    content: memoryview


def read_header(path: Path) -> OnnxHeader:
    """Return opset and inputs of an ONNX file.

    Raises:
      EdgeError: if it is no ONNX file or ends early.
    """
    try:
        return _header(memoryview(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise EdgeError(
            f"{path} cannot be read as an ONNX model: {error}\n  Copy the bundle again, or export it again"
        ) from None


def _header(model: memoryview) -> OnnxHeader:
    opset, graph = None, None
    for field in _fields(model):
        if field.number == 7:  # ModelProto.graph
            graph = field.content
        elif field.number == 8:  # ModelProto.opset_import: domain 1, version 2
            domain = b"".join(bytes(part.content) for part in _fields(field.content) if part.number == 1)
            if domain in (b"", b"ai.onnx"):
                opset = next((part.value for part in _fields(field.content) if part.number == 2), None)
    if opset is None or graph is None:
        raise ValueError("it names no opset or holds no graph")
    fields = list(_fields(graph))
    constants = {_name(field.content, 8) for field in fields if field.number == 5}  # GraphProto.initializer
    inputs = (_input(field.content) for field in fields if field.number == 11)  # GraphProto.input
    return OnnxHeader(opset, tuple(entry for entry in inputs if entry.name not in constants))


def _input(value_info: memoryview) -> OnnxInput:
    # ValueInfoProto.type 2, TypeProto.tensor_type 1, Tensor.shape 2, TensorShapeProto.dim 1
    dims = [value_info]
    for number in (2, 1, 2, 1):
        dims = [field.content for message in dims for field in _fields(message) if field.number == number]
    shape = tuple(next((field.value for field in _fields(dim) if field.number == 1), None) for dim in dims)
    return OnnxInput(_name(value_info, 1), shape)


def _name(message: memoryview, number: int) -> str:
    return next((str(bytes(field.content), "utf-8") for field in _fields(message) if field.number == number), "")


def _fields(message: memoryview) -> Iterator[_Field]:
    """Yield the fields of a message.

    Raises:
      ValueError: if it is not one, or ends early.
    """
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        kind, number = key & 7, key >> 3
        value, size = 0, 0
        if kind == _VARINT:
            value, position = _varint(message, position)
        elif kind == _BYTES:
            size, position = _varint(message, position)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"there is no field of kind {kind}; the file is damaged or no ONNX model")
        if position + size > len(message):
            raise ValueError(f"a field of {size} bytes begins at {position} of {len(message)}; the file ends early")
        yield _Field(number, value, message[position : position + size])
        position += size


def _varint(message: memoryview, position: int) -> Tuple[int, int]:
    """Return a number of seven bits a byte, the lowest first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise ValueError("it ends within a number; the file ends early")
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
    raise ValueError("there is a number of more than 64 bits; the file is damaged or no ONNX model")
