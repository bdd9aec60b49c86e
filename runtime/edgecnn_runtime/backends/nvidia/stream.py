"""A CUDA stream with memory on both sides of the bus, through NVIDIA's own cuda-bindings.

Arrays on the host are pinned: the GPU copies from and to them by itself. What is given to a stream
happens in order and asynchronously; ``synchronize`` waits for all of it.
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

    Attributes:
        array: the host memory.
        host: its address.
        device: the address on the GPU.
        size: of each, in bytes.
    """

    array: NDArray[Any]
    host: int
    device: int
    size: int


class CudaStream:
    """One stream on the first GPU. Not thread-safe."""

    def __init__(self, cuda: Any = None) -> None:
        """Open the stream.

        Args:
            cuda: ``cuda.bindings.runtime``, or an object with its functions; None imports it.

        Raises:
            BackendMissingError: it is not installed, or does not fit the driver.
            EdgecnnError: CUDA refuses.
        """
        self._cuda = cuda or _import()
        self._open = True
        self._memory: list[int] = []
        self._graphs: list[Any] = []
        self._call("cudaSetDevice", 0)
        self._stream = self._call("cudaStreamCreateWithFlags", self._cuda.cudaStreamNonBlocking)
        self.handle = int(self._stream)
        kinds = self._cuda.cudaMemcpyKind
        self._up, self._down = kinds.cudaMemcpyHostToDevice, kinds.cudaMemcpyDeviceToHost

    def pinned_buffer(self, shape: tuple[int, ...], dtype: DTypeLike) -> PinnedBuffer:
        """Zeros on the host, and as much memory on the GPU.

        The host memory is freed with the last array that refers to it, the GPU's by ``close``.
        """
        size = prod(shape) * np.dtype(dtype).itemsize
        host = int(self._call("cudaHostAlloc", size, self._cuda.cudaHostAllocDefault))
        block = (ctypes.c_ubyte * size).from_address(host)
        # not at exit, where the driver may be gone already
        weakref.finalize(block, self._cuda.cudaFreeHost, host).atexit = False
        array: NDArray[Any] = np.frombuffer(memoryview(block), dtype).reshape(shape)
        array.fill(0)
        device = int(self._call("cudaMalloc", size))
        self._memory.append(device)
        return PinnedBuffer(array, host, device, size)

    def upload(self, buffer: PinnedBuffer) -> None:
        """Copy the array to the GPU."""
        self._call(
            "cudaMemcpyAsync", buffer.device, buffer.host, buffer.size, self._up, self._stream
        )

    def download(self, buffer: PinnedBuffer) -> None:
        """Copy from the GPU into the array."""
        self._call(
            "cudaMemcpyAsync", buffer.host, buffer.device, buffer.size, self._down, self._stream
        )

    def capture_graph(self, work: Callable[[], None]) -> Callable[[], object]:
        """Record ``work`` as a CUDA graph.

        Args:
            work: uses this stream and fixed addresses, waits for nothing, and has run before.

        Returns:
            A function that gives all of it to the stream in one call.
        """
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", self._stream, mode)
        try:
            work()
        finally:
            graph = self._call("cudaStreamEndCapture", self._stream)
        launchable = self._call("cudaGraphInstantiate", graph, 0)
        self._call("cudaGraphDestroy", graph)
        self._graphs.append(launchable)
        return lambda: self._call("cudaGraphLaunch", launchable, self._stream)

    def synchronize(self) -> None:
        """Wait until everything given to the stream is done.

        Raises:
            EdgecnnError: any of it failed.
        """
        self._call("cudaStreamSynchronize", self._stream)

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

    def _call(self, function: str, *arguments: Any) -> Any:
        if not self._open:
            raise EdgecnnError("this engine is closed: open it again")
        status, *values = getattr(self._cuda, function)(*arguments)
        if int(status):
            _, text = self._cuda.cudaGetErrorString(status)
            message = f"{function}: {text.decode()} (CUDA error {int(status)})"
            if int(status) == DRIVER_TOO_OLD:
                raise BackendMissingError(
                    f"cuda-bindings is for a newer driver than this machine's. {message}: "
                    "pip install 'cuda-bindings<13' for CUDA 12"
                )
            raise EdgecnnError(f"the GPU refused: {message}")
        return values[0] if values else None


def _import() -> Any:
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise BackendMissingError(f"GPU memory needs cuda-bindings ({error}): {INSTALL}") from error
    return runtime
