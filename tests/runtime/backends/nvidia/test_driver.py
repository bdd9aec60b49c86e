"""What NVIDIA's driver is asked, with a driver made here: this machine may have none."""

import shutil
import subprocess

import pytest

from edgecnn_runtime.backends.nvidia import driver
from edgecnn_runtime.backends.nvidia.driver import (
    CudaDevice,
    find_gpu,
    float_precisions,
    gpu,
)
from edgecnn_runtime.errors import BackendMissingError

DRIVER = """
#include <string.h>
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "Orin", size); return 0; }
int cuDeviceGetUuid(unsigned char *uuid, int device) { memset(uuid, 0xab, 16); return 0; }
int cuDriverGetVersion(int *version) { *version = 12060; return 0; }
int cuGetErrorString(int status, const char **text) { *text = "system not ready"; return 0; }
int cuDeviceGetAttribute(int *value, int which, int device) {
    *value = which == 75 ? 8 : which == 76 ? 7 : -1;
    return 0;
}
"""


@pytest.fixture
def library(tmp_path):
    """Builds a driver that starts with this status and sees that many GPUs; gives its path."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here to make a driver with")

    def make(status=0, count=1):
        source, made = tmp_path / "driver.c", tmp_path / f"libcuda{status}_{count}.so.1"
        source.write_text(DRIVER)
        numbers = [f"-DINIT={status}", f"-DCOUNT={count}"]
        command = [compiler, "-shared", "-fPIC", *numbers, "-o", made, source]
        subprocess.run(command, check=True)
        return str(made)

    return make


def test_the_gpu_as_the_driver_describes_it(library):
    found = find_gpu(library())
    assert found == CudaDevice(name="Orin", capability=(8, 7), uuid="ab" * 16, cuda=(12, 6))
    assert "sm (8, 7)" in found.key


@pytest.mark.parametrize(
    ("status", "count", "words"),
    [
        (100, 0, "finds no GPU that this process may use"),
        (0, 0, "finds no GPU that this process may use"),
        (802, 1, r"does not start \(error 802: system not ready\)"),
    ],
)
def test_why_there_is_no_gpu(library, monkeypatch, status, count, words):
    monkeypatch.setattr(driver, "LIBRARY", library(status, count))
    with pytest.raises(BackendMissingError, match=words):
        gpu()


def test_no_driver_is_no_gpu(monkeypatch):
    monkeypatch.setattr(driver, "LIBRARY", "libabsent.so.1")
    with pytest.raises(BackendMissingError, match="no NVIDIA driver"):
        gpu()


def test_tf32_from_ampere_on(library, monkeypatch):
    monkeypatch.setattr(driver, "LIBRARY", library())
    assert float_precisions() == ("f32", "tf32")
    turing = CudaDevice(name="T4", capability=(7, 5), uuid="", cuda=(12, 6))
    monkeypatch.setattr(driver, "gpu", lambda: turing)
    assert float_precisions() == ("f32",)
