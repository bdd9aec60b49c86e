"""How much of a video file is missing, by what its own container says.

A demuxer ends at the last byte as if the video ended there; only the sizes written in the
headers tell a whole file from one that was cut short while it was copied or recorded.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"sidx", b"moof"}
EBML = bytes.fromhex("1a45dfa3")
SEGMENT = bytes.fromhex("18538067")


def missing_bytes(path: Path) -> int:
    """Bytes that the outermost headers promise and the file does not hold.

    Understands MP4/MOV boxes (ISO/IEC 14496-12), AVI's RIFF chunks and Matroska/WebM segments
    (RFC 8794); 0 for others: a transport stream promises nothing.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(8)
        if head[4:] in BOXES:
            return _walk(file, size, _box)
        if head[:4] == b"RIFF":
            return _walk(file, size, _chunk)
        if head[:4] == EBML:
            return _walk(file, size, _element)
    return 0


def _walk(file: BinaryIO, size: int, measure: Callable[[bytes], int]) -> int:
    at = 0
    while at < size:
        file.seek(at)
        length = measure(file.read(16))
        if length == 0:
            return 0
        at += length
    return at - size


def _box(head: bytes) -> int:
    """Length of the box that begins here; 0 where it reaches to the end or is none."""
    length = int.from_bytes(head[:4], "big")
    if len(head) < 8 or not head[4:8].isalnum():
        return 0
    return int.from_bytes(head[8:16], "big") if length == 1 else length


def _chunk(head: bytes) -> int:
    """Length of the RIFF chunk that begins here; they are padded to even lengths."""
    if len(head) < 8 or head[:4] != b"RIFF":
        return 0
    length = int.from_bytes(head[4:8], "little")
    return 8 + length + length % 2 if length else 0


def _element(head: bytes) -> int:
    """Length of the top-level EBML element that begins here; 0 for one of unknown size."""
    if head[:4] not in {EBML, SEGMENT} or len(head) < 5 or head[4] == 0:
        return 0
    width = 9 - head[4].bit_length()
    length = int.from_bytes(head[4 : 4 + width], "big") & ~(1 << (7 * width))
    unknown = (1 << (7 * width)) - 1
    return 0 if length == unknown else 4 + width + length
