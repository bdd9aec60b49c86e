"""ONNX Runtime: the import and the sessions, for the backends and for export."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from edgecnn_runtime.device.cpu import usable_cores

CPU = "CPUExecutionProvider"
WHEELS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-qnn")
"""Distributions of the one package ``onnxruntime``: side by side they overwrite each other."""

ERROR, FATAL = 3, 4
"""``OrtLoggingLevel`` of the C API, which Python does not name: the least that is printed."""

SPIN_MICROSECONDS = 100
"""Workers wait for work spinning. By default they do so for milliseconds, also after the run, and
take the cores from decoding and resizing: on two busy cores that doubled a run."""

Provider: TypeAlias = str | tuple[str, dict[str, str]]


def import_onnxruntime() -> Any:
    """Import the package ``onnxruntime``, whose telemetry ``edgecnn_runtime`` has switched off.

    Its Linux wheels read the switch when they are imported; ``disable_telemetry_events()`` is
    too late.

    Raises:
        ImportError: It is not installed.
    """
    import onnxruntime

    return onnxruntime


def open_session(
    model: Path | bytes,
    *,
    threads: int = 0,
    optimize: bool = True,
    arena: bool = True,
    severity: int = ERROR,
    settings: Mapping[str, str] | None = None,
    sizes: Mapping[str, int] | None = None,
    providers: Sequence[Provider] = (CPU,),
) -> Any:
    """An ``onnxruntime.InferenceSession``.

    Args:
        model: a file, or the serialized graph itself.
        threads: threads inside one operator; 0 means every core this process may use.
        optimize: whether the graph may be rewritten; if not, it is computed as it is written.
        arena: whether memory between operators is kept for the next run.
        severity: the least severe message that is printed.
        settings: further entries of the session's configuration.
        sizes: what the graph's named dimensions are.
        providers: where it computes, the preferred one first. A session that cannot use them
            fails; it never goes on with others.

    Raises:
        Exception: of ONNX Runtime, where it does not take the model.
    """
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    options.inter_op_num_threads = 1
    options.log_severity_level = severity
    options.enable_cpu_mem_arena = arena
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_MICROSECONDS))
    for key, value in (settings or {}).items():
        options.add_session_config_entry(key, value)
    for name, size in (sizes or {}).items():
        options.add_free_dimension_override_by_name(name, size)
    source = str(model) if isinstance(model, Path) else model
    return ort.InferenceSession(source, options, providers=list(providers), enable_fallback=0)
