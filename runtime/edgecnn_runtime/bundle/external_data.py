"""Find out, without onnx, whether an ONNX file stores weights in other files.

External tensor data names a path that an engine would open. A bundle's artifacts contain their own
weights, so such a file is refused before an engine opens it. The search follows only the messages
that can contain a tensor (onnx.proto3) and skips everything else by its length.
"""

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from edgecnn_runtime.errors import BundleError

Buffer: TypeAlias = bytes | mmap.mmap

SUBMESSAGE_FIELDS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "function": {7: "node", 11: "attribute"},
    "training": {1: "graph", 2: "graph"},
}
"""Message → its fields that may lead to a tensor, with the type of each."""

EXTERNAL_DATA, DATA_LOCATION = 13, 14
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
MAX_DEPTH = 64
"""The deepest nesting of a graph that is accepted."""


def refuse_external_data(path: Path) -> None:
    """Check that an ONNX file contains all its tensors.

    Raises:
        BundleError: It does not, or it cannot be read as ONNX.
    """
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            external = has_external_data(data)
    except (ValueError, IndexError) as error:
        raise BundleError(f"{path} is not a readable ONNX file: {error}") from None
    if external:
        raise BundleError(
            f"{path} keeps weights in another file, which a bundle may not: save it with "
            "onnx.save(model, path, save_as_external_data=False)"
        )


def has_external_data(model: Buffer) -> bool:
    """Whether any tensor of a serialized ModelProto is stored outside it.

    Raises:
        ValueError: The bytes are not a protocol buffer.
        IndexError: Likewise.
    """
    return _tensor_outside(model, 0, len(model), "model", 0)


def _tensor_outside(data: Buffer, start: int, end: int, kind: str, depth: int) -> bool:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    if kind == "tensor":
        return any(
            field == EXTERNAL_DATA or (field == DATA_LOCATION and value == 1)
            for field, value, _ in _fields(data, start, end)
        )
    holders = SUBMESSAGE_FIELDS[kind]
    return any(
        _tensor_outside(data, begin, stop, holders[field], depth + 1)
        for field, begin, stop in _fields(data, start, end)
        if field in holders and stop >= 0
    )


def _fields(data: Buffer, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(field, first byte, end) of each nested message; (field, value, -1) of each number."""
    while start < end:
        tag, start = _varint(data, start)
        field, wire = tag >> 3, tag & 7
        if wire == LENGTH:
            size, start = _varint(data, start)
            yield field, start, start + size
            start += size
        elif wire == VARINT:
            value, start = _varint(data, start)
            yield field, value, -1
        elif wire in (FIXED32, FIXED64):
            start += 4 if wire == FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire} at byte {start}")
    if start != end:
        raise ValueError("a message ends outside its place")


def _varint(data: Buffer, start: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = data[start]
        start += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, start
        shift += 7
    raise ValueError(f"a number runs on at byte {start}")
