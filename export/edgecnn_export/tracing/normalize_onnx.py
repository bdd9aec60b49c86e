"""A graph from elsewhere, brought to the size, batch and operator set that was asked for."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import helper, numpy_helper, version_converter
from onnx_ir.passes.common import (
    LiftConstantsToInitializersPass,
    RemoveInitializersFromInputsPass,
)

from edgecnn_export.tracing.naming import BATCH, INPUT, rename
from edgecnn_export.tracing.strip_nms import strip_nms
from edgecnn_runtime.backends.ort_session import FATAL, open_session
from edgecnn_runtime.errors import UnsupportedModelError

OLDEST_OPSET = 13
"""Per-channel QuantizeLinear needs it; engines read everything from there on."""
GOOD_OPSET = 18
TOLERANCE = 1e-3
"""Relative: the same picture alone and in a batch may be added up in another order."""

Planes = NDArray[np.float32]


def normalize_onnx(
    model: onnx.ModelProto, *, height: int, width: int, channels: int, opset: int
) -> onnx.ModelProto:
    """A copy with one input ``input`` float32[batch,channels,height,width].

    Batch is dynamic where two pictures at once give what each gives alone, else the one size the
    graph takes. A graph that ends in NonMaxSuppression is cut before it. What is returned has run
    in ONNX Runtime and gave what the graph gave before its operator set was converted.
    Raises UnsupportedModelError for several inputs, another channel count, a size the graph does
    not take, and an operator set that cannot be converted.
    """
    working = ir.from_proto(model)
    RemoveInitializersFromInputsPass()(working)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(working)
    given: onnx.ModelProto = ir.to_proto(working)
    name, own = _only_input(given, channels)
    rename(given.graph, name, INPUT)
    _check_fixed_sizes(given.graph, own, (height, width))
    strip_nms(given.graph)
    size = (channels, height, width)
    alone, expected = _run_at(given, size, own)
    converted = _at_opset(given, alone, expected, opset)
    batch = len(expected.planes)
    if batch == 1:
        for free in _batched(converted, (BATCH, *size)):
            shapes = _shapes_in_batches(free, size)
            if shapes is not None:
                return _with_output_shapes(free, shapes)
    shapes = [tuple(output.shape) for output in expected.outputs]
    return _with_output_shapes(_sized(converted, (batch, *size)), shapes)


def _only_input(model: onnx.ModelProto, channels: int) -> tuple[str, tuple[int, ...]]:
    """Name and shape (0: free) of the one picture the graph reads."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise UnsupportedModelError(
            f"the graph has {len(inputs)} inputs ({names}); a bundle feeds one picture: make the "
            "others constants, or export the part that reads the picture"
        )
    kind = inputs[0].type.tensor_type
    dims = kind.shape.dim
    if kind.elem_type != onnx.TensorProto.FLOAT or len(dims) != 4:
        shape = [dim.dim_value or dim.dim_param or "?" for dim in dims]
        dtype = helper.tensor_dtype_to_string(kind.elem_type).split(".")[-1].lower()
        raise UnsupportedModelError(
            f"the graph's input {inputs[0].name!r} is {dtype}{shape}; a bundle is made from "
            "float32[N,C,H,W]: export the model without its preprocessing"
        )
    if dims[1].dim_value not in {0, channels}:
        raise UnsupportedModelError(
            f"the graph's input has {dims[1].dim_value} channels, and {channels} were asked for: "
            "--color gray is one channel, rgb and bgr are three"
        )
    return inputs[0].name, tuple(dim.dim_value for dim in dims)


def _check_fixed_sizes(graph: onnx.GraphProto, own: Sequence[int], asked: tuple[int, int]) -> None:
    """Refuse another size than the graph's own where it would scale to sizes written into it."""
    if all(mine in {0, wanted} for mine, wanted in zip(own[2:], asked, strict=True)):
        return
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Resize" and len(node.input) > 3 and node.input[3] in constants:
            raise UnsupportedModelError(
                f"the graph scales to a fixed size inside (node {node.name or node.output[0]}), so "
                f"it cannot take {asked[1]}x{asked[0]}: use its own, --input {own[3]}x{own[2]}, or "
                "export it again at that size"
            )


class _Expected:
    """Pictures and what the graph gave for them."""

    def __init__(self, model: onnx.ModelProto, planes: Planes) -> None:
        self.planes = planes
        self.outputs = _run(model, planes)

    def given_by(self, model: onnx.ModelProto) -> bool:
        """Whether another graph gives the same."""
        try:
            found = _run(model, self.planes)
        except Exception:
            return False
        return all(_close(a, b) for a, b in zip(found, self.outputs, strict=True))


def _pictures(count: int, size: Sequence[int]) -> Planes:
    return np.random.default_rng(count).uniform(-1, 1, (count, *size)).astype(np.float32)


