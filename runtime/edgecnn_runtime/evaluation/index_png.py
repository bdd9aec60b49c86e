"""PNG files whose pixels are numbers: gray values, or the places of a palette.

OpenCV gives a palette's colors and spreads gray values of few bits over 0..255. So the file's head
is rewritten to that of a gray picture without a palette, and OpenCV reads the numbers from it.
The format: W3C, "Portable Network Graphics (PNG) Specification".
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY, COLOR, PALETTE, GRAY_ALPHA, COLOR_ALPHA = 0, 2, 3, 4, 6
MAX_BYTES = 1 << 28
MAX_PIXELS = 1 << 27

Numbers = NDArray[np.uint8] | NDArray[np.uint16]


def read_index_png(file: Path) -> Numbers:
    """Read the numbers in a PNG file.

    Args:
        file: A palette or gray PNG, or a color one whose three channels are equal.

    Returns:
        uint8[H,W], uint16[H,W] where the file has 16 bits; owned by the caller.

    Raises:
        ValueError: It is not such a file; the message says what it is.
        OSError: It cannot be read.
    """
    if file.stat().st_size > MAX_BYTES:
        raise ValueError(f"has {file.stat().st_size:,} bytes, and {MAX_BYTES:,} are read")
    chunks = list(_chunks(file.read_bytes()))
    if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13:
        raise ValueError("is not a PNG file")
    width, height, depth, kind, *rest = struct.unpack(">2I5B", chunks[0][1])
    if width * height > MAX_PIXELS:
        raise ValueError(f"has {width} × {height} pixels, more than are read")
    if kind in {GRAY_ALPHA, COLOR_ALPHA}:
        raise ValueError("has transparent pixels; save it as a gray or palette PNG")
    plain = GRAY if kind == PALETTE else kind
    kept = [(b"IHDR", struct.pack(">2I5B", width, height, depth, plain, *rest))]
    kept += [chunk for chunk in chunks if chunk[0] in {b"IDAT", b"IEND"}]
    data = SIGNATURE + b"".join(_chunk(*chunk) for chunk in kept)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None or pixels.shape[:2] != (height, width):
        raise ValueError("is damaged")
    if pixels.ndim == 3:
        if (pixels != pixels[..., :1]).any():
            raise ValueError(
                "is a picture of colors; class maps are gray or palette PNGs whose values are "
                "class numbers"
            )
        pixels = pixels[..., 0]
    step = 255 // (2**depth - 1) if depth < 8 else 1
    numbers = pixels // step
    return numbers.astype(np.uint16) if depth == 16 else numbers.astype(np.uint8)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The name and content of every chunk.

    Raises:
        ValueError: One is damaged, or the last one is missing.
    """
    if not data.startswith(SIGNATURE):
        return
    at, name = len(SIGNATURE), b""
    while name != b"IEND":
        head = data[at : at + 8]
        if len(head) < 8:
            raise ValueError("is damaged: it ends too early")
        length, name = struct.unpack(">I4s", head)
        content = data[at + 8 : at + 8 + length]
        if data[at : at + 12 + length] != _chunk(name, content):
            raise ValueError("is damaged: a checksum is wrong, or it ends too early")
        yield name, content
        at += 12 + length


def _chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I4s", len(content), name)
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )
