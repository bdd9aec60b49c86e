"""Errors of torch and of its exporter, traced to what a person can change: module, file, line."""

import linecache
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.utils._python_dispatch import TorchDispatchMode

from edgecnn_export.loading.image_input import kind_of
from edgecnn_export.loading.loaded import first_conv_channels
from edgecnn_runtime.errors import UnsupportedModelError

USUAL_SIZES = (224, 256, 384, 512, 640, 320, 299, 112, 96, 64, 32, 28)
SIZE_ERRORS = (RuntimeError, ValueError, IndexError, AssertionError)
"""What torch and Python raise where sizes do not fit; other errors are mistakes in the code."""
DEVICE = re.compile(r"\bcuda\b|nvidia", re.IGNORECASE)
SCRIPT_REASON = re.compile(
    r"TorchScript.*^(?:\w+Error|\w*Exception): ([^\n]+)", re.DOTALL | re.MULTILINE
)
TORCH = str(Path(torch.__file__).parent)
PACKAGE = str(Path(__file__).parents[1])
LONG = 200
MODULE_CALL = "torch/nn/modules/module.py"


def size_error(module: nn.Module, sample: Tensor, error: Exception) -> UnsupportedModelError:
    """A module that does not take float32[N,C,H,W]: the reason, and what it does take."""
    _, channels, height, width = sample.shape
    message = (
        f"{kind_of(module)} cannot take {_pictures(channels)} of {width}x{height} "
        f"(width x height): {_reason(error)}{_at(module, error)}"
    )
    return UnsupportedModelError(f"{message}\n{_advice(module, sample, error)}")


def _advice(module: nn.Module, sample: Tensor, error: Exception) -> str:
    """What to do about a forward() that failed, as far as trying can tell."""
    if problem := _other_problem(module, error):
        return problem
    _, channels, height, width = sample.shape
    expected = first_conv_channels(module)
    if expected not in {channels, None} and _takes(module, sample[:, :1].repeat(1, expected, 1, 1)):
        return f"its first convolution takes {expected}: {_color(expected)}"
    if _takes(module, sample.permute(0, 2, 3, 1)):
        return (
            "it takes N,H,W,C, and a bundle feeds N,C,H,W: export a module whose forward(self, x) "
            "returns self.net(x.permute(0, 2, 3, 1))"
        )
    for side in USUAL_SIZES:
        if _takes(module, sample.new_zeros(len(sample), channels, side, side)):
            return f"it takes --input {side}x{side}"
    return (
        f"it takes none of the usual sizes either: if it was trained with another one than "
        f"{width}x{height}, give that: --input WIDTHxHEIGHT"
    )


def _other_problem(module: nn.Module, error: Exception) -> str:
    """What is wrong, where it cannot be the size of the picture; else ""."""
    if DEVICE.search(str(error)):
        return (
            "its code asks for a GPU, and export runs on the CPU: write device=x.device where it "
            "makes tensors; trace TorchScript again after model.cpu()"
        )
    if any(parameter.ndim == 5 for parameter in module.parameters()):
        return (
            "it has three-dimensional convolutions, as video and volume models have: they read "
            "several images at once, and a bundle feeds one"
        )
    if not isinstance(error, SIZE_ERRORS):
        return "that is an error in the network's code, whatever the size of the picture"
    return ""


def check_rows(shapes: Mapping[str, Sequence[int]], batch: int) -> None:
    """Refuse outputs that cannot be told apart by picture.

    With one picture, any axis may be all of its rows: what they mean is judged with the head.

    Raises:
        UnsupportedModelError: An output has no axis, or none of a larger batch's size.
    """
    odd = {n: s for n, s in shapes.items() if not s or (batch > 1 and batch not in s)}
    if odd:
        outputs = ", ".join(f"{name}{list(shape)}" for name, shape in odd.items())
        raise UnsupportedModelError(
            f"for a batch of {batch} the model gives {outputs}: no axis has a row for each "
            "picture, because a size in the model is fixed, or it is no result of a picture, like "
            "a loss. Give outputs whose first axis is the batch, and export again"
        )


def random_error(module: nn.Module, sample: Tensor) -> UnsupportedModelError:
    """A module that gives other results each time: the operator that draws random numbers."""
    operator = _random_operator(module, sample)
    reason = (
        f"it draws random numbers{operator}\ngive F.dropout training=self.training, leave noise "
        "out, take the mean of a distribution instead of a sample, and export it then"
        if operator
        else "it draws random numbers outside torch, or remembers something of the picture before\n"
        "let forward() depend on the picture and the weights alone, and export it then"
    )
    return UnsupportedModelError(
        f"{kind_of(module)} gives other results for the same picture from run to run, in eval(): "
        f"{reason}"
    )


def check_eval(module: nn.Module) -> None:
    """Refuse a module that leaves evaluation mode when it runs.

    Raises:
        UnsupportedModelError: A part of it is in training mode; the message names it.
    """
    for name, part in module.named_modules():
        if part.training:
            raise UnsupportedModelError(
                f"forward() of {kind_of(module)} switches {name or 'the model itself'} "
                f"({kind_of(part)}) to training mode: leave train() out of it"
            )


class _RandomOperators(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch does not say what it takes
    """Notes the first operator that draws random numbers, and where Python called it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch does not say what it takes
        self.first = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags and not self.first:
            self.first = f" ({func.name()}){_calling_line()}"
        return func(*args, **(kwargs or {}))


def _random_operator(module: nn.Module, sample: Tensor) -> str:
    operators = _RandomOperators()
    with operators:
        module(sample)
    return operators.first


def _calling_line() -> str:
    """The innermost line of the network's own Python that is running; "" in TorchScript."""
    frames = traceback.extract_stack()[:-2]
    for frame in reversed(frames):
        if frame.filename.startswith(PACKAGE):
            return ""
        if not frame.filename.startswith((TORCH, "<")):
            return f"\n  {frame.filename}:{frame.lineno}: {frame.line}"
    return ""


def trace_error(module: nn.Module, error: Exception) -> UnsupportedModelError:
    """Python that torch.export cannot follow: the line, and the module it is in."""
    text = str(error)
    reason = _first_lines(error)
    if "data-dependent" in text:
        reason = "values it computes decide which code runs next (an `if` or a shape)"
    script = (
        ", or export a TorchScript file of it: torch.jit.script(model).save('model.ts')"
        if _can_be_scripted(module)
        else ""
    )
    return UnsupportedModelError(
        f"{kind_of(module)} cannot be traced: {reason}{_at(module, error)}\n"
        f"write it with tensor operations (torch.where instead of `if`){script}"
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
            if id(owner) not in names or file.startswith(PACKAGE) or MODULE_CALL in file:
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


def _can_be_scripted(module: nn.Module) -> bool:
    try:
        torch.jit.script(module)
    except Exception:
        return False
    return True


def _pictures(channels: int) -> str:
    return {1: "gray pictures", 3: "color pictures"}.get(channels, f"{channels}-channel pictures")


def _color(channels: int) -> str:
    return {1: "add --color gray", 3: "add --color rgb (or bgr)"}.get(
        channels, "a camera gives 3 channels, so this model cannot read one"
    )


def _reason(error: BaseException) -> str:
    """What an error says first; of TorchScript's, the line after its traceback."""
    match = SCRIPT_REASON.search(str(error))
    text = match[1] if match else _first_lines(error)
    return text if len(text) < LONG else text.partition(". ")[0][:400]


def _first_lines(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return " ".join(lines[:2])[:400] or type(error).__name__


def _last(error: BaseException) -> str:
    *_, root = _causes(error)
    return _first_lines(root)
