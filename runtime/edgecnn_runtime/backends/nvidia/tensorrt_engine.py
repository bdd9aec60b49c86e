"""An engine of TensorRT or TensorRT-RTX as a Backend: from the cache, or built and stored."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from edgecnn_runtime import __version__
from edgecnn_runtime.backends.base import Options
from edgecnn_runtime.backends.nvidia.driver import CudaDevice
from edgecnn_runtime.backends.nvidia.engine_cache import load_engine, store_engine
from edgecnn_runtime.backends.nvidia.stream import CudaStream, PinnedBuffer
from edgecnn_runtime.backends.nvidia.tensorrt_build import build_engine, make_logger
from edgecnn_runtime.bundle.bundle import sha256_file
from edgecnn_runtime.device.cache import Key
from edgecnn_runtime.device.fingerprint import gpu_names
from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.types import Tensors

PLAN, KERNELS = "plan", "kernels"

log = logging.getLogger(__name__)


def open_engine(
    trt: ModuleType, label: str, path: Path, options: Options, gpu: CudaDevice
) -> "TensorRtEngine":
    """The artifact's engine for this GPU, from ``options.cache_dir`` if it was built before.

    Args:
        trt: ``tensorrt`` or ``tensorrt_rtx``.
        label: its name in messages.
        path: the ONNX file.
        options: how to open it.
        gpu: the device that it is built for.

    Raises:
        Exception: one of TensorRT's or ours: it does not take the file, the batch or the GPU.
    """
    key = engine_key(path, options, f"{label} {trt.__version__}", gpu)
    CudaStream().close()  # fails before minutes are spent where cuda-bindings are missing
    stored = _open_stored(trt, key, options)
    if stored is not None:
        return stored
    log_build(path, label, gpu, options)
    start = time.monotonic()
    plan = build_engine(trt, path, batch=options.batch, precision=options.precision or "f32")
    engine = TensorRtEngine(trt, plan, b"", options.batch, CudaStream())
    log.info("built in %.0f s: %s", time.monotonic() - start, path)
    if options.cache_dir:
        store_engine(options.cache_dir, key, {PLAN: plan, KERNELS: engine.kernels()})
    return engine


def log_build(path: Path, label: str, gpu: CudaDevice, options: Options) -> None:
    """Announce a build, as a warning, so that it is seen where no logging is set up."""
    stays = f"once; stored in {options.cache_dir}" if options.cache_dir else "and is not stored"
    log.warning("building %s for %s with %s: takes minutes, %s", path, gpu.name, label, stays)


def engine_key(path: Path, options: Options, version: str, gpu: CudaDevice) -> Key:
    """Everything that an engine depends on."""
    digest = sha256_file(path)
    precision = options.precision or "f32"
    words = (f"batch {options.batch}", precision, version, f"edgecnn {__version__}")
    return (digest, *words, *gpu.key, *gpu_names())


def _open_stored(trt: ModuleType, key: Key, options: Options) -> "TensorRtEngine | None":
    folder = load_engine(options.cache_dir, key) if options.cache_dir else None
    if folder is None:
        return None
    plan, kernels = (folder / PLAN).read_bytes(), (folder / KERNELS).read_bytes()
    try:
        return TensorRtEngine(trt, plan, kernels, options.batch, CudaStream())
    except EdgecnnError as error:
        log.warning("the engine in %s does not start, and is built again: %s", folder, error)
        return None


class TensorRtEngine:
    """One execution context on its own stream; input and outputs are pinned host memory."""

    def __init__(
        self, trt: ModuleType, plan: bytes, kernels: bytes, batch: int, stream: CudaStream
    ) -> None:
        """Start an engine.

        Args:
            trt: ``tensorrt`` or ``tensorrt_rtx``.
            plan: the serialized engine.
            kernels: what ``kernels()`` returned before, or nothing.
            batch: pictures per run.
            stream: the engine's own from now on.

        Raises:
            EdgecnnError: the engine does not start.
        """
        self._stream = stream
        try:
            self._logger = make_logger(trt)
            self._logger.complaints.clear()
            self._runtime = trt.Runtime(self._logger)
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            if self._engine is None:
                raise EdgecnnError(
                    "; ".join(self._logger.complaints) or "it is not an engine of this TensorRT"
                )
            self._context, self._kernels = self._make_context(trt, kernels)
            self._bind(trt, batch)
            # the first run makes the allocations that are made once, and compiles the last kernels
            self._work()
            self._stream.synchronize()
            self._enqueue = self._recorded()
            self.run()
        except BaseException:
            self.close()
            raise

    def run(self) -> Tensors:
        """Infer what ``pixels`` holds now."""
        self._enqueue()
        self._stream.synchronize()
        return self.outputs

    def close(self) -> None:
        """Release the engine and the memory on the GPU."""
        self._stream.close()
        self._context = self._engine = self._runtime = self._kernels = None

    def kernels(self) -> bytes:
        """What TensorRT-RTX compiled for this GPU, for the next start."""
        return bytes(self._kernels.serialize()) if self._kernels is not None else b""

    def _make_context(self, trt: ModuleType, kernels: bytes) -> tuple[Any, Any]:
        if not hasattr(trt, "CudaGraphStrategy"):  # TensorRT: everything was compiled before
            return self._engine.create_execution_context(), None
        config = self._engine.create_runtime_config()
        config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        config.dynamic_shapes_kernel_specialization_strategy = (
            trt.DynamicShapesKernelSpecializationStrategy.EAGER
        )
        cache = config.create_runtime_cache()
        if kernels:
            cache.deserialize(kernels)
        config.set_runtime_cache(cache)
        return self._engine.create_execution_context(config), cache

    def _bind(self, trt: ModuleType, batch: int) -> None:
        engine, context, stream = self._engine, self._context, self._stream
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        (given,) = (n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT)
        shape = (batch, *tuple(engine.get_tensor_shape(given))[1:])
        if not context.set_input_shape(given, shape):
            raise EdgecnnError(f"the engine does not take {list(shape)}")
        self._results: list[PinnedBuffer] = []
        self.outputs: Tensors = {}
        for name in (given, *(n for n in names if n != given)):
            dims = tuple(context.get_tensor_shape(name))
            if min(dims, default=0) < 0:
                raise EdgecnnError(f"the size of {name!r} is not fixed: {list(dims)}")
            buffer = stream.pinned_buffer(dims, trt.nptype(engine.get_tensor_dtype(name)))
            if not context.set_tensor_address(name, buffer.device):
                raise EdgecnnError(f"the engine refuses the memory for {name!r}")
            if name == given:
                self._input = buffer
                self.pixels = buffer.array
            else:
                self._results.append(buffer)
                self.outputs[name] = buffer.array

    def _recorded(self) -> Callable[[], object]:
        """A run as one CUDA graph where TensorRT allows it; TensorRT-RTX records its own."""
        if self._kernels is not None:
            return self._work
        try:
            return self._stream.capture_graph(self._work)
        except EdgecnnError as error:
            log.info("no CUDA graph: %s", error)
            return self._work

    def _work(self) -> None:
        self._stream.upload(self._input)
        if not self._context.execute_async_v3(self._stream.handle):
            raise EdgecnnError(f"TensorRT did not run: {'; '.join(self._logger.complaints)}")
        for buffer in self._results:
            self._stream.download(buffer)
