"""Models that are quantized already, recognized in every kind of file and refused as such.

INT8 is made here, for each kind of chip and judged by its accuracy, from the float model.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from edgecnn_runtime.errors import UnsupportedModelError

PICKLED = re.compile(r"torchao\.|bitsandbytes\.|torch\.(ao\.)?nn\.(intrinsic\.)?quantized\.")
"""Classes of quantized layers and weights, as pickles name them."""
CODE = re.compile(
    rb"\bops\.quantized\b|classes\.quantized\b|\bquantize_per_(tensor|channel)\b"
    rb"|\bquantized_decomposed\b|\b(de)?quantize_affine\b"
)
"""Operators on quantized values, in the code of TorchScript and the graph of exported programs."""
GRAPHS = (".py", ".json")
"""How the members of an archive end that have code or a graph."""
OPERATORS = re.compile(
    r"(Dynamic)?QuantizeLinear|DequantizeLinear|QLinear\w+|QGemm|QAttention|\w+Integer|\w+NBits"
)
"""ONNX operators on quantized values, of the standard and of ONNX Runtime."""
NAMES = re.compile(r"(.*\.)?(_packed_params|qweight|SCB)")
"""Keys of state dicts that hold quantized weights."""
SMALL = (torch.int8, torch.uint8, torch.float8_e4m3fn, torch.float8_e5m2)


def check_pickle(imports: Iterable[str], path: Path) -> None:
    """Refuse a pickle that imports quantized layers.

    Raises:
        UnsupportedModelError: It does.
    """
    for name in imports:
        if PICKLED.match(name):
            raise _quantized(path, f"it has {name}")


def check_archive(members: Mapping[str, bytes], path: Path) -> None:
    """Refuse TorchScript or an exported program that computes with quantized values.

    Raises:
        UnsupportedModelError: It does.
    """
    for name, content in members.items():
        if name.endswith(GRAPHS) and (match := CODE.search(content)):
            raise _quantized(path, f"{name} has {match[0].decode()}")


def check_operators(operators: Iterable[str], path: Path) -> None:
    """Refuse an ONNX graph that computes with quantized values.

    Raises:
        UnsupportedModelError: It does.
    """
    for name in operators:
        if OPERATORS.fullmatch(name):
            raise _quantized(path, f"it has {name}")


def check_weights(content: object, path: Path) -> None:
    """Refuse weights that are quantized.

    Args:
        content: What torch.load returned, or a state dict.
        path: The file, for messages.

    Raises:
        UnsupportedModelError: Some are.
    """
    for name, value in _entries(content):
        # torch.ao packs the weight and the bias of a layer into one tuple
        for tensor in value if isinstance(value, tuple) else (value,):
            if isinstance(tensor, Tensor) and (
                tensor.is_quantized or (name.endswith("weight") and tensor.dtype in SMALL)
            ):
                raise _quantized(path, f"{name} is {str(tensor.dtype).removeprefix('torch.')}")
        if NAMES.fullmatch(name):
            raise _quantized(path, f"it has {name}")


def _entries(content: object, depth: int = 8) -> Iterator[tuple[str, object]]:
    if isinstance(content, Mapping) and depth:
        for name, value in content.items():
            yield str(name), value
            yield from _entries(value, depth - 1)


def _quantized(path: Path, sign: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"{path} is quantized already ({sign}). Give the float model that it was made from, and "
        "add --int8 --calib DIR: export quantizes it for each kind of chip, and checks its accuracy"
    )
