"""The training-time transform: imported by name, called with paths, its tensors converted."""

import importlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from edgecnn_export.loading.user_modules import running_user_code
from edgecnn_runtime.bundle.manifest import Input
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.types import Floats

Transform: TypeAlias = Callable[[str], Any]
"""The path of a picture → what the network was fed in training."""

NAME = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")
EXAMPLE = "def transform(path): return tf(Image.open(path).convert('RGB'))"


class TensorError(ValueError):
    """A transform's result for one picture is not what the network takes."""


def load_transform(name: str) -> Transform:
    """Import a transform. This runs the code that ``name`` names.

    Args:
        name: ``package.module:callable``; the current folder is searched last.

    Raises:
        UsageError: It cannot be imported, or is not callable.
    """
    if not NAME.match(name):
        raise UsageError(f"--transform {name!r} is not package.module:callable")
    module_name, _, attribute = name.partition(":")
    try:
        with running_user_code():
            transform: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--transform {name}: no module named {error.name}; type the command in the "
            "folder that holds it, or install it"
        ) from None
    except Exception as error:
        raise UsageError(
            f"--transform {name}: importing {module_name} failed: {type(error).__name__}: {error}"
        ) from error
    for part in attribute.split("."):
        if not hasattr(transform, part):
            raise UsageError(f"--transform {name}: {module_name} has no {attribute}")
        transform = getattr(transform, part)
    if not callable(transform):
        raise UsageError(f"--transform {name} is a {type(transform).__name__}: it must be callable")
    function: Transform = transform
    return function


def tensor(transform: Transform, path: Path, spec: Input) -> Floats:
    """A transform's tensor for one picture: float32[C,H,W], the caller's own copy.

    The transform may return a tensor of torch, TensorFlow or JAX, an array or a PIL image; C,H,W or
    H,W,C, alone or as a batch of one, or under "image" in a dict.

    Args:
        transform: The transform.
        path: The picture.
        spec: What the network takes.

    Raises:
        TensorError: The transform returns anything else, or raises an exception.
    """
    try:
        with running_user_code():
            value = transform(str(path))
    except Exception as error:  # whatever the user's code raises is the finding
        hint = f"; it is called with a path: {EXAMPLE}" if isinstance(error, TypeError) else ""
        raise TensorError(f"it raises {type(error).__name__}: {error}{hint}") from error
    if isinstance(value, Mapping) and "image" in value:
        value = value["image"]
    if value is None:
        raise TensorError("it gives None: does it return its tensor?")
    try:
        array = np.array(_array(value), dtype=np.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TensorError(f"it gives a {type(value).__name__}, not a tensor: {error}") from error
    return _planes(array, spec)


def _array(value: Any) -> Any:
    """A tensor as an array, by its methods: no framework is imported for it."""
    short = "bfloat16" in str(getattr(value, "dtype", ""))  # which NumPy does not have
    for step in ("detach", "cpu", *(["float"] if short else []), "numpy"):
        method = getattr(value, step, None)
        if callable(method) and not isinstance(value, np.ndarray):
            value = method()
    return value


def _planes(array: Floats, spec: Input) -> Floats:
    shape = array.shape
    if array.ndim == 4 and shape[0] == 1:
        array = array[0]
    if array.ndim == 2:
        array = array[None]
    channels = 1 if spec.color == "gray" else 3
    expected = (channels, spec.height, spec.width)
    if array.shape != expected and array.shape == (*expected[1:], channels):
        array = np.ascontiguousarray(array.transpose(2, 0, 1))
    if array.shape != expected:
        raise TensorError(f"it gives {_words(shape)}, the bundle feeds {_words(expected)}")
    if not np.isfinite(array).all():
        raise TensorError("it gives NaN or infinity")
    return array


def _words(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "one number"
