"""A PyTorch model becomes a float NCHW ONNX graph, or an error that names the line to change."""

import io
from collections.abc import Sequence
from typing import Any

import onnx
import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from edgecnn_export.loading.onnx_input import compute_branch_outputs
from edgecnn_export.loading.size import Size
from edgecnn_export.tracing import export_errors
from edgecnn_export.tracing.decomposition import restore_decomposition, skip_decomposition
from edgecnn_export.tracing.naming import BATCH, INPUT, name_by_module
from edgecnn_export.tracing.output_tree import output_names, tensor_leaves
from edgecnn_export.tracing.samples import random_images, run_samples, run_twice
from edgecnn_export.tracing.silence import silence

IMAGE_AND_SELF = 2


def capture(module: nn.Module, size: Size, opset: int) -> ir.Model:
    """Trace an evaluation-mode module on the CPU.

    Returns:
        A graph with one input ``input`` float32[batch,channels,height,width], and the module's
        tensors as outputs, named by ``output_names``. Batch is 1 where the module cannot take
        every batch size, or gives an image other results in a batch than alone.

    Raises:
        UnsupportedModelError: The module does not take the size or the channels, contains Python
            that cannot be traced, or an operator that ONNX cannot express; or it draws random
            numbers.
    """
    with silence(), torch.no_grad():
        samples = run_samples(module, size.chw)
        export_errors.check_eval(module)
        names = samples.names
        flat = module if isinstance(samples.outputs, Tensor) else _Flat(module).eval()
        try:
            program = _program(flat, size.chw, samples.axes is not None)
        except Exception as error:
            raise export_errors.trace_error(module, error) from error
        skip_decomposition(program)
        try:
            return _written(program, names, opset)
        except Exception:
            restore_decomposition(program)
        return _decomposed(program, names, opset)


def capture_program(
    program: ExportedProgram, module: nn.Module, sample: Tensor, opset: int
) -> ir.Model:
    """Convert an exported program; its sizes and its batch stay what they are.

    Args:
        program: The program.
        module: Its module.
        sample: float32[N,C,H,W] that it takes.
        opset: The operator set.

    Raises:
        UnsupportedModelError: As for ``capture``.
    """
    with silence(), torch.no_grad():
        names = output_names(run_twice(module, sample))
        return _decomposed(program, names, opset)


def capture_script(module: torch.jit.ScriptModule, size: Size, opset: int) -> ir.Model:
    """Convert a TorchScript module, as ``capture`` does; a free batch is not proven to work."""
    with silence(), torch.no_grad():
        samples = run_samples(module, size.chw)
        names, axes = samples.names, samples.axes
        dynamic = {name: {axis: BATCH} for name, axis in zip(names, axes or (), strict=False)}
        example = random_images(2 if axes else 1, size.chw)
        buffer = io.BytesIO()
        try:
            torch.onnx.export(
                module if _is_plain(module, samples.outputs) else _flattened(module, example),
                (example,),
                buffer,  # type: ignore[arg-type] # checked by what is called
                input_names=[INPUT],
                output_names=names,
                opset_version=opset,
                dynamic_axes={INPUT: {0: BATCH}, **dynamic} if axes else None,
                dynamo=False,
            )
        except Exception as error:
            raise export_errors.operator_error(error) from error
    proto = onnx.load_model_from_string(buffer.getvalue())
    compute_branch_outputs(proto.graph)
    return ir.from_proto(proto)


def _is_plain(module: torch.nn.Module, outputs: object) -> bool:
    """Whether TorchScript takes an image and nothing else, and gives a tensor or a tuple of them.

    Its exporter stumbles over lists, dicts, and arguments with default values.
    """
    forward: Any = module.forward
    parts = outputs if isinstance(outputs, tuple) else (outputs,)
    arguments = forward.schema.arguments
    return len(arguments) == IMAGE_AND_SELF and all(isinstance(part, Tensor) for part in parts)


def _flattened(module: torch.jit.ScriptModule, example: Tensor) -> torch.jit.ScriptModule:
    """TorchScript that gives its tensors in one tuple; its own branches stay branches."""
    flat: torch.jit.ScriptModule = torch.jit.trace(  # type: ignore[no-untyped-call] # torch does not say what it takes
        _Flat(module).eval(), example, check_trace=False
    )
    return flat


class _Flat(nn.Module):
    """The module with all tensors it returns in one tuple, none of them twice."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        tensors = [tensor for _, tensor in tensor_leaves(self.module(x))]
        first = {id(tensor): index for index, tensor in reversed(list(enumerate(tensors)))}
        return tuple(t if first[id(t)] == i else t.clone() for i, t in enumerate(tensors))


def _program(module: nn.Module, chw: Sequence[int], dynamic: bool) -> ExportedProgram:
    """Capture with every batch size, else with a batch of one."""
    first: Exception | None = None
    for batch in (2, 1) if dynamic else (1,):
        shapes = ({0: Dim(BATCH)},) if batch > 1 else None
        for strict in (False, True):
            sample = (torch.zeros(batch, *chw),)
            try:
                return torch.export.export(module, sample, dynamic_shapes=shapes, strict=strict)
            except Exception as error:
                first = first or error
    assert first is not None
    raise first


def _written(program: ExportedProgram, names: list[str], opset: int) -> ir.Model:
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
    name_by_module(exported.model)
    return exported.model


def _decomposed(program: ExportedProgram, names: list[str], opset: int) -> ir.Model:
    try:
        return _written(program, names, opset)
    except Exception as error:
        raise export_errors.operator_error(error) from error
