"""A module run on a few random images: what it gives, along which axis, and whether it repeats."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgecnn_export.tracing import export_errors
from edgecnn_export.tracing.output_tree import output_names, tensor_leaves

TOLERANCE = 1e-3
"""Relative: an image alone and in a batch may be summed in another order."""
MAX_DIFFERENT = 0.1
"""The share of values that may differ because rounding broke a tie in another way."""


@dataclass(frozen=True)
class Samples:
    """What a module gave.

    Attributes:
        outputs: For one image, as the module returns them.
        names: Of the tensors in them, from ``output_names``.
        axes: The batch axis of each; None where two images together do not give what each gives
            alone.
    """

    outputs: Any
    names: list[str]
    axes: list[int] | None


def run_samples(module: nn.Module, chw: Sequence[int]) -> Samples:
    """Run a module on one random image, twice, and on another one, alone and with the first.

    Raises:
        UnsupportedModelError: The module does not take the size, gives no tensor, or draws random
            numbers.
    """
    images = random_images(2, chw)
    outputs = run_twice(module, images[:1])
    names = output_names(outputs)
    axes = _batch_axes(module, images, outputs)
    shapes = {name: t.shape for name, t in zip(names, _tensors(outputs), strict=True)}
    export_errors.check_rows(shapes, 1)
    return Samples(outputs, names, axes)


def run_twice(module: nn.Module, images: Tensor) -> Any:
    """What a module gives, which has to be the same both times.

    Raises:
        UnsupportedModelError: The module does not take the images, or draws random numbers.
    """
    try:
        outputs, again = module(images), module(images)
    except Exception as error:
        raise export_errors.size_error(module, images, error) from error
    pairs = zip(_tensors(outputs), _tensors(again), strict=False)
    if any(_different(*pair) for pair in pairs):
        raise export_errors.random_error(module, images)
    return outputs


def random_images(count: int, chw: Sequence[int]) -> Tensor:
    """Normally distributed float32[count,C,H,W], the same at each call."""
    return torch.randn(count, *chw, generator=torch.Generator().manual_seed(0))


def _tensors(outputs: object) -> list[Tensor]:
    return [tensor for _, tensor in tensor_leaves(outputs)]


def _batch_axes(module: nn.Module, images: Tensor, outputs: object) -> list[int] | None:
    """The batch axis of each output; None where one has none, or the module takes one image."""
    try:
        second, together = module(images[1:]), module(images)
    except Exception:
        return None
    triples = zip(_tensors(outputs), _tensors(second), _tensors(together), strict=False)
    axes = [_batch_axis(*triple) for triple in triples]
    return [axis for axis in axes if axis is not None] if None not in axes else None


def _batch_axis(first: Tensor, second: Tensor, together: Tensor) -> int | None:
    """The axis along which ``together`` is the first and then the second."""
    pairs = zip(first.shape, together.shape, strict=False)
    axes = [axis for axis, sizes in enumerate(pairs) if sizes == (1, 2)]
    if not axes or first.shape != second.shape:
        return None
    expected = torch.cat([first, second], axes[0])
    return axes[0] if _different(together, expected) <= MAX_DIFFERENT else None


def _different(values: Tensor, expected: Tensor) -> float:
    """The share of values that differ by more than rounding."""
    if values.shape != expected.shape:
        return 1.0
    if not values.numel():
        return 0.0
    limit = TOLERANCE * expected.double().abs().nan_to_num().max()
    return float(((values.double() - expected.double()).abs() > limit).double().mean())
