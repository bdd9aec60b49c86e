"""ONNX Runtime on a GPU as a Backend: the session computes between buffers that stay.

The bytes go from pinned memory to the GPU, through the session and back on one stream; where the
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

from edgecnn_runtime.backends import Options
from edgecnn_runtime.backends.nvidia.stream import CudaStream, PinnedBuffer
from edgecnn_runtime.backends.onnxruntime import import_onnxruntime, wheels
from edgecnn_runtime.errors import BackendMissingError, UnsupportedModelError
from edgecnn_runtime.types import Pixels, Tensors

CPU = "CPUExecutionProvider"
LIBRARIES: Mapping[str, str] = {
    "CUDAExecutionProvider": "libonnxruntime_providers_cuda.so",
    "TensorrtExecutionProvider": "libonnxruntime_providers_tensorrt.so",
}
DTYPES: Mapping[str, Any] = {
    "tensor(uint8)": np.uint8, "tensor(int8)": np.int8, "tensor(int32)": np.int32,
    "tensor(int64)": np.int64, "tensor(bool)": np.bool_, "tensor(float)": np.float32,
    "tensor(float16)": np.float16, "tensor(double)": np.float64,
}  # fmt: skip

Provider: TypeAlias = tuple[str, dict[str, str]]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Signature:
    """A graph's tensors at one batch size. free: that size by the name the graph gives it."""

    given: str
    shape: tuple[int, ...]
    outputs: Mapping[str, tuple[tuple[int, ...], Any]]
    free: Mapping[str, int]


def import_with(provider: str, install: str) -> Any:
    """The ``onnxruntime`` of onnxruntime-gpu, its CUDA libraries loaded where pip put them.

    Raises BackendMissingError where it is absent or was overwritten by the CPU's.
    """
    ort = import_onnxruntime(install)
    if provider not in ort.get_available_providers():
        found = " and ".join(wheels()) or "a wheel of its own"
        raise BackendMissingError(
            f"the onnxruntime here has no {provider} (installed: {found}): "
            f"pip uninstall -y {' '.join(wheels())} && {install}"
        )
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what the session will raise
        ort.preload_dlls()
    return ort


def open_session(
    ort: Any,
    path: Path,
    options: Options,
    providers: Callable[[int, bool], Sequence[Provider]],
    install: str,
) -> "GpuSession":
    """A session whose first provider does the work, with a CUDA graph where there can be one.

    providers: from the address of a stream and whether to record a graph, to ONNX Runtime's
    providers, the fastest first. install: what brings the first one.
    Raises BackendMissingError where that cannot be loaded, UnsupportedModelError where the file
    or the batch is not taken.
    """
    try:
        try:
            return GpuSession(
                ort, path, options, providers, CudaStream(), graph=True, install=install
            )
        except BackendMissingError:
            raise
        except Exception as error:
            log.info("%s: no CUDA graph: %s", path, error)
            return GpuSession(
                ort, path, options, providers, CudaStream(), graph=False, install=install
            )
    except BackendMissingError:
        raise
    except Exception as error:  # the engine's exceptions share no base class
        reason = " ".join(str(error).split())
        raise UnsupportedModelError(
            f"{path}: ONNX Runtime {ort.__version__} does not take it with batch "
            f"{options.batch}: {reason}"
        ) from error


