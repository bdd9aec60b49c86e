"""Which GPU is here, according to NVIDIA's driver alone.

libcuda.so.1 comes with the driver, so it is there where a GPU is, before any package is installed.
Names and values: CUDA driver API reference.
"""

import ctypes
from dataclasses import dataclass
from functools import lru_cache

from edgecnn_runtime.errors import BackendMissingError

LIBRARY = "libcuda.so.1"
NO_DEVICE = 100
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
TENSOR_CORES_FOR_FLOAT = (8, 0)
"""From this compute capability on, float products can be taken in TF32 (10 bits of mantissa)."""


@dataclass(frozen=True, slots=True)
class CudaDevice:
    """The GPU that CUDA calls 0.

    Attributes:
        name: as NVIDIA sells it.
        capability: its compute capability, (major, minor).
        uuid: of this very card, 32 hexadecimal digits.
        cuda: the newest CUDA its driver takes, (major, minor).
    """

    name: str
    capability: tuple[int, int]
    uuid: str
    cuda: tuple[int, int]

    @property
    def key(self) -> tuple[str, ...]:
        """What an engine that was built on it depends on."""
        return (self.name, f"sm {self.capability}", self.uuid, f"cuda {self.cuda}")


def gpu() -> CudaDevice:
    """The GPU of this machine.

    Raises:
        BackendMissingError: there is none; the message says why.
    """
    device = find_gpu(LIBRARY)
    if isinstance(device, str):
        raise BackendMissingError(device)
    return device


def float_precisions() -> tuple[str, ...]:
    """How the GPU can multiply floats, the exact way first.

    Raises:
        BackendMissingError: there is none.
    """
    return ("f32", "tf32") if gpu().capability >= TENSOR_CORES_FOR_FLOAT else ("f32",)


@lru_cache(maxsize=2)
def find_gpu(library: str) -> CudaDevice | str:
    """The first GPU that the driver's ``library`` knows, or why there is none.

    Cached, because starting the driver takes tens of milliseconds.
    """
    try:
        cuda = ctypes.CDLL(library)
    except OSError:
        return "no NVIDIA driver"
    status = cuda.cuInit(0)
    count = ctypes.c_int()
    if status == 0:
        status = cuda.cuDeviceGetCount(ctypes.byref(count))
    if status == NO_DEVICE or (status == 0 and count.value == 0):
        return "NVIDIA's driver finds no GPU that this process may use"
    if status:
        return f"NVIDIA's driver does not start ({_reason(cuda, status)})"
    name, uuid = ctypes.create_string_buffer(256), (ctypes.c_ubyte * 16)()
    cuda.cuDeviceGetName(name, len(name), 0)
    cuda.cuDeviceGetUuid(uuid, 0)
    version = ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    return CudaDevice(
        name=name.value.decode("utf-8", "replace"),
        capability=(_attribute(cuda, CAPABILITY_MAJOR), _attribute(cuda, CAPABILITY_MINOR)),
        uuid=bytes(uuid).hex(),
        cuda=(version.value // 1000, version.value % 1000 // 10),
    )


def _attribute(cuda: ctypes.CDLL, attribute: int) -> int:
    value = ctypes.c_int()
    cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, 0)
    return value.value


def _reason(cuda: ctypes.CDLL, status: int) -> str:
    text = ctypes.c_char_p()
    if cuda.cuGetErrorString(status, ctypes.byref(text)) or text.value is None:
        return f"error {status}"
    return f"error {status}: {text.value.decode()}"
