"""A PyTorch module becomes a float NCHW ONNX graph, or an error that names the line to change."""

import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from edgecnn_export import blame
from edgecnn_export.lower import lower, restore
from edgecnn_runtime.errors import UnsupportedModelError

INPUT = "input"
BATCH = "batch"


def capture(
    module: nn.Module, *, height: int, width: int, channels: int, opset: int
) -> onnx.ModelProto:
    """Trace an evaluation-mode module on the CPU.

    Returns a graph with one input ``input`` float32[batch,channels,height,width] and the module's
    tensors as outputs: ``output``, or ``output0``, ``output1``, …, or the keys of a dict, nested
    ones joined with a dot. Where the module cannot take every batch size, batch is 1.
    Raises UnsupportedModelError for a size or a channel count that the module cannot take, for
    Python that cannot be traced and for operators that ONNX cannot express.
    """
    samples = [torch.zeros(n, channels, height, width) for n in (2, 1)]
    with _quiet(), torch.no_grad():
        names, dynamic = _probe(module, samples)
        if isinstance(module, torch.jit.ScriptModule):
            return _script(module, samples[0 if dynamic else 1], names, dynamic, opset)
        try:
            program = _program(_Flat(module).eval(), samples, dynamic)
        except Exception as error:
            raise blame.tracing(module, error) from error
        return _written(program, names, opset)


def _probe(module: nn.Module, samples: Sequence[Tensor]) -> tuple[list[str], bool]:
    """Output names, and whether the module takes two pictures at once."""
    try:
        return _names(module(samples[0])), True
    except Exception as of_two:
        try:
            return _names(module(samples[1])), False
        except UnsupportedModelError:
            raise
        except Exception:
            raise blame.size(module, samples[1], of_two) from of_two


def _names(outputs: Any) -> list[str]:
    leaves = list(_leaves(outputs))
    if not leaves:
        raise UnsupportedModelError(
            f"the model returns {type(outputs).__name__} and no tensor: export a module whose "
            "forward() returns a tensor, or a tuple, list or dict of tensors"
        )
    if len(leaves) == 1 and not leaves[0][0]:
        return ["output"]
    plain = [re.sub(r"[^A-Za-z0-9_.\-]", "_", path) for path, _ in leaves]
    named = [f"output{name}" if name[:1].isdigit() else name for name in plain]
    return [
        name if named.count(name) == 1 else f"{name}.{named[:i].count(name)}"
        for i, name in enumerate(named)
    ]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor in a tuple, list, dict, named tuple or dataclass, with where it is."""
    if isinstance(value, Tensor):
        yield path, value
        return
    for key, item in _items(value):
        yield from _leaves(item, f"{path}.{key}" if path else str(key))


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif hasattr(value, "_fields"):
        yield from zip(value._fields, value, strict=True)
    elif isinstance(value, (tuple, list)):
        yield from enumerate(value)
    elif hasattr(value, "__dataclass_fields__"):
        yield from ((name, getattr(value, name)) for name in value.__dataclass_fields__)


class _Flat(nn.Module):
    """The module with its tensors in one tuple, whatever it returns."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor for _, tensor in _leaves(self.module(x)))


def _program(module: nn.Module, samples: Sequence[Tensor], dynamic: bool) -> ExportedProgram:
    """Capture with every batch size, else with a batch of one."""
    first: Exception | None = None
    for free in (True, False) if dynamic else (False,):
        sample = samples[0 if free else 1]
        shapes = ({0: Dim(BATCH)},) if free else None
        for strict in (False, True):
            try:
                return torch.export.export(module, (sample,), dynamic_shapes=shapes, strict=strict)
            except Exception as error:
                first = first or error
    assert first is not None
    raise first


def _written(program: ExportedProgram, names: list[str], opset: int) -> onnx.ModelProto:
    lower(program)
    try:
        return _translated(program, names, opset)
    except Exception:
        restore(program)
    try:
        return _translated(program, names, opset)
    except Exception as error:
        raise blame.operator(error) from error


def _translated(program: ExportedProgram, names: list[str], opset: int) -> onnx.ModelProto:
    exported = torch.onnx.export(
        program,
        input_names=[INPUT],
        output_names=names,
        opset_version=opset,
        dynamo=True,
        external_data=False,
        optimize=False,
        verbose=False,
    )
    assert exported is not None
    return exported.model_proto


def _script(
    module: torch.jit.ScriptModule,
    sample: Tensor,
    names: list[str],
    dynamic: bool,
    opset: int,
) -> onnx.ModelProto:
    buffer = io.BytesIO()
    try:
        torch.onnx.export(
            module,
            (sample,),
            buffer,
            input_names=[INPUT],
            output_names=names,
            opset_version=opset,
            dynamic_axes={name: {0: BATCH} for name in (INPUT, *names)} if dynamic else None,
            dynamo=False,
        )  # type: ignore[arg-type]
    except Exception as error:
        raise blame.operator(error) from error
    return onnx.load_model_from_string(buffer.getvalue())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's progress, warnings and log lines from the terminal; exceptions pass."""
    loggers = [logging.getLogger(name) for name in ("torch", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
