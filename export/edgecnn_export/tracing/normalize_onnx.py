"""A graph from elsewhere, brought to the size, batch and operator set that was asked for."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import version_converter
from onnx_ir.passes import common

from edgecnn_export.loading.size import Size
from edgecnn_export.tracing.naming import BATCH, INPUT, rename
from edgecnn_export.tracing.strip_nms import strip_nms
from edgecnn_runtime.backends.ort_session import FATAL, open_session
from edgecnn_runtime.errors import UnsupportedModelError

OLDEST_OPSET = 13
"""Per-channel QuantizeLinear needs it; engines read everything from there on."""
GOOD_OPSET = 18
TOLERANCE = 1e-3
"""Relative: an image alone and in a batch may be summed in another order."""

Planes = NDArray[np.float32]


def normalize_onnx(model: ir.Model, size: Size, opset: int) -> ir.Model:
    """A copy with one input ``input`` float32[batch,channels,height,width].

    Batch is dynamic where two images at once give what each gives alone, else the one size the
    graph takes. A graph that ends in NonMaxSuppression is cut before it. The result has run in
    ONNX Runtime and gives what the graph gave before its operator set was converted.

    Args:
        model: One float input N,C,H,W; not changed.
        size: What the network shall take.
        opset: The newest operator set allowed.

    Raises:
        UnsupportedModelError: The graph has several inputs, another channel count, does not take
            the size, or its operator set cannot be converted.
    """
    model = model.clone()
    common.RemoveInitializersFromInputsPass()(model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    declared = _name_input(model.graph, size.channels)
    _check_fixed_sizes(model.graph, declared, size)
    strip_nms(model)
    expected = _run_at(model, size, declared)
    converted = _at_opset(model, expected, opset)
    batch = len(expected.planes)
    if batch == 1:
        for free in _batched(converted, (BATCH, *size.chw)):
            shapes = _shapes_in_batches(free, size)
            if shapes is not None:
                return _with_output_shapes(free, shapes)
    shapes = [tuple(output.shape) for output in expected.outputs]
    return _with_output_shapes(_sized(converted, (batch, *size.chw)), shapes)


def _name_input(graph: ir.Graph, channels: int) -> tuple[int, ...]:
    """Call the one image the graph reads ``input``; its declared sizes, 0 where free."""
    if len(graph.inputs) != 1:
        names = ", ".join(str(value.name) for value in graph.inputs) or "none"
        raise UnsupportedModelError(
            f"the graph has {len(graph.inputs)} inputs ({names}); a bundle feeds one picture: make "
            "the others constants, or export the part that reads the picture"
        )
    value = graph.inputs[0]
    sizes = tuple(size if isinstance(size, int) else 0 for size in value.shape or ())
    if value.dtype != ir.DataType.FLOAT or len(sizes) != 4:
        kind = f"{value.dtype}".lower() + str(list(value.shape or ()))
        raise UnsupportedModelError(
            f"the graph's input {value.name!r} is {kind}; a bundle is made from float32[N,C,H,W]: "
            "export the model without its preprocessing"
        )
    if sizes[1] not in {0, channels}:
        raise UnsupportedModelError(
            f"the graph's input has {sizes[1]} channels, and {channels} were asked for: "
            "--color gray is one channel, rgb and bgr are three"
        )
    rename(graph, value, INPUT)
    return sizes


def _check_fixed_sizes(graph: ir.Graph, declared: Sequence[int], size: Size) -> None:
    """Refuse another size than the graph's own where it would scale to sizes written into it."""
    if declared[2] in {0, size.height} and declared[3] in {0, size.width}:
        return
    for node in graph:
        sizes = node.inputs[3] if node.op_type == "Resize" and len(node.inputs) > 3 else None
        if sizes is not None and sizes.is_initializer():
            raise UnsupportedModelError(
                f"the graph scales to a fixed size inside (node {node.name or sizes.name}), so it "
                f"cannot take {size.width}x{size.height}: use its own, --input "
                f"{declared[3]}x{declared[2]}, or export it again at that size"
            )


class _Expected:
    """Images, and what the graph gave for them."""

    def __init__(self, model: ir.Model, planes: Planes) -> None:
        self.planes = planes
        self.outputs = _run(_sized(model, planes.shape), planes)

    def given_by(self, model: ir.Model) -> bool:
        """Whether another graph gives the same."""
        try:
            outputs = _run(_sized(model, self.planes.shape), self.planes)
        except Exception:
            return False
        return all(_close(a, b) for a, b in zip(outputs, self.outputs, strict=True))


