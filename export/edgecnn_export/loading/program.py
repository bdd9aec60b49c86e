"""An exported program (.pt2) as a module of one argument: the image."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, TensorArgument
from torch.utils import _pytree as pytree

from edgecnn_export.loading.image_input import check_image, is_nhwc, several_inputs
from edgecnn_runtime.errors import UnsupportedModelError

UNBOUNDED = 1 << 16
"""A batch that is limited to no less is not limited."""


class ProgramModule(nn.Module):
    """Calls a program with one image, wherever in its arguments the image belongs.

    The image may be a keyword argument, or inside a dict or list.
    """

    def __init__(self, program: ExportedProgram, module: nn.Module) -> None:
        """Wrap what ``program.module()`` gave."""
        super().__init__()
        self.program_module = module
        self._spec: Any = program.call_spec.in_spec
        signature = program.graph_signature.input_specs
        inputs = [spec.arg for spec in signature if spec.kind is InputKind.USER_INPUT]
        self._arguments = [
            arg.value if isinstance(arg, ConstantArgument) else None for arg in inputs
        ]
        self._position = [isinstance(arg, TensorArgument) for arg in inputs].index(True)
        self._channels_last = _is_channels_last(image_of(program))

    def forward(self, image: Tensor) -> Any:
        """What the program gives for float32[N,C,H,W]."""
        if self._channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        arguments: list[Any] = [*self._arguments]
        arguments[self._position] = image
        args, kwargs = pytree.tree_unflatten(arguments, self._spec)
        return self.program_module(*args, **kwargs)


def image_of(program: ExportedProgram) -> Tensor:
    """The fake tensor that stands for the program's image."""
    return _inputs(program)[0][1]


def batch_of(program: ExportedProgram) -> int | None:
    """How many images the program takes at once; the fewest, where it does not take any number."""
    size = image_of(program).shape[0]
    if isinstance(size, int):
        return size
    bounds = program.range_constraints.get(size.node.expr)
    if bounds is None or (bounds.lower <= 1 and bounds.upper >= UNBOUNDED):
        return None
    return max(int(bounds.lower), 1)


def check_program_input(program: ExportedProgram, path: object) -> None:
    """Refuse a program that reads anything but one float32 image.

    Raises:
        UnsupportedModelError: It does; the message has the names and shapes of its inputs.
    """
    inputs = _inputs(program)
    if len(inputs) != 1:
        described = [f"{name} {_dtype(value)}{list(value.shape)}" for name, value in inputs]
        raise several_inputs(described, path)
    name, image = inputs[0]
    check_image(name, _dtype(image), list(image.shape), path)
    if is_nhwc([size if isinstance(size, int) else None for size in image.shape]):
        raise UnsupportedModelError(
            f"{path} reads N,H,W,C {list(image.shape)}, and a bundle feeds N,C,H,W: export a "
            "module whose forward(self, x) returns self.net(x.permute(0, 2, 3, 1))"
        )


def _inputs(program: ExportedProgram) -> list[tuple[str, Tensor]]:
    names = set(program.graph_signature.user_inputs)
    nodes = [node for node in program.graph.find_nodes(op="placeholder") if node.name in names]
    return [(n.name, n.meta["val"]) for n in nodes if isinstance(n.meta["val"], Tensor)]


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _is_channels_last(image: Tensor) -> bool:
    last = image.is_contiguous(memory_format=torch.channels_last)
    return last and not image.is_contiguous()
