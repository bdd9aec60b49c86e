"""A graph from elsewhere, brought to the size, batch and operator set that was asked for."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import helper, version_converter
from onnx_ir.passes import common

from edgecnn_export.loading.load_onnx import graphs_of
from edgecnn_export.loading.size import Size
from edgecnn_export.tracing.export_errors import check_rows
from edgecnn_export.tracing.naming import BATCH, INPUT, PIXELS, free_name, rename
from edgecnn_export.tracing.strip_nms import strip_nms
from edgecnn_runtime.backends.ort_session import FATAL, open_session
from edgecnn_runtime.errors import UnsupportedModelError

OLDEST_OPSET = 13
"""Per-channel QuantizeLinear needs it; engines read everything from there on."""
AXES_ARE_AN_INPUT = 13
"""Of Unsqueeze; before, they are an attribute."""
GOOD_OPSET = 18
RESIZE_WITH_MODES = 11
OLD_RESIZE = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
RANDOM = {
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike",
}  # fmt: skip
MAX_BATCH, MAX_TRIES = 256, 4
SCRFD_STRIDES = (8, 16, 32)
TOLERANCE = 1e-3
"""Relative: an image alone and in a batch may be summed in another order."""

Planes = NDArray[np.float32]


def normalize_onnx(model: ir.Model, size: Size, opset: int) -> ir.Model:
    """A copy with one input ``input`` float32[batch,channels,height,width].

    Batch is dynamic where two images at once give what each gives alone, and each what it gave in
    the graph's own batch; else it is the one size that the graph takes. A graph that ends in
    NonMaxSuppression is cut before it. The result has run in ONNX Runtime and gives what the graph
    gave before its operator set was converted.

    Args:
        model: One float input N,C,H,W; not changed.
        size: What the network shall take.
        opset: The newest operator set allowed.

    Raises:
        UnsupportedModelError: The graph has another channel count, does not take the size, draws
            random numbers, mixes the pictures of its batch, or its operator set cannot be
            converted.
    """
    model = model.clone()
    common.RemoveInitializersFromInputsPass()(model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    declared = _name_input(model.graph, size.channels)
    _check_fixed_sizes(model.graph, declared, size)
    _check_inference(model.graph)
    strip_nms(model)
    _add_batch_axes(model, size, declared)
    expected = _run_at(model, size, declared)
    converted = _at_opset(model, expected, opset)
    batch = len(expected.planes)
    for free in _batched(converted, (BATCH, *size.chw), batch):
        free_shapes = _shapes_in_batches(free, expected)
        if free_shapes is not None:
            return _with_output_shapes(free, free_shapes)
    if batch > 1:
        _check_independent(converted, expected)
    shapes = [tuple(output.shape) for output in expected.outputs]
    return _with_output_shapes(_sized(converted, (batch, *size.chw)), shapes)


def _name_input(graph: ir.Graph, channels: int) -> tuple[int, ...]:
    """Call the one image the graph reads ``input``; its declared sizes, 0 where free."""
    (value,) = graph.inputs
    sizes = tuple(size if isinstance(size, int) else 0 for size in value.shape or ())
    if sizes[1] not in {0, channels}:
        raise UnsupportedModelError(
            f"the graph's input has {sizes[1]} channels, and {channels} were asked for: "
            "--color gray is one channel, rgb and bgr are three"
        )
    rename(graph, value, INPUT)
    free_name(graph, PIXELS)
    return sizes


def _check_inference(graph: ir.Graph) -> None:
    """Refuse normalization by the batch's own statistics, as networks in training mode have it."""
    nodes = [node for node in graph.all_nodes() if node.op_type == "BatchNormalization"]
    training = [
        node
        for node in nodes
        if node.attributes.get_int("training_mode", 0)
        or sum(bool(output.name) for output in node.outputs) > 1
    ]
    if training:
        raise UnsupportedModelError(
            f"the graph was exported in training mode ({len(training)} x BatchNormalization): call "
            "model.eval() before the export, and make it again"
        )


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


