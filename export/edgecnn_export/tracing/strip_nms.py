"""A graph that ends in its own NonMaxSuppression, ended before it: the runtime suppresses."""

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from edgecnn_export.tracing.naming import rename
from edgecnn_runtime.errors import UnsupportedModelError

HEAD = "output"
MIDDLE = np.array([[0, 0.5], [0.5, 0], [0, 0.5], [0.5, 0]], np.float32)
EXTENT = np.array([[0, -1], [-1, 0], [0, 1], [1, 0]], np.float32)
"""y1, x1, y2, x2 times these are the box's center, and its size but for the sign."""


def strip_nms(model: ir.Model) -> None:
    """End the graph at what its NonMaxSuppression reads, as a ``yolov8`` head. In place.

    boxes[N,A,4] and scores[N,C,A] become float32[N,4+C,A]: cx, cy, w, h, classes. Outputs that do
    not depend on the suppression stay. A graph whose one output is a table of fixed length
    [N,K,6] or wider stays as it is.

    Raises:
        UnsupportedModelError: Several suppressions stand side by side, or one is in a loop.
    """
    graph = model.graph
    suppressions = [node for node in graph.all_nodes() if node.op_type == "NonMaxSuppression"]
    if not suppressions or _ends_in_table(graph):
        return
    suppression = suppressions[0]
    if len(suppressions) > 1 or suppression.graph is not graph:
        raise UnsupportedModelError(
            f"the graph suppresses boxes in {len(suppressions)} places, or in a loop: export the "
            "model without its postprocessing; the runtime suppresses by itself"
        )
    dependent = _dependent(graph, suppression)
    boxes, scores = suppression.inputs[:2]
    tape = ir.tape.Tape(graph)
    if not suppression.attributes.get_int("center_point_box", 0):
        boxes = _centers(tape, boxes)
    planes = tape.op("Transpose", [boxes], {"perm": [0, 2, 1]}, name="head_boxes")
    head = tape.op("Concat", [planes, scores], {"axis": 1}, name="head")
    head.type = ir.TensorType(ir.DataType.FLOAT)
    graph.outputs[:] = [head, *(output for output in graph.outputs if output not in dependent)]
    common.RemoveUnusedNodesPass()(model)
    rename(graph, head, HEAD)


def _ends_in_table(graph: ir.Graph) -> bool:
    """One output [N,K,6] or more columns: boxes, score, class."""
    shape = graph.outputs[0].shape
    if len(graph.outputs) != 1 or shape is None or len(shape) != 3:
        return False
    return isinstance(shape[1], int) and isinstance(shape[2], int) and shape[2] >= 6


def _dependent(graph: ir.Graph, source: ir.Node) -> set[ir.Value | None]:
    """Every value computed from a node, also by way of a branch or loop."""
    values: set[ir.Value | None] = set(source.outputs)
    for node in graph:
        if not values.isdisjoint(_reads(node)):
            values.update(node.outputs)
    return values


def _reads(node: ir.Node) -> Iterator[ir.Value | None]:
    """A node's inputs, and what its branches read and give out."""
    yield from node.inputs
    for attribute in node.attributes.values():
        if attribute.type is ir.AttributeType.GRAPH:
            inner = attribute.as_graph()
            yield from inner.outputs
            for each in inner:
                yield from _reads(each)


def _centers(tape: ir.tape.Tape, boxes: ir.Value | None) -> ir.Value:
    """y1, x1, y2, x2 (either corner first) → cx, cy, w, h, as one matrix product per box.

    Sizes are absolute values: ONNX allows the corners in any order.
    """
    middle = tape.initializer(ir.tensor(MIDDLE, name="head.middle"))
    extent = tape.initializer(ir.tensor(EXTENT, name="head.extent"))
    centers = tape.op("MatMul", [boxes, middle], name="head_centers")
    sizes = tape.op("Abs", [tape.op("MatMul", [boxes, extent], name="head_signed")])
    return tape.op("Concat", [centers, sizes], {"axis": 2}, name="head_rows")
