"""Which layers of a float graph stay in float32 without a trial, and why."""

from collections.abc import Mapping

import numpy as np
import onnx
import onnx_ir as ir

from edgecnn_export.graph.nodes import const_value
from edgecnn_export.half_precision.convert import (
    FLOAT,
    LARGEST,
    SATURATING,
    half_layers,
    typed,
)
from edgecnn_export.quantization.schemes import WEIGHTED

HEADROOM = 4.0
"""How many times the largest value on the measured pictures has to fit: others reach further."""
VANISHING = float(np.finfo(np.float16).smallest_subnormal) / 2
"""What is smaller becomes 0, which an epsilon must not."""
PIXELS = "normalizes the camera's bytes"
RESULTS = "computes results behind the last layer with weights"
CONSTANT = "reads a constant outside the range of float16"
OVERFLOW = "gives or reads values too large for float16"


def find_exclusions(model: onnx.ModelProto, largest: Mapping[str, float]) -> dict[str, str]:
    """The layers that stay in float32 without a trial.

    The subtraction of the mean, because rounding the bytes would save nothing. What stands behind
    the last layer with weights, because coordinates of boxes need more digits than float16 has.
    And what overflows, or vanishes: constants, and tensors on the measured pictures.

    Args:
        model: The float graph, every node named.
        largest: The largest absolute value of each tensor on pictures, by name.

    Returns:
        Why, by the node's name.
    """
    working = typed(model)
    first, last = _before_weights(working.graph), _behind_weights(working.graph)
    reasons: dict[str, str] = {}
    for node in half_layers(working):
        reason = ""
        if node in first:
            reason = PIXELS
        elif node in last:
            reason = RESULTS
        elif any(_out_of_range(node, value) for value in node.inputs):
            reason = CONSTANT
        elif any(_overflows(value, largest) for value in (*node.inputs, *node.outputs)):
            reason = OVERFLOW
        if reason and node.name:
            reasons[node.name] = reason
    return reasons


def _before_weights(graph: ir.Graph) -> set[ir.Node]:
    """Nodes that compute from the input with no layer with weights in between."""
    values: set[ir.Value] = set(graph.inputs)
    nodes: set[ir.Node] = set()
    for node in graph:
        inputs = [value for value in node.inputs if value is not None and not _stored(value)]
        if node.op_type not in WEIGHTED and inputs and values.issuperset(inputs):
            nodes.add(node)
            values.update(node.outputs)
    return nodes


def _behind_weights(graph: ir.Graph) -> set[ir.Node]:
    """Nodes with no layer with weights behind them, and that are none."""
    leading: set[ir.Value] = set()
    nodes: set[ir.Node] = set()
    for node in reversed(graph):
        if node.op_type in WEIGHTED or leading.intersection(node.outputs):
            leading.update(value for value in node.inputs if value is not None)
        else:
            nodes.add(node)
    return nodes


def _stored(value: ir.Value) -> bool:
    return const_value(value) is not None


def _out_of_range(node: ir.Node, value: ir.Value | None) -> bool:
    """Whether a constant becomes infinite or 0 in float16, where that changes what it does."""
    numbers = const_value(value) if value is not None and value.dtype == FLOAT else None
    if numbers is None:
        return False
    size = np.abs(numbers[np.isfinite(numbers)])
    overflows = node.op_type not in SATURATING and bool((size > LARGEST).any())
    vanishes = node.op_type not in WEIGHTED and bool(((size > 0) & (size <= VANISHING)).any())
    return overflows or vanishes


def _overflows(value: ir.Value | None, largest: Mapping[str, float]) -> bool:
    return value is not None and not largest.get(value.name or "", 0.0) * HEADROOM <= LARGEST