def _add_batch_axes(model: ir.Model, size: Size, declared: Sequence[int]) -> None:
    """Give a graph of one image's tables [A,K], as SCRFD has them, a batch axis of one. In place.

    Every output has to be such a table, and their counts of rows grids of several strides: else
    rows cannot be told from pictures.
    """
    graph = model.graph
    if declared[0] > 1 or not graph.outputs or len(graph.outputs) % len(SCRFD_STRIDES):
        return
    try:
        shapes = [values.shape for values in _run(_sized(model, (1, *size.chw)), _images(1, size))]
    except Exception:
        return
    grids = [-(-size.width // s) * -(-size.height // s) for s in SCRFD_STRIDES]
    rows = {shape[0] for shape in shapes if len(shape) == 2}
    if any(len(shape) != 2 for shape in shapes) or not any(
        rows == {anchors * cells for cells in grids} for anchors in (1, 2, 3)
    ):
        return
    tape = ir.tape.Tape(graph)
    axes: list[ir.Value] = []
    attributes: dict[str, list[int]] = {"axes": [0]}
    if _opset_of(model) >= AXES_ARE_AN_INPUT:
        axes = [tape.initializer(ir.tensor(np.array([0], np.int64), name="head.batch"))]
        attributes = {}
    for index, output in enumerate(list(graph.outputs)):
        name = str(output.name)
        inputs = [output, *axes]
        batched = tape.op("Unsqueeze", inputs, attributes, name=f"head_batch_{index}")
        batched.type = ir.TensorType(ir.DataType.FLOAT)
        graph.outputs[index] = batched
        rename(graph, batched, name)


class _Expected:
    """Images, and what the graph gave for them."""

    def __init__(self, model: ir.Model, planes: Planes) -> None:
        session = _session(_sized(model, planes.shape))
        self.planes = planes
        self.outputs: list[NDArray[Any]] = session.run(None, {INPUT: planes})
        again = session.run(None, {INPUT: planes})
        self.repeatable = all(_close(a, b) for a, b in zip(again, self.outputs, strict=True))

    @property
    def has_rows(self) -> bool:
        """Whether every output has an axis of as many rows as there are images."""
        return all(len(self.planes) in output.shape for output in self.outputs)

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
    """What the graph gives at this size for its own batch: the declared one, else one image.

    Where the batch is free and one image does not give one row, a size written into the graph is
    tried.
    """
    without_rows: _Expected | None = None
    problem: UnsupportedModelError | None = None
    batches = (declared[0],) if declared[0] else (1, *_written_batches(model.graph))
    for batch in dict.fromkeys(batches):
        try:
            expected = _Expected(model, _images(batch, size))
        except Exception as error:
            problem = problem or _size_error(model, declared, size, error)
            continue
        if not expected.repeatable:
            raise _random_error(model.graph)
        if expected.has_rows:
            return expected
        without_rows = without_rows or expected
    if without_rows is not None:
        names = [str(output.name) for output in model.graph.outputs]
        shapes = [values.shape for values in without_rows.outputs]
        check_rows(dict(zip(names, shapes, strict=True)), len(without_rows.planes))
        return without_rows
    assert problem is not None
    raise problem


def _written_batches(graph: ir.Graph) -> list[int]:
    """The first sizes in targets of Reshape: often the batch that the graph was made with."""
    targets = [
        ir.convenience.get_const_tensor(node.inputs[1])
        for node in graph
        if node.op_type == "Reshape" and len(node.inputs) > 1 and node.inputs[1] is not None
    ]
    sizes = [int(t.numpy().flat[0]) for t in targets if t is not None and t.size > 1]
    return [size for size in sizes if 1 < size <= MAX_BATCH][:MAX_TRIES]


def _random_error(graph: ir.Graph) -> UnsupportedModelError:
    nodes = [n for n in graph.all_nodes() if n.op_type in RANDOM or n.op_type == "Dropout"]
    names = ", ".join(dict.fromkeys(f"{n.op_type} ({n.name or n.outputs[0].name})" for n in nodes))
    return UnsupportedModelError(
        "the graph gives other results for the same picture from run to run: it draws random "
        f"numbers{f', in {names}' if names else ''}. Export it from a network in eval(), without "
        "dropout, noise or sampling"
    )


def _check_independent(model: ir.Model, expected: _Expected) -> None:
    """Refuse a fixed batch whose first result changes with the other images."""
    planes = expected.planes.copy()
    planes[1:] *= -1
    batch = len(planes)
    outputs = _run(_sized(model, planes.shape), planes)
    for changed, output in zip(outputs, expected.outputs, strict=True):
        axes = [axis for axis, size in enumerate(output.shape) if size == batch]
        if not any(_close(changed.take([0], axis), output.take([0], axis)) for axis in axes):
            raise UnsupportedModelError(
                f"what the graph gives for a picture depends on the other {batch - 1} of its "
                "batch, as with normalization by the batch's own statistics: export it with a "
                "batch of one"
            )


def _at_opset(model: ir.Model, expected: _Expected, opset: int) -> ir.Model:
    """The graph in an operator set up to ``opset``, converted where it is old and that is exact."""
    own = _opset_of(model)
    if GOOD_OPSET <= own <= opset:
        return model
    reason = ""
    for target in dict.fromkeys((opset, GOOD_OPSET)):
        try:
            converted = _convert(model, own, target)
        except (RuntimeError, ValueError, version_converter.ConvertError) as error:
            reason = reason or " ".join(str(error).split())[-200:]
            continue
        if expected.given_by(converted):
            return converted
        reason = reason or _first_change(model, converted, expected.planes)
    if OLDEST_OPSET <= own <= opset:
        return model
    raise UnsupportedModelError(
        f"operator set {own} cannot be brought to {opset}: {reason}; export the model again with "
        f"opset_version={opset}, or replace that operator"
    )


def _opset_of(model: ir.Model) -> int:
    imports = model.opset_imports
    return int(imports.get("", imports.get("ai.onnx", 1)))


def _convert(model: ir.Model, own: int, target: int) -> ir.Model:
    """The graph in another operator set.

    Up to operator set 10, Resize and Upsample scale from the corner of the picture and round down,
    which the converter does not write into the Resize of later ones.
    """
    proto = ir.to_proto(model)
    if own < RESIZE_WITH_MODES <= target:
        proto = version_converter.convert_version(proto, RESIZE_WITH_MODES)
        for node in (node for graph in graphs_of(proto.graph) for node in graph.node):
            if node.op_type == "Resize":
                for name, value in OLD_RESIZE.items():
                    node.attribute.append(helper.make_attribute(name, value))
    return ir.from_proto(version_converter.convert_version(proto, target))


def _first_change(model: ir.Model, converted: ir.Model, planes: Planes) -> str:
    """Which operator gives other values after a conversion."""
    before = _values(_sized(model, planes.shape), planes)
    try:
        after = _values(_sized(converted, planes.shape), planes)
    except Exception as error:
        return f"it does not run then ({' '.join(str(error).split())[:200]})"
    for node in model.graph:
        for value in node.outputs:
            name = str(value.name)
            if name in before and name in after and not _close(after[name], before[name]):
                return f"{node.op_type} ({node.name or name}) gives other values then"
    return "it gives other values then"


def _values(model: ir.Model, planes: Planes) -> dict[str, NDArray[Any]]:
    """Every float tensor of the top graph, by name."""
    values = [value for node in model.graph for value in node.outputs]
    model.graph.outputs[:] = [value for value in values if value.dtype == ir.DataType.FLOAT]
    names = [str(output.name) for output in model.graph.outputs]
    return dict(zip(names, _run(model, planes), strict=True))


def _sized(model: ir.Model, shape: Sequence[int | str]) -> ir.Model:
    """A copy with this input shape, and every other shape inferred anew."""
    sized = model.clone()
    for node in sized.graph:
        for value in node.outputs:
            value.shape = None
    sized.graph.inputs[0].shape = ir.Shape(shape)
    common.ShapeInferencePass(check_type=False, strict_mode=False)(sized)
    return sized


def _batched(model: ir.Model, shape: Sequence[int | str], own: int) -> Iterator[ir.Model]:
    """The graph with a free batch: as it is, and with its own batch in Reshape made "as before"."""
    yield _sized(model, shape)
    freed = model.clone()
    for node in freed.graph:
        if node.op_type != "Reshape" or node.attributes.get_int("allowzero", 0):
            continue
        target = node.inputs[1]
        values = target.const_value.numpy() if target and target.const_value else np.empty(0)
        if target is not None and values.ndim == 1 and len(values) > 1 and values[0] == own:
            target.const_value = ir.tensor(np.array([0, *values[1:]]), name=target.name)
    yield _sized(freed, shape)


def _shapes_in_batches(model: ir.Model, expected: _Expected) -> list[tuple[int | str, ...]] | None:
    """Output shapes, where two images together give what each gives alone; else None."""
    first = expected.planes[:1]
    planes = np.concatenate([first, first[:, :, ::-1, ::-1]])
    try:
        together, *singles = (_run(model, part) for part in (planes, planes[:1], planes[1:]))
    except Exception:
        return None
    axes = [_stacked(values, parts) for values, *parts in zip(together, *singles, strict=True)]
    shapes: list[tuple[int | str, ...]] = []
    for output, axis, values in zip(expected.outputs, axes, singles[0], strict=True):
        if axis is None or not _close(values, output.take([0], axis)):
            return None
        shapes.append(tuple(BATCH if i == axis else n for i, n in enumerate(values.shape)))
    return shapes


def _stacked(together: NDArray[Any], singles: Sequence[NDArray[Any]]) -> int | None:
    """The axis along which ``together`` is the others one after the other; None without one."""
    pairs = zip(together.shape, singles[0].shape, strict=False)
    axes = [axis for axis, (size, single) in enumerate(pairs) if size != single]
    if len(axes) != 1 or any(part.shape[axes[0]] != 1 for part in singles):
        return None
    return axes[0] if _close(together, np.concatenate(singles, axes[0])) else None


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
    return list(_session(model).run(None, {INPUT: planes}))


def _session(model: ir.Model) -> Any:
    return open_session(ir.to_proto(model).SerializeToString(), severity=FATAL)


def _size_error(
    model: ir.Model, declared: Sequence[int], size: Size, error: Exception
) -> UnsupportedModelError:
    """Why the graph does not run: the size, where another one does run; else the error itself."""
    reason = " ".join(str(error).split())[:300]
    own = Size(declared[3], declared[2], size.channels)
    rounded = Size(-(-size.width // 32) * 32, -(-size.height // 32) * 32, size.channels)
    candidate = own if declared[2] and declared[3] else rounded
    at_size = f"the graph does not run at {size.width}x{size.height}"
    if candidate == size:
        return UnsupportedModelError(f"{at_size}. ONNX Runtime says: {reason}")
    other = f"{candidate.width}x{candidate.height}"
    if _runs(model, declared[0] or 1, candidate):
        return UnsupportedModelError(
            f"{at_size}; it does at {other}: use that, --input {other}, or export it again at "
            f"{size.width}x{size.height} (ONNX Runtime: {reason})"
        )
    return UnsupportedModelError(f"{at_size}, nor at {other}. ONNX Runtime says: {reason}")


def _runs(model: ir.Model, batch: int, size: Size) -> bool:
    try:
        _Expected(model, _images(batch, size))
    except Exception:
        return False
    return True
