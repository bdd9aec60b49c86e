"""Errors of torch and of its exporter, traced to what a person can change: module, file, line."""

import linecache
import re
import traceback
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.fx import Node

from edgecnn_runtime.errors import UnsupportedModelError

USUAL_SIZES = (224, 256, 384, 512, 640, 320, 299, 112, 96, 64, 32, 28)


def size_error(module: nn.Module, sample: Tensor, error: Exception) -> UnsupportedModelError:
    """A module that does not take float32[1,C,H,W]: the reason, and a size it does take."""
    _, channels, height, width = sample.shape
    message = (
        f"{type(module).__name__} cannot take {_pictures(channels)} of {width}x{height} "
        f"(width x height): {_first_lines(error)}{_at(module, error)}"
    )
    expected = _first_channels(module)
    if expected is not None and expected != channels:
        return UnsupportedModelError(
            f"{message}\nits first convolution takes {expected}: {_color(expected)}"
        )
    for side in USUAL_SIZES:
        if _takes(module, sample.new_zeros(1, channels, side, side)):
            return UnsupportedModelError(f"{message}\nit takes --input {side}x{side}")
    return UnsupportedModelError(
        f"{message}\ngive the size it was trained with: --input WIDTHxHEIGHT"
    )


def trace_error(module: nn.Module, error: Exception) -> UnsupportedModelError:
    """Python that torch.export cannot follow: the line, and the module it is in."""
    text = str(error)
    reason = _first_lines(error)
    if "data-dependent" in text:
        reason = "values it computes decide which code runs next (an `if` or a shape)"
    return UnsupportedModelError(
        f"{type(module).__name__} cannot be traced: {reason}{_at(module, error)}\n"
        "write it with tensor operations (torch.where instead of `if`), or export a TorchScript "
        "file of it: torch.jit.script(model).save('model.ts')"
    )


def operator_error(error: Exception) -> UnsupportedModelError:
    """An operator without an ONNX form: its name, its module and its line of Python."""
    node = _failing_node(error)
    if node is None:
        return UnsupportedModelError(f"the model cannot be written as ONNX: {_last(error)}")
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    path = re.sub(r"^module\.?", "", str(path)) if _wrapped(stack) else str(path)
    kind = kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
    where = f" in {path or 'the model itself'} ({str(kind).rsplit('.', 1)[-1]})"
    source = _source(node.meta.get("stack_trace") or "")
    return UnsupportedModelError(
        f"ONNX has no form of {node.target}{where}{source}\n"
        "replace it there by operators that ONNX has, or leave that part out of the exported module"
    )


def _wrapped(stack: list[Any]) -> bool:
    return bool(stack) and str(stack[0][1]).endswith("_Flat")


def _source(trace: str) -> str:
    frames = re.findall(r'File "([^"]+)", line (\d+), in \S+\n\s*(.*)', trace)
    own = [frame for frame in frames if "site-packages/torch/" not in frame[0]] or frames
    if not own:
        return ""
    file, line, code = own[-1]
    return f"\n  {file}:{line}: {code}"


def _failing_node(error: BaseException) -> Node | None:
    """The FX node that the exporter was at: that of the innermost frame that has one."""
    failing: Node | None = None
    for cause in _causes(error):
        for frame, _ in traceback.walk_tb(cause.__traceback__):
            node = frame.f_locals.get("node")
            if isinstance(node, Node) and node.op == "call_function":
                failing = node
    return failing


def _at(module: nn.Module, error: BaseException) -> str:
    """Where in the model's own Python an error was raised: module path, file, line and code."""
    names = {id(child): name for name, child in module.named_modules()}
    for cause in _causes(error):
        for frame, number in reversed(list(traceback.walk_tb(cause.__traceback__))):
            file = frame.f_code.co_filename
            owner = frame.f_locals.get(next(iter(frame.f_code.co_varnames), ""))
            if id(owner) not in names or "torch/nn/modules/module.py" in file:
                continue
            path = names[id(owner)] or "the model itself"
            where = f"{file}:{number}: {linecache.getline(file, number).strip()}"
            return f"\n  in {path} ({type(owner).__name__}), {where}"
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _takes(module: nn.Module, sample: Tensor) -> bool:
    try:
        module(sample)
    except Exception:
        return False
    return True


def _first_channels(module: nn.Module) -> int | None:
    for child in module.modules():
        if isinstance(child, (nn.Conv2d, nn.ConvTranspose2d)):
            return int(child.in_channels)
    return None


def _pictures(channels: int) -> str:
    return {1: "gray pictures", 3: "color pictures"}.get(channels, f"{channels}-channel pictures")


def _color(channels: int) -> str:
    return {1: "add --color gray", 3: "add --color rgb (or bgr)"}.get(
        channels, "a camera gives 3 channels, so this model cannot read one"
    )


def _first_lines(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return " ".join(lines[:2])[:400] or type(error).__name__


def _last(error: BaseException) -> str:
    *_, root = _causes(error)
    return _first_lines(root)
