"""IDX files, the format of MNIST and its successors.

Layout (Y. LeCun, "The MNIST database"): two zero bytes, a type byte, the number of dimensions,
each dimension as a big-endian uint32, then the values, last dimension fastest.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.errors import UsageError

UINT8 = 0x08
LIMIT = 2 << 30
"""No file may unpack to more bytes than this."""


def read_idx(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """The array in an IDX file, plain or gzip, which its content tells.

    Args:
        path: The file.
        dimensions: How many dimensions the array must have.

    Raises:
        UsageError: The file is anything else: another magic, type or number of dimensions,
            missing or surplus bytes, a size over ``LIMIT``. The message names it.
    """
    raw = _unpacked(path)
    head = 4 + 4 * dimensions
    if len(raw) < 4 or raw[:2] != b"\0\0":
        raise UsageError(f"{path} is not an IDX file: it does not begin with two zero bytes")
    if raw[2] != UINT8:
        raise UsageError(f"{path} contains values of type 0x{raw[2]:02x}, not bytes (0x08)")
    if raw[3] != dimensions:
        raise UsageError(f"{path} has {raw[3]} dimensions, not {dimensions}")
    if len(raw) < head:
        raise UsageError(f"{path} ends inside its header: download it again")
    shape = struct.unpack(f">{dimensions}I", raw[4:head])
    expected = math.prod(shape)
    if len(raw) - head != expected:
        raise UsageError(
            f"{path} should have {' x '.join(map(str, shape))} = {expected} bytes "
            f"and has {len(raw) - head}: download it again"
        )
    return np.frombuffer(raw, np.uint8, offset=head).reshape(shape)


def _unpacked(path: Path) -> bytearray:
    raw = bytearray()
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            while len(raw) <= LIMIT and (block := file.read(1 << 20)):
                raw += block
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(f"{path} cannot be unpacked ({error}): download it again") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(raw) > LIMIT:
        raise UsageError(f"{path} unpacks to more than {LIMIT >> 30} GiB")
    return raw
