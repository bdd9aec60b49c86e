"""Memory that was freed, and that the process still holds.

The C library has one pool ("arena") for each of the first threads and returns only what lies at
the end of a pool. Cameras that come and go leave holes in all of them: over half an hour of
reconnects the daemon would seem to grow by tens of megabytes, though nothing leaks.
"""

import ctypes
from collections.abc import Callable
from functools import cache

INTERVAL = 10.0
"""Seconds between two calls of ``release_free_memory``: each takes some milliseconds."""


def release_free_memory() -> bool:
    """Give every whole page that nothing uses back to the system.

    Returns:
        Whether there was any; False as well where the C library is not glibc.
    """
    return bool(_malloc_trim()(0))


@cache
def _malloc_trim() -> Callable[[int], int]:
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return lambda _pad: 0
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    return trim