class GpuSession:
    """One InferenceSession bound to memory on the GPU, and its twins in pinned host memory."""

    def __init__(
        self,
        ort: Any,
        path: Path,
        options: Options,
        providers: Callable[[int, bool], Sequence[Provider]],
        stream: CudaStream,
        *,
        graph: bool,
        install: str,
        device: str = "cuda",
    ) -> None:
        """stream: the session's own from now on. device: where its memory is, for ONNX Runtime."""
        self._stream = stream
        try:
            signature = read_signature(ort, path, options.batch)
            wanted = providers(stream.handle, graph)
            self._session = _session(ort, path, signature, wanted, install)
            self._binding = self._session.io_binding()
            self._pixels = stream.pinned_buffer(signature.shape, np.uint8)
            self._binding.bind_input(
                signature.given, device, 0, np.uint8, list(signature.shape), self._pixels.device
            )
            self._results: list[PinnedBuffer] = []
            self._outputs: Tensors = {}
            for name, (shape, dtype) in signature.outputs.items():
                twin = stream.pinned_buffer(shape, dtype)
                self._binding.bind_output(name, device, 0, dtype, list(shape), twin.device)
                self._results.append(twin)
                self._outputs[name] = twin.array
            self.run()  # builds, records
            self.run()
        except BaseException:
            self.close()
            raise

    @property
    def pixels(self) -> Pixels:
        """uint8[N,H,W,3] in pinned memory; copied to the GPU by ``run``."""
        return self._pixels.array

    @property
    def outputs(self) -> Tensors:
        """In pinned memory, written by ``run``."""
        return self._outputs

    def run(self) -> Tensors:
        """Infer what ``pixels`` holds now; the arrays are overwritten by the next run."""
        self._stream.upload(self._pixels)
        self._session.run_with_iobinding(self._binding)
        for twin in self._results:
            self._stream.download(twin)
        self._stream.synchronize()
        return self._outputs

    def close(self) -> None:
        """Release the session, then the stream it runs on."""
        self._session = self._binding = None
        self._stream.close()


def read_signature(ort: Any, path: Path, batch: int) -> Signature:
    """What a graph takes and gives, read without optimizing it for any device.

    Raises UnsupportedModelError where it does not take uint8[batch,H,W,3], and what ONNX Runtime
    raises where it is no graph.
    """
    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.log_severity_level = 3
    session = ort.InferenceSession(str(path), settings, providers=[CPU])
    given = session.get_inputs()[0]
    free = {given.shape[0]: batch} if isinstance(given.shape[0], str) else {}

    def fixed(shape: Sequence[Any]) -> tuple[int, ...]:
        sizes = tuple(free.get(size, size) for size in shape)
        if not all(isinstance(size, int) for size in sizes):
            raise UnsupportedModelError(f"a tensor of it has no fixed size: {list(shape)}")
        return sizes

    shape = fixed(given.shape)
    if given.type != "tensor(uint8)" or shape[0] != batch or len(session.get_inputs()) > 1:
        raise UnsupportedModelError(f"it takes {given.type} {given.shape}")
    outputs = {each.name: (fixed(each.shape), DTYPES[each.type]) for each in session.get_outputs()}
    return Signature(given.name, shape, outputs, free)


def _session(
    ort: Any, path: Path, signature: Signature, providers: Sequence[Provider], install: str
) -> Any:
    settings = ort.SessionOptions()
    settings.log_severity_level = 4  # what it would print is raised below
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    for name, size in signature.free.items():
        settings.add_free_dimension_override_by_name(name, size)
    wanted = providers[0][0]
    try:
        session = ort.InferenceSession(
            str(path), settings, providers=[*providers, CPU], enable_fallback=0
        )
    except Exception as error:
        if why := _not_loadable(ort, wanted):
            raise BackendMissingError(f"{why}: {install}") from error
        raise
    # a provider that cannot be loaded is left out by ONNX Runtime with a line in its log
    if wanted not in session.get_providers():
        why = _not_loadable(ort, wanted) or "ONNX Runtime left it out and gave no reason"
        raise BackendMissingError(f"{why}: {install}")
    return session


def _not_loadable(ort: Any, provider: str) -> str:
    """Which library a provider lacks; "" where it lacks none."""
    folder = Path(ort.__file__).parent / "capi"
    try:
        ctypes.CDLL(str(folder / LIBRARIES[provider]))
    except (KeyError, OSError) as error:
        return f"ONNX Runtime's {provider} cannot be loaded: {error}"
    return ""
