"""A graph that ends in its own NonMaxSuppression, ended before it: the runtime suppresses."""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgecnn_export.tracing.naming import rename
from edgecnn_runtime.errors import UnsupportedModelError

HEAD = "output"


def strip_nms(graph: onnx.GraphProto) -> None:
    """End the graph at what its NonMaxSuppression reads, as a ``yolov8`` head. In place.

    boxes[N,A,4] and scores[N,C,A] become float32[N,4+C,A]: cx, cy, w, h, classes. Outputs that do
    not depend on the suppression stay. A graph whose one output is a table of fixed length
    [N,K,6] or wider stays as it is.
    Raises UnsupportedModelError where several suppressions stand side by side or in a loop.
    """
    found = [node for node in nodes_of(graph) if node.op_type == "NonMaxSuppression"]
    if not found or _ends_in_table(graph):
        return
    outer = [node for node in graph.node if node.op_type == "NonMaxSuppression"]
    if len(found) > 1 or not outer:
        raise UnsupportedModelError(
            f"the graph suppresses boxes in {len(found)} places, or in a loop: export the model "
            "without its postprocessing; the runtime suppresses by itself"
        )
    rename(graph, HEAD, f"{HEAD}.suppressed")
    suppression = outer[0]
    boxes, scores = suppression.input[:2]
    centered = any(a.name == "center_point_box" and a.i for a in suppression.attribute)
    nodes = _transposed(boxes) if centered else _centers(graph, boxes)
    last = nodes[-1].output[0]
    nodes.append(helper.make_node("Concat", [last, scores], [HEAD], name="head", axis=1))
    after = _depending(graph, suppression)
    independent = [output for output in graph.output if output.name not in after]
    kept = _needed(graph, {boxes, scores, *(output.name for output in independent)})
    del graph.node[:], graph.output[:]
    graph.node.extend([*kept, *nodes])
    graph.output.append(helper.make_tensor_value_info(HEAD, onnx.TensorProto.FLOAT, None))
    graph.output.extend(independent)


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node, those in branches and loops too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from nodes_of(inner)


def _ends_in_table(graph: onnx.GraphProto) -> bool:
    """One output [N,K,6] or more columns: boxes, score, class."""
    if len(graph.output) != 1:
        return False
    dims = graph.output[0].type.tensor_type.shape.dim
    return len(dims) == 3 and dims[1].dim_value > 0 and dims[2].dim_value >= 6


def _depending(graph: onnx.GraphProto, source: onnx.NodeProto) -> set[str]:
    """Every value computed from a node."""
    names = set(source.output)
    for node in graph.node:
        if names & set(node.input):
            names |= set(node.output)
    return names


def _transposed(boxes: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Transpose", [boxes], ["head.boxes"], name="head_boxes", perm=[0, 2, 1])
    ]


def _centers(graph: onnx.GraphProto, boxes: str) -> list[onnx.NodeProto]:
    """y1, x1, y2, x2 (either corner first) → cx, cy, w, h, as one matrix product a box.

    Sizes are absolute values: ONNX allows the corners in any order.
    """
    middle = np.array([[0, 0.5], [0.5, 0], [0, 0.5], [0.5, 0]], np.float32)
    extent = np.array([[0, -1], [-1, 0], [0, 1], [1, 0]], np.float32)
    graph.initializer.extend(
        [
            numpy_helper.from_array(middle, "head.middle"),
            numpy_helper.from_array(extent, "head.extent"),
        ]
    )
    return [
        helper.make_node("MatMul", [boxes, "head.middle"], ["head.centers"], name="head_centers"),
        helper.make_node("MatMul", [boxes, "head.extent"], ["head.signed"], name="head_signed"),
        helper.make_node("Abs", ["head.signed"], ["head.sizes"], name="head_sizes"),
        helper.make_node(
            "Concat", ["head.centers", "head.sizes"], ["head.rows"], name="head_rows", axis=2
        ),
        *_transposed("head.rows"),
    ]


def _needed(graph: onnx.GraphProto, wanted: set[str]) -> list[onnx.NodeProto]:
    """The nodes that lead to these values, in order."""
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]
