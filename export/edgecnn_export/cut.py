"""A graph that ends in its own NonMaxSuppression, ended before it: the runtime suppresses."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgecnn_runtime.errors import UnsupportedModelError

HEAD = "output"


def cut_suppression(graph: onnx.GraphProto) -> None:
    """Make what NonMaxSuppression reads the only output, as a ``yolov8`` head. In place.

    boxes[N,A,4] and scores[N,C,A] become float32[N,4+C,A]: cx, cy, w, h, classes. A graph whose
    outputs do not depend on one, and one whose output already is a table [N,K,6], stay as they are.
    Raises UnsupportedModelError where several suppressions stand side by side.
    """
    found = [node for node in graph.node if node.op_type == "NonMaxSuppression"]
    if not found or _ends_in_table(graph):
        return
    if len(found) > 1:
        raise UnsupportedModelError(
            f"the graph has {len(found)} NonMaxSuppression nodes: export the model without its "
            "postprocessing; the runtime suppresses by itself"
        )
    suppression = found[0]
    boxes, scores = suppression.input[:2]
    centered = any(a.name == "center_point_box" and a.i for a in suppression.attribute)
    nodes = _transposed(boxes) if centered else _centers(graph, boxes)
    last = nodes[-1].output[0]
    nodes.append(helper.make_node("Concat", [last, scores], [HEAD], name="head", axis=1))
    kept = _needed(graph, {boxes, scores})
    del graph.node[:], graph.output[:]
    graph.node.extend([*kept, *nodes])
    graph.output.append(helper.make_tensor_value_info(HEAD, onnx.TensorProto.FLOAT, None))


def _ends_in_table(graph: onnx.GraphProto) -> bool:
    """One output [N,K,6] or more columns: boxes, score, class."""
    if len(graph.output) != 1:
        return False
    dims = graph.output[0].type.tensor_type.shape.dim
    return len(dims) == 3 and dims[2].dim_value >= 6


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