def _run_at(
    model: onnx.ModelProto, size: Sequence[int], own: Sequence[int]
) -> tuple[onnx.ModelProto, _Expected]:
    """The graph at this size: one picture at a time, else as many as it was exported with."""
    first: Exception | None = None
    for batch in dict.fromkeys((1, own[0] or 1)):
        sized = _sized(model, (batch, *size))
        try:
            return sized, _Expected(sized, _pictures(batch, size))
        except Exception as error:
            first = first or error
    assert first is not None
    raise _wrong_size(own, size, first) from first


def _at_opset(
    model: onnx.ModelProto, alone: onnx.ModelProto, expected: _Expected, opset: int
) -> onnx.ModelProto:
    """The graph in an operator set up to ``opset``, converted where it is old and that is exact."""
    found = next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), 1)
    if GOOD_OPSET <= found <= opset:
        return model
    for target in dict.fromkeys((opset, GOOD_OPSET)):
        try:
            if expected.given_by(version_converter.convert_version(alone, target)):
                return version_converter.convert_version(model, target)
        except (RuntimeError, ValueError, version_converter.ConvertError):
            continue
    if OLDEST_OPSET <= found <= opset:
        return model
    raise UnsupportedModelError(
        f"operator set {found} cannot be brought to {opset}: export the model again with "
        f"opset_version={opset}"
    )


def _sized(model: onnx.ModelProto, shape: Sequence[int | str]) -> onnx.ModelProto:
    """A copy with this input shape, and every other shape inferred anew."""
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    graph = sized.graph
    del graph.value_info[:]
    for value in graph.input:
        if value.name == INPUT:
            value.CopyFrom(helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, shape))
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(sized, data_prop=True)


def _batched(model: onnx.ModelProto, shape: Sequence[int | str]) -> Iterator[onnx.ModelProto]:
    """The graph with a free batch as it is, and with ``1`` in Reshape targets made "as before"."""
    yield _sized(model, shape)
    freed = onnx.ModelProto()
    freed.CopyFrom(model)
    targets = {
        node.input[1]
        for node in freed.graph.node
        if node.op_type == "Reshape"
        and not any(a.name == "allowzero" and a.i for a in node.attribute)
    }
    for tensor in freed.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.name in targets and values.ndim == 1 and len(values) > 1 and values[0] == 1:
            tensor.CopyFrom(numpy_helper.from_array(np.array([0, *values[1:]]), tensor.name))
    yield _sized(freed, shape)


def _shapes_in_batches(
    model: onnx.ModelProto, size: Sequence[int]
) -> list[tuple[int | str, ...]] | None:
    """Output shapes, where two pictures at once give what each gives alone; else None."""
    planes = _pictures(2, size)
    try:
        both, *alone = (_run(model, part) for part in (planes, planes[:1], planes[1:]))
    except Exception:
        return None
    axes = [_stacked(a, parts) for a, *parts in zip(both, *alone, strict=True)]
    if None in axes:
        return None
    return [
        tuple(BATCH if i == axis else n for i, n in enumerate(output.shape))
        for output, axis in zip(both, axes, strict=True)
    ]


def _stacked(both: NDArray[Any], alone: Sequence[NDArray[Any]]) -> int | None:
    """The axis along which ``both`` is the others one after the other; None without one."""
    axes = [i for i, (a, b) in enumerate(zip(both.shape, alone[0].shape, strict=False)) if a != b]
    if len(axes) != 1 or any(part.shape[axes[0]] != 1 for part in alone):
        return None
    return axes[0] if _close(both, np.concatenate(alone, axes[0])) else None


def _with_output_shapes(
    model: onnx.ModelProto, shapes: Sequence[Sequence[int | str]]
) -> onnx.ModelProto:
    for output, shape in zip(model.graph.output, shapes, strict=True):
        kind = output.type.tensor_type.elem_type
        output.CopyFrom(helper.make_tensor_value_info(output.name, kind, shape))
    return model


def _close(found: NDArray[Any], wanted: NDArray[Any]) -> bool:
    if found.shape != wanted.shape:
        return False
    scale = float(np.abs(wanted).max(initial=0)) or 1.0
    return bool(np.abs(found - wanted).max(initial=0) <= TOLERANCE * scale)


def _run(model: onnx.ModelProto, planes: Planes) -> list[NDArray[Any]]:
    session = open_session(model.SerializeToString(), severity=FATAL)
    return list(session.run(None, {INPUT: planes}))


def _wrong_size(own: Sequence[int], size: Sequence[int], error: Exception) -> UnsupportedModelError:
    _, height, width = size
    reason = " ".join(str(error).split())[:300]
    advice = (
        f"its own size is {own[3]}x{own[2]}: --input {own[3]}x{own[2]}, or export it again at "
        f"{width}x{height}"
        if own[2] and own[3]
        else "try a multiple of 32 in both directions"
    )
    return UnsupportedModelError(
        f"the graph does not run at {width}x{height}; {advice} (ONNX Runtime: {reason})"
    )
