"""Read an untrusted .npz: no pickles, and no more memory than the file has bytes.

``np.load`` is not used, because it allocates the size that a header states before it reads.
"""

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.errors import BundleError

UNREADABLE = (
    ValueError, OSError, EOFError, KeyError, NotImplementedError, RuntimeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What zipfile and NumPy raise for an archive that is damaged, encrypted or crafted."""


def read_npz(path: Path, limit: int) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz by name, read-only.

    Args:
        path: The file.
        limit: Bytes to which all of it may unpack.

    Raises:
        BundleError: It cannot be read; the message names the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > limit:
                raise ValueError(f"it unpacks to {size >> 20} MiB, over {limit >> 20}")
            return {
                member.filename.removesuffix(".npy"): _read_array(archive, member)
                for member in members
            }
    except UNREADABLE as error:
        raise BundleError(f"{path}: golden data cannot be read: {error}") from None


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{member.filename} is of another .npy version than 1.0")
        try:
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        except Exception as error:  # NumPy tokenizes and evaluates it: anything may come of that
            raise ValueError(f"the header of {member.filename}: {error}") from None
        size = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or min(shape, default=0) < 0 or size != member.file_size - file.tell():
            raise ValueError(f"{member.filename} holds pickled objects, or not what it claims")
        flat = np.frombuffer(file.read(size), dtype)
    return flat.reshape(shape, order="F" if fortran else "C")
