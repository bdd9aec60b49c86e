"""ONNX Runtime on a GPU as a Backend, with buffers that stay.

The bytes go from pinned memory to the GPU, through the session and back on one stream. Where the
whole graph runs on the GPU, the session replays it as a CUDA graph.
"""

import contextlib
import ctypes
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from edgecnn_runtime.backends.base import Options, installed_of
from edgecnn_runtime.backends.nvidia.stream import CudaStream, PinnedBuffer
from edgecnn_runtime.backends.ort_session import (
    CPU,
    FATAL,
    WHEELS,
    Provider,
    import_onnxruntime,
    open_session,
)
from edgecnn_runtime.errors import BackendMissingError, UnsupportedModelError
from edgecnn_runtime.types import Tensors

LIBRARIES: Mapping[str, str] = {
    "CUDAExecutionProvider": "libonnxruntime_providers_cuda.so",
    "TensorrtExecutionProvider": "libonnxruntime_providers_tensorrt.so",
}
DTYPES: Mapping[str, Any] = {
    "tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(int32)": np.int32,
    "tensor(int64)": np.int64, "tensor(bool)": np.bool_, "tensor(float)": np.float32,
    "tensor(float16)": np.float16, "tensor(double)": np.float64,
}  # fmt: skip

Providers: TypeAlias = Callable[[int, bool], Sequence[Provider]]
"""From the address of a stream, and whether to record a graph, to ONNX Runtime's providers."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Signature:
    """A graph's tensors at one batch size.

    Attributes:
        given: the input's name.
        shape: its shape, uint8[N,H,W,3].
        outputs: shape and dtype by name.
        sizes: the batch size by the name the graph gives it.
    """

    given: str
    shape: tuple[int, ...]
    outputs: Mapping[str, tuple[tuple[int, ...], Any]]
    sizes: Mapping[str, int]


def import_with(provider: str, install: str) -> Any:
    """The ``onnxruntime`` of onnxruntime-gpu, its CUDA libraries loaded where pip put them.

    Args:
        provider: The provider that must be compiled in.
        install: The command that installs it.

    Raises:
        BackendMissingError: The CPU's wheel has overwritten it.
    """
    ort = import_onnxruntime()
    if provider not in ort.get_available_providers():
        wheels = installed_of(WHEELS)
        raise BackendMissingError(
            f"the onnxruntime here has no {provider} (installed: "
            f"{' and '.join(wheels) or 'a wheel of its own'}): "
            f"pip uninstall -y {' '.join(wheels)} && {install}"
        )
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what the session will raise
        ort.preload_dlls()
    return ort


def open_gpu_session(path: Path, options: Options, providers: Providers) -> "GpuSession":
    """A session whose first provider does the work, with a CUDA graph where there can be one.

    Args:
        path: The artifact.
        options: How to open it.
        providers: The fastest first.

    Raises:
        ImportError: The first provider cannot be loaded.
        BackendMissingError: cuda-bindings are missing, or for another driver.
        Exception: ONNX Runtime's or ours, where the file or the batch is not taken.
    """
    try:
        return GpuSession(path, options, providers, CudaStream(), graph=True)
    except (ImportError, BackendMissingError):
        raise
    except Exception as error:
        log.info("%s: no CUDA graph: %s", path, error)
        return GpuSession(path, options, providers, CudaStream(), graph=False)


class GpuSession:
    """One session bound to memory on the GPU, and to as much pinned host memory."""

    def __init__(
        self,
        path: Path,
        options: Options,
        providers: Providers,
        stream: CudaStream,
        *,
        graph: bool,
        device: str = "cuda",
    ) -> None:
        """Open, and run twice.

        Args:
            path: the ONNX file.
            options: how to open it.
            providers: ONNX Runtime's providers for a stream, with a CUDA graph or without.
            stream: the session's own from now on.
            graph: whether runs are recorded as one CUDA graph.
            install: the command that installs what is missing.
            device: where its memory is, for ONNX Runtime.
        """
        self._stream = stream
        try:
            signature = read_signature(path, options.batch)
            self._session = _open(path, signature, providers(stream.handle, graph))
            self._binding = self._session.io_binding()
            self._input = stream.pinned_buffer(signature.shape, np.uint8)
            self.pixels = self._input.array
            self._binding.bind_input(
                signature.given, device, 0, np.uint8, list(signature.shape), self._input.device
            )
            self._results: list[PinnedBuffer] = []
            self.outputs: Tensors = {}
            for name, (shape, dtype) in signature.outputs.items():
                buffer = stream.pinned_buffer(shape, dtype)
                self._binding.bind_output(name, device, 0, dtype, list(shape), buffer.device)
                self._results.append(buffer)
                self.outputs[name] = buffer.array
            self.run()  # builds, records
            self.run()
        except BaseException:
            self.close()
            raise

    def run(self) -> Tensors:
        """Infer what ``pixels`` holds now."""
        self._stream.upload(self._input)
        self._session.run_with_iobinding(self._binding)
        for buffer in self._results:
            self._stream.download(buffer)
        self._stream.synchronize()
        return self.outputs

    def close(self) -> None:
        """Release the session, then the stream it runs on."""
        self._session = self._binding = None
        self._stream.close()


def read_signature(path: Path, batch: int) -> Signature:
    """What a graph takes and gives, read without optimizing it for any device.

    Raises:
        UnsupportedModelError: it does not take uint8[batch,H,W,3].
        Exception: of ONNX Runtime, the file is not a graph.
    """
    session = open_session(path, threads=1, optimize=False)
    given = session.get_inputs()[0]
    sizes = {given.shape[0]: batch} if isinstance(given.shape[0], str) else {}

    def fixed(shape: Sequence[Any]) -> tuple[int, ...]:
        numbers = tuple(sizes.get(size, size) for size in shape)
        if not all(isinstance(size, int) for size in numbers):
            raise UnsupportedModelError(f"a tensor of it has no fixed size: {list(shape)}")
        return numbers

    shape = fixed(given.shape)
    if given.type != "tensor(uint8)" or shape[0] != batch or len(session.get_inputs()) > 1:
        raise UnsupportedModelError(f"it takes {given.type} {given.shape}")
    outputs = {each.name: (fixed(each.shape), DTYPES[each.type]) for each in session.get_outputs()}
    return Signature(given.name, shape, outputs, sizes)


def _open(path: Path, signature: Signature, providers: Sequence[Provider]) -> Any:
    first = providers[0][0]
    try:
        session = open_session(
            path,
            threads=1,
            severity=FATAL,  # what it would print is raised here
            sizes=signature.sizes,
            providers=[*providers, CPU],
        )
    except Exception as error:
        if why := _not_loadable(first):
            raise ImportError(why) from error
        raise
    # a provider that cannot be loaded is left out by ONNX Runtime with a line in its log
    if first not in session.get_providers():
        why = _not_loadable(first) or "ONNX Runtime left it out and gave no reason"
        raise ImportError(why)
    return session


def _not_loadable(provider: str) -> str:
    """Which library a provider lacks; "" where it lacks none."""
    folder = Path(import_onnxruntime().__file__).parent / "capi"
    try:
        ctypes.CDLL(str(folder / LIBRARIES[provider]))
    except (KeyError, OSError) as error:
        return f"ONNX Runtime's {provider} cannot be loaded: {error}"
    return ""
