"""What a bundle can feed a model, one float32 image, and the refusal of everything else."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from edgecnn_runtime.errors import UnsupportedModelError

ONE_IMAGE = "a bundle feeds one image"
OTHER_FLOATS = frozenset({"float16", "bfloat16", "float64"})


def is_nhwc(shape: Sequence[int | None]) -> bool:
    """Whether a shape of four axes has its channels last.

    The last axis is 1 or 3 and the second is not; or it is 2 or 4 and the second is none of 1 to 4.
    """
    _, second, _, last = shape
    if last in {1, 3}:
        return second not in {1, 3}
    return last in {2, 4} and second not in {1, 2, 3, 4}


def check_arguments(module: nn.Module, path: object) -> None:
    """Refuse a module without ``forward``, or whose ``forward`` needs more than one argument.

    Raises:
        UnsupportedModelError: It is one; the message has the names of the arguments.
    """
    forward: Any = getattr(module, "forward", None)
    if forward is None or getattr(forward, "__name__", "") == "_forward_unimplemented":
        raise UnsupportedModelError(
            f"{path}: {kind_of(module)} has no forward(): wrap it in a module whose "
            "forward(self, x) calls the method that takes the image"
        )
    names = _required_arguments(module)
    if len(names) > 1:
        raise UnsupportedModelError(
            f"{path}: forward() of {kind_of(module)} needs {len(names)} inputs "
            f"({', '.join(names)}); {ONE_IMAGE}: give the others a default value, or wrap the "
            "network in a module whose forward(self, x) passes constants for them"
        )


def several_inputs(inputs: Sequence[str], path: object) -> UnsupportedModelError:
    """The refusal of a graph or program with these inputs, or with none."""
    return UnsupportedModelError(
        f"{path} has {len(inputs)} inputs ({', '.join(inputs) or 'none'}); {ONE_IMAGE}: make the "
        "others constants, or export the part that reads the image"
    )


def check_image(name: str, dtype: str, shape: Sequence[object], path: object) -> None:
    """Refuse an input that is not float32 with four axes.

    Raises:
        UnsupportedModelError: It is anything else; the message says what it is and what to do.
    """
    described = f"{path}: its input {name!r} is {dtype}[{','.join(map(str, shape))}]"
    if dtype in OTHER_FLOATS:
        raise UnsupportedModelError(
            f"{described}; a bundle is made from float32: call model.float(), give a float32 "
            "example input, and export it again"
        )
    if dtype != "float32":
        raise UnsupportedModelError(
            f"{described}; a bundle is made from float32[N,C,H,W]: export the model without its "
            "preprocessing"
        )
    if len(shape) == 5:
        raise UnsupportedModelError(
            f"{described}, five axes, as video and volume models have: they read several images "
            f"at once, and {ONE_IMAGE} of four axes, N,C,H,W"
        )
    if len(shape) != 4:
        raise UnsupportedModelError(
            f"{described}; {ONE_IMAGE} of four axes, N,C,H,W: export the model with an example "
            "input such as torch.zeros(1, 3, 224, 224)"
        )


def kind_of(module: nn.Module) -> str:
    """The name of a module's class, also of one that TorchScript holds."""
    return str(getattr(module, "original_name", type(module).__name__))


def _required_arguments(module: nn.Module) -> list[str]:
    if isinstance(module, torch.jit.ScriptModule):
        forward: Any = module.forward
        arguments = forward.schema.arguments[1:]  # the first is self
        return [argument.name for argument in arguments if not argument.has_default_value()]
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):  # not every callable has a signature
        return []
    variable = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variable]
