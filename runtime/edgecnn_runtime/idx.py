"""IDX files, the format of MNIST and its successors, as arrays and as pictures in a folder.

Layout (Y. LeCun, "The MNIST database"): two zero bytes, a type byte, the number of dimensions,
each dimension as a big-endian uint32, then the values, last dimension fastest.

A picture in such a file has a path too: the file's, and below it the picture's number
(``data/t10k-images-idx3-ubyte.gz/00042``).
"""

import functools
import gzip
import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.errors import UsageError

UINT8 = 0x08
LIMIT = 2 << 30
"""No file may unpack to more bytes than this."""
IMAGES = re.compile(r"(?P<part>.*)images(?P<dash>[-.])idx3(?P<end>-ubyte(\.gz)?)")
"""How files of pictures are called; those of their labels have ``labels`` and ``idx1`` instead."""
TRAINING = "train"
"""Is in the names of pictures that a model was trained on."""
DIGITS = 5
"""Of a picture's number, at least, so that names sort as numbers do."""


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


def idx_files(path: Path, *, training: bool) -> list[Path]:
    """The IDX file of pictures that a path stands for; none where it is no place of IDX files.

    Args:
        path: Such a file, or the folder that it is in.
        training: Which of a folder's files: those that a model is trained on, or the others. A
            folder that has only one kind has no choice.

    Returns:
        The files, sorted by name.
    """
    if path.is_file():
        return [path] if IMAGES.fullmatch(path.name) else []
    if not path.is_dir():
        return []
    files = sorted(file for file in path.iterdir() if IMAGES.fullmatch(file.name))
    chosen = [file for file in files if (TRAINING in file.name) == training]
    return chosen or files


def idx_pictures(file: Path) -> list[Path]:
    """The paths of all pictures in an IDX file.

    Raises:
        UsageError: It is damaged, or has no picture.
    """
    images = _images(file)
    if not images.size:
        raise UsageError(f"{file} has {len(images)} pictures of {images.shape[1:]} pixels")
    width = max(DIGITS, len(str(len(images) - 1)))
    return [file / f"{number:0{width}d}" for number in range(len(images))]


def idx_labels(file: Path) -> list[int]:
    """The class number of every picture in an IDX file, from the file of labels beside it.

    Raises:
        UsageError: There is no such file, or it has another number of labels.
    """
    match = IMAGES.fullmatch(file.name)
    assert match is not None
    name = f"{match['part']}labels{match['dash']}idx1{match['end'].removesuffix('.gz')}"
    paths = [file.with_name(name), file.with_name(f"{name}.gz")]
    labels = read_idx(next((path for path in paths if path.is_file()), paths[0]), dimensions=1)
    count = len(_images(file))
    if len(labels) != count:
        raise UsageError(f"{file} has {count} pictures, and {name} has {len(labels)} labels")
    return [int(label) for label in labels]


def is_idx_picture(path: Path) -> bool:
    """Whether a path is that of a picture in an IDX file."""
    return path.name.isdecimal() and IMAGES.fullmatch(path.parent.name) is not None


def read_idx_picture(path: Path) -> NDArray[np.uint8] | None:
    """A picture in an IDX file, uint8[H,W] gray, owned by the caller; None where there is none."""
    try:
        return np.array(_images(path.parent)[int(path.name)])
    except (UsageError, IndexError):
        return None


def _images(file: Path) -> NDArray[np.uint8]:
    """All pictures of a file, uint8[N,H,W]; files that were read last are not read again."""
    try:
        return _cached(file, file.stat().st_mtime_ns)
    except OSError:
        return read_idx(file, dimensions=3)  # raises the error that says why


@functools.lru_cache(maxsize=2)
def _cached(file: Path, _changed: int) -> NDArray[np.uint8]:
    return read_idx(file, dimensions=3)


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
