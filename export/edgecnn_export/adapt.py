"""An ONNX file from elsewhere, brought to the size, batch and operator set that was asked for."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, version_converter

from edgecnn_export.cut import cut_suppression
from edgecnn_runtime.errors import UnsupportedModelError

INPUT, BATCH = "input", "batch"
OLDEST_OPSET = 13
"""Per-channel QuantizeLinear needs it; engines read everything from there on."""
TOLERANCE = 1e-3
"""Relative: the same picture alone and in a batch may be added up in another order."""


def adapt(
    model: onnx.ModelProto, *, height: int, width: int, channels: int, opset: int
) -> onnx.ModelProto:
    """A copy with one input ``input`` float32[batch,channels,height,width].

    Batch is dynamic where two pictures at once give what each gives alone, else 1. A graph that
    ends in NonMaxSuppression is cut before it.
    Raises UnsupportedModelError for several inputs, another channel count, a size the graph does
    not take, and an operator set that cannot be converted.
    """
    adapted = onnx.ModelProto()
    adapted.CopyFrom(model)
    cut_suppression(adapted.graph)
    given = _only_input(adapted, channels)
    adapted = _at_opset(adapted, opset)
    _rename(adapted.graph, given, INPUT)
    pictures = np.random.default_rng(0).uniform(-1, 1, (2, channels, height, width))
    planes = pictures.astype(np.float32)
    alone = _sized(adapted, (1, channels, height, width))
    try:
        expected = [_run(alone, planes[i : i + 1]) for i in range(2)]
    except Exception as error:
        raise _wrong_size(model, width, height, error) from error
    for free in _batched(adapted, (BATCH, channels, height, width)):
        if _takes_batches(free, planes, expected):
            return free
    return alone


def _only_input(model: onnx.ModelProto, channels: int) -> str:
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
    return str(inputs[0].name)


def _at_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    found = next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), 1)
    for target in dict.fromkeys((opset, 18)):
        if found == target:
            return model
        try:
            return version_converter.convert_version(model, target)
        except (RuntimeError, ValueError, version_converter.ConvertError):
            continue
    if OLDEST_OPSET <= found <= opset:
        return model
    raise UnsupportedModelError(
        f"operator set {found} cannot be brought to {opset}: export the model again with "
        f"opset_version={opset}"
    )


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    if old == new:
        return
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in {old, new}:
                node.input[index] = new if name == old else f"{new}.inner"
        for index, name in enumerate(node.output):
            if name == new:
                node.output[index] = f"{new}.inner"
    for value in (*graph.input, *graph.output):
        if value.name == old:
            value.name = new


def _sized(model: onnx.ModelProto, shape: Sequence[int | str]) -> onnx.ModelProto:
    """A copy with this input shape, and every other shape inferred anew."""
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    graph = sized.graph
    weights = {tensor.name for tensor in graph.initializer}
    del graph.value_info[:]
    for value in graph.input:
        if value.name not in weights:
            value.CopyFrom(helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, shape))
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


def _takes_batches(
    model: onnx.ModelProto, planes: NDArray[np.float32], expected: list[list[NDArray[Any]]]
) -> bool:
    try:
        found = _run(model, planes)
    except Exception:
        return False
    return all(
        len(both) == 2
        and both[0].shape == one[0].shape
        and _close(both[0], one[0])
        and _close(both[1], two[0])
        for both, one, two in zip(found, *expected, strict=True)
    )


def _close(a: NDArray[Any], b: NDArray[Any]) -> bool:
    scale = float(np.abs(b).max(initial=0)) or 1.0
    return bool(np.abs(a - b).max(initial=0) <= TOLERANCE * scale)


def _run(model: onnx.ModelProto, planes: NDArray[np.float32]) -> list[NDArray[Any]]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, {INPUT: planes}))


def _wrong_size(
    model: onnx.ModelProto, width: int, height: int, error: Exception
) -> UnsupportedModelError:
    dims = model.graph.input[0].type.tensor_type.shape.dim
    own = [dim.dim_value for dim in dims][2:]
    reason = " ".join(str(error).split())[:300]
    advice = (
        f"its own size is {own[1]}x{own[0]}: --input {own[1]}x{own[0]}, or export it again at "
        f"{width}x{height}"
        if all(own)
        else "try a multiple of 32 in both directions"
    )
    return UnsupportedModelError(
        f"the graph does not run at {width}x{height}; {advice} (ONNX Runtime: {reason})"
    )
