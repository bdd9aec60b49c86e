"""Memory that was freed goes back to the system, from the pools of every thread."""

import platform
import subprocess
import sys

import pytest

HOLES = """
import ctypes, threading
from edgecnn_runtime.daemon.memory import release_free_memory

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def fill():
    blocks = [libc.malloc(50_000) for _ in range(1_000)]
    for block in blocks:
        ctypes.memset(block, 1, 50_000)
    for block in blocks[:-1]:  # the last one keeps the pool from shrinking by itself
        libc.free(block)

thread = threading.Thread(target=fill)
thread.start()
thread.join()
before = resident()
print(release_free_memory(), before - resident())
"""


def test_memory_that_was_freed_goes_back() -> None:
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("the C library is not glibc")
    answer = subprocess.run(
        [sys.executable, "-c", HOLES], capture_output=True, text=True, check=True
    )
    released, size = answer.stdout.split()
    assert released == "True"
    assert int(size) > 40_000_000
