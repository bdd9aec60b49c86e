"""Names for the tensors a module returns, in any nesting."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from edgecnn_export.tracing.naming import INPUT, PIXELS
from edgecnn_runtime.errors import UnsupportedModelError

RESERVED = {INPUT, PIXELS}
"""Names of the graph's input."""


def tensor_leaves(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor in a tuple, list, dict, named tuple or dataclass, with its dotted path."""
    if isinstance(value, Tensor):
        yield path, value
        return
    for key, item in _items(value):
        yield from tensor_leaves(item, f"{path}.{key}" if path else str(key))


def output_names(value: Any) -> list[str]:
    """A distinct name for each of ``tensor_leaves(value)``.

    ``output`` for a single tensor, ``output0``, ``output1``, … for a tuple, the keys for a dict.

    Raises:
        UnsupportedModelError: There is no tensor.
    """
    paths = [path for path, _ in tensor_leaves(value)]
    if not paths:
        raise UnsupportedModelError(
            f"the model returns a {type(value).__name__} without tensors: export a module whose "
            "forward() returns a tensor, or a tuple, list or dict of tensors"
        )
    if paths == [""]:
        return ["output"]
    names: list[str] = []
    for path in paths:
        plain = re.sub(r"[^A-Za-z0-9_.\-]", "_", path)
        name = unique = f"output{plain}" if plain[0].isdigit() else plain
        number = 1
        while unique in names or unique in RESERVED:
            unique, number = f"{name}_{number}", number + 1
        names.append(unique)
    return names


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif hasattr(value, "_fields"):
        yield from zip(value._fields, value, strict=True)
    elif isinstance(value, (tuple, list)):
        yield from enumerate(value)
    elif hasattr(value, "__dataclass_fields__"):
        yield from ((name, getattr(value, name)) for name in value.__dataclass_fields__)
