"""Results as files: ``bench/results/NAME.json``, written whole or not at all.

What an experiment measured is written with the host and the time:

    write_result("export_time", {"rows": [...]})
"""

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from edgecnn_bench.host import Host, fingerprint
from edgecnn_runtime.bundle.atomic import atomic_file
from edgecnn_runtime.errors import EdgecnnError, UsageError

SCHEMA_VERSION = 1
RESULTS = Path(__file__).parents[1] / "results"
MAX_BYTES = 64 << 20
"""No result is larger; a larger file is not read."""

T = TypeVar("T", bound=msgspec.Struct)


class Result(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an experiment measured, and on which machine.

    Attributes:
        schema: SCHEMA_VERSION.
        kind: "experiment"; "figure" in files written before.
        name: Name of the experiment.
        created: UTC, ISO 8601.
        host: The machine.
        data: The measured values, as plain JSON.
    """

    schema: int
    kind: str = "experiment"
    name: str
    created: str
    host: Host
    data: Any


def write_result(name: str, data: Any, folder: Path = RESULTS) -> Path:
    """Write ``folder/NAME.json`` atomically, with this host's fingerprint.

    Args:
        name: Name of the experiment.
        data: JSON values; NumPy scalars and arrays are converted.
        folder: Where the file goes.

    Returns:
        The file.

    Raises:
        EdgecnnError: The file cannot be written.
    """
    result = Result(schema=SCHEMA_VERSION, name=name, created=now(), host=fingerprint(), data=data)
    path = folder / f"{name}.json"
    write_json(path, result)
    return path


def read_result(name: str, folder: Path = RESULTS) -> Result:
    """Read what ``write_result`` wrote.

    Raises:
        UsageError: The file is missing, no result, or of another schema version.
    """
    return read_json(folder / f"{name}.json", Result, SCHEMA_VERSION)


def write_json(path: Path, value: msgspec.Struct) -> None:
    """Write a Struct as indented JSON, whole or not at all.

    Raises:
        EdgecnnError: The file cannot be written.
    """
    write_whole(path, as_json(value).encode())


def as_json(value: msgspec.Struct) -> str:
    """Indented JSON that ends with a newline."""
    raw = msgspec.json.encode(value, enc_hook=_plain)
    return msgspec.json.format(raw, indent=1).decode() + "\n"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        EdgecnnError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as scratch, scratch.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise EdgecnnError(f"cannot write {path}: {error.strerror or error}") from None


def read_json(path: Path, kind: type[T], version: int) -> T:
    """Read a Struct that has a ``schema`` number.

    Args:
        path: The file.
        kind: The Struct.
        version: The schema number that it must have.

    Returns:
        The Struct.

    Raises:
        UsageError: The file is missing, too large, of another version, or not of this kind; the
            message names it.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path}: over {MAX_BYTES >> 20} MiB, larger than any result")
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    try:
        schema = msgspec.json.decode(raw, type=_Versioned).schema
        if schema != version:
            raise UsageError(
                f"{path}: written with result schema {schema}, this edgecnn reads {version}: "
                "measure again with the same edgecnn on both sides"
            )
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a result of `edgecnn bench`: {error}") from None


def now() -> str:
    """UTC now, ISO 8601 to the second."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Versioned(msgspec.Struct):
    schema: int


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
