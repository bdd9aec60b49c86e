"""A PyTorch model becomes a float NCHW ONNX graph, or an error that names the line to change."""

import io
from collections.abc import Sequence

import onnx
import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from edgecnn_export.tracing import export_errors as blame
from edgecnn_export.tracing.decomposition import restore_decomposition, skip_decomposition
from edgecnn_export.tracing.naming import BATCH, INPUT, name_by_module
from edgecnn_export.tracing.output_tree import output_names, tensor_leaves
from edgecnn_export.tracing.silence import silence


def capture(module: nn.Module, *, height: int, width: int, channels: int, opset: int) -> ir.Model:
    """Trace an evaluation-mode module on the CPU.

    Returns a graph with one input ``input`` float32[batch,channels,height,width] and the module's
    tensors as outputs, named by ``output_names``. Where the module cannot take every batch size,
    batch is 1.
    Raises UnsupportedModelError for a size or a channel count that the module cannot take, for
    Python that cannot be traced and for operators that ONNX cannot express.
    """
    with silence(), torch.no_grad():
        shown = _show(module, (channels, height, width))
        names = output_names(shown[0])
        flat = module if isinstance(shown[0], Tensor) else _Flat(module).eval()
        try:
            program = _program(flat, (channels, height, width), _batch_axes(shown) is not None)
        except Exception as error:
            raise blame.trace_error(module, error) from error
        skip_decomposition(program)
        try:
            return _written(program, names, opset)
        except Exception:
            restore_decomposition(program)
        return _decomposed(program, names, opset)


def capture_program(
    program: ExportedProgram, module: nn.Module, sample: Tensor, *, opset: int
) -> ir.Model:
    """Write an exported program as it is: its sizes and its batch stay what they are.

    module: the program's own. sample: float32[N,C,H,W] that it takes.
    Raises UnsupportedModelError as ``capture`` does.
    """
    with silence(), torch.no_grad():
        try:
            names = output_names(module(sample))
        except RuntimeError as error:
            raise blame.size_error(module, sample, error) from error
        return _decomposed(program, names, opset)


def capture_script(
    module: torch.jit.ScriptModule, *, height: int, width: int, channels: int, opset: int
) -> ir.Model:
    """Write a TorchScript module; as ``capture``, but whether the batch is free is not proven."""
    with silence(), torch.no_grad():
        shown = _show(module, (channels, height, width))
        names = output_names(shown[0])
        found = _batch_axes(shown)
        axes = {name: {axis: BATCH} for name, axis in zip(names, found or (), strict=False)}
        buffer = io.BytesIO()
        try:
            torch.onnx.export(
                module,
                (torch.zeros(2 if found else 1, channels, height, width),),
                buffer,  # type: ignore[arg-type]
                input_names=[INPUT],
                output_names=names,
                opset_version=opset,
                dynamic_axes={INPUT: {0: BATCH}, **axes} if found else None,
                dynamo=False,
            )
        except Exception as error:
            raise blame.operator_error(error) from error
    return ir.from_proto(onnx.load_model_from_string(buffer.getvalue()))


def _show(module: nn.Module, chw: Sequence[int]) -> list[object]:
    """What the module gives for one picture, and for two where it takes two."""
    try:
        shown = [module(torch.zeros(1, *chw))]
    except Exception as error:
        raise blame.size_error(module, torch.zeros(1, *chw), error) from error
    try:
        return [*shown, module(torch.zeros(2, *chw))]
    except Exception:
        return shown


def _batch_axes(shown: Sequence[object]) -> list[int] | None:
    """The axis of each output that grows with the batch; None where the batch is not free."""
    if len(shown) < 2:
        return None
    one, two = ([tuple(tensor.shape) for _, tensor in tensor_leaves(value)] for value in shown)
    grown = [
        [i for i, sizes in enumerate(zip(a, b, strict=False)) if sizes == (1, 2)]
        for a, b in zip(one, two, strict=False)
    ]
    return [axes[0] for axes in grown] if all(grown) else None


class _Flat(nn.Module):
    """The module with its tensors in one tuple, whatever it returns; each a tensor of its own."""

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
        raise blame.operator_error(error) from error