def _images(count: int, size: Size) -> Planes:
    return np.random.default_rng(count).uniform(-1, 1, (count, *size.chw)).astype(np.float32)


def _run_at(model: ir.Model, size: Size, declared: Sequence[int]) -> _Expected:
    """What the graph gives at this size: for one image, else for its own batch."""
    first: Exception | None = None
    for batch in dict.fromkeys((1, declared[0] or 1)):
        try:
            return _Expected(model, _images(batch, size))
        except Exception as error:
            first = first or error
    assert first is not None
    raise _size_error(declared, size, first) from first


def _at_opset(model: ir.Model, expected: _Expected, opset: int) -> ir.Model:
    """The graph in an operator set up to ``opset``, converted where it is old and that is exact."""
    own = model.opset_imports.get("", model.opset_imports.get("ai.onnx", 1))
    if GOOD_OPSET <= own <= opset:
        return model
    for target in dict.fromkeys((opset, GOOD_OPSET)):
        try:
            proto = version_converter.convert_version(ir.to_proto(model), target)
        except (RuntimeError, ValueError, version_converter.ConvertError):
            continue
        converted = ir.from_proto(proto)
        if expected.given_by(converted):
            return converted
    if OLDEST_OPSET <= own <= opset:
        return model
    raise UnsupportedModelError(
        f"operator set {own} cannot be brought to {opset}: export the model again with "
        f"opset_version={opset}"
    )


def _sized(model: ir.Model, shape: Sequence[int | str]) -> ir.Model:
    """A copy with this input shape, and every other shape inferred anew."""
    sized = model.clone()
    for node in sized.graph:
        for value in node.outputs:
            value.shape = None
    sized.graph.inputs[0].shape = ir.Shape(shape)
    common.ShapeInferencePass(check_type=False, strict_mode=False)(sized)
    return sized


def _batched(model: ir.Model, shape: Sequence[int | str]) -> Iterator[ir.Model]:
    """The graph with a free batch as it is, and with ``1`` in Reshape targets made "as before"."""
    yield _sized(model, shape)
    freed = model.clone()
    for node in freed.graph:
        if node.op_type != "Reshape" or node.attributes.get_int("allowzero", 0):
            continue
        target = node.inputs[1]
        values = target.const_value.numpy() if target and target.const_value else np.empty(0)
        if target is not None and values.ndim == 1 and len(values) > 1 and values[0] == 1:
            target.const_value = ir.tensor(np.array([0, *values[1:]]), name=target.name)
    yield _sized(freed, shape)


def _shapes_in_batches(model: ir.Model, size: Size) -> list[tuple[int | str, ...]] | None:
    """Output shapes, where two images at once give what each gives alone; else None."""
    planes = _images(2, size)
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


def _with_output_shapes(model: ir.Model, shapes: Sequence[Sequence[int | str]]) -> ir.Model:
    for output, shape in zip(model.graph.outputs, shapes, strict=True):
        output.shape = ir.Shape(shape)
    return model


def _close(values: NDArray[Any], expected: NDArray[Any]) -> bool:
    if values.shape != expected.shape:
        return False
    scale = float(np.abs(expected).max(initial=0)) or 1.0
    return bool(np.abs(values - expected).max(initial=0) <= TOLERANCE * scale)


def _run(model: ir.Model, planes: Planes) -> list[NDArray[Any]]:
    session = open_session(ir.to_proto(model).SerializeToString(), severity=FATAL)
    return list(session.run(None, {INPUT: planes}))


def _size_error(declared: Sequence[int], size: Size, error: Exception) -> UnsupportedModelError:
    reason = " ".join(str(error).split())[:300]
    advice = (
        f"its own size is {declared[3]}x{declared[2]}: --input {declared[3]}x{declared[2]}, or "
        f"export it again at {size.width}x{size.height}"
        if declared[2] and declared[3]
        else "try a multiple of 32 in both directions"
    )
    return UnsupportedModelError(
        f"the graph does not run at {size.width}x{size.height}; {advice} (ONNX Runtime: {reason})"
    )
