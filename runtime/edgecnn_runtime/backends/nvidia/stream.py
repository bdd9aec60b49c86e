"""A CUDA stream with memory on both sides of the bus, through NVIDIA's own cuda-bindings.

Arrays on the host are pinned: the GPU copies from and to them by itself. Everything that a stream
is given happens in order and behind the caller's back until ``synchronize``.
"""

import ctypes
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgecnn_runtime.errors import BackendMissingError, EdgecnnError

INSTALL = "pip install cuda-bindings"
DRIVER_TOO_OLD = 35


@dataclass(frozen=True, slots=True)
class PinnedBuffer:
    """An array in pinned host memory, and memory of the same size on the GPU.

    host, device: their addresses. size: in bytes, of each.
    """

    array: NDArray[Any]
    host: int
    device: int
    size: int


class CudaStream:
    """One stream on the first GPU. Not thread-safe.

    cuda: ``cuda.bindings.runtime``, or what has its functions. Raises BackendMissingError where
    it is not installed or does not fit the driver, EdgecnnError where CUDA refuses.
    """

    def __init__(self, cuda: Any = None) -> None:
        self._cuda = cuda or _import()
        self._open = True
        self._memory: list[int] = []
        self._graphs: list[Any] = []
        self._ask("cudaSetDevice", 0)
        self._stream = self._ask("cudaStreamCreateWithFlags", self._cuda.cudaStreamNonBlocking)
        self.handle = int(self._stream)
        kinds = self._cuda.cudaMemcpyKind
        self._up, self._down = kinds.cudaMemcpyHostToDevice, kinds.cudaMemcpyDeviceToHost

    def pinned_buffer(self, shape: tuple[int, ...], dtype: DTypeLike) -> PinnedBuffer:
        """Zeros on the host, and as much memory on the GPU.

        The array's memory is freed with the last array that shows it, the GPU's by ``close``.
        """
        size = prod(shape) * np.dtype(dtype).itemsize
        host = int(self._ask("cudaHostAlloc", size, self._cuda.cudaHostAllocDefault))
        block = (ctypes.c_ubyte * size).from_address(host)
        # not at exit, where the driver may be gone already
        weakref.finalize(block, self._cuda.cudaFreeHost, host).atexit = False
        array: NDArray[Any] = np.frombuffer(memoryview(block), dtype).reshape(shape)
        array.fill(0)
        device = int(self._ask("cudaMalloc", size))
        self._memory.append(device)
        return PinnedBuffer(array, host, device, size)

    def upload(self, twin: PinnedBuffer) -> None:
        """Copy the array to the GPU."""
        self._ask("cudaMemcpyAsync", twin.device, twin.host, twin.size, self._up, self._stream)

    def download(self, twin: PinnedBuffer) -> None:
        """Copy from the GPU into the array."""
        self._ask("cudaMemcpyAsync", twin.host, twin.device, twin.size, self._down, self._stream)

    def capture_graph(self, work: Callable[[], None]) -> Callable[[], object]:
        """What gives the stream all of ``work`` again in one call: a CUDA graph.

        work: uses this stream, fixed addresses and nothing that waits; it has run once before.
        """
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._ask("cudaStreamBeginCapture", self._stream, mode)
        try:
            work()
        finally:
            graph = self._ask("cudaStreamEndCapture", self._stream)
        launchable = self._ask("cudaGraphInstantiate", graph, 0)
        self._ask("cudaGraphDestroy", graph)
        self._graphs.append(launchable)
        return lambda: self._ask("cudaGraphLaunch", launchable, self._stream)

    def synchronize(self) -> None:
        """Until everything given to the stream is done. Raises EdgecnnError if anything failed."""
        self._ask("cudaStreamSynchronize", self._stream)

    def close(self) -> None:
        """Free the stream, its graphs and its memory on the GPU. Idempotent."""
        if not self._open:
            return
        self._open = False
        self._cuda.cudaStreamSynchronize(self._stream)
        for graph in self._graphs:
            self._cuda.cudaGraphExecDestroy(graph)
        for address in self._memory:
            self._cuda.cudaFree(address)
        self._cuda.cudaStreamDestroy(self._stream)

    def _ask(self, function: str, *arguments: Any) -> Any:
        if not self._open:
            raise EdgecnnError("this engine is closed: open it again")
        status, *values = getattr(self._cuda, function)(*arguments)
        if int(status):
            _, text = self._cuda.cudaGetErrorString(status)
            words = f"{function}: {text.decode()} (CUDA error {int(status)})"
            if int(status) == DRIVER_TOO_OLD:
                raise BackendMissingError(
                    f"cuda-bindings is for a newer driver than this machine's. {words}: "
                    "pip install 'cuda-bindings<13' for CUDA 12"
                )
            raise EdgecnnError(f"the GPU refused: {words}")
        return values[0] if values else None


def _import() -> Any:
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise BackendMissingError(f"GPU memory needs cuda-bindings ({error}): {INSTALL}") from error
    return runtime
