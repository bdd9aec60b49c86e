"""Passes over a float graph that make it smaller and faster, and change no result.

Each takes an ``onnx_ir`` model, rewrites it in place and documents what it requires and ensures.
All of them keep outputs equal up to float rounding, keep the names and shapes of inputs and
outputs, and stay in the default ONNX domain, so that every engine and the TensorRT parser can read
the graph.
"""

from collections.abc import Callable
from typing import TypeAlias

import onnx
import onnx_ir as ir

from edgecnn_export.graph.gather import gather_rows
from edgecnn_export.graph.merge import fold_affine, merge_branches
from edgecnn_export.tracing.cleanup import remove_unused, restore_outputs

Pass: TypeAlias = Callable[[ir.Model], None]
PASSES: tuple[Pass, ...] = (fold_affine, merge_branches, fold_affine, gather_rows, remove_unused)


def optimize(model: onnx.ModelProto) -> onnx.ModelProto:
    """Run every pass on a copy.

    Requires: a float graph from ``trace`` or ``fold_pixels``.
    """
    working = ir.from_proto(model)
    names = [output.name for output in working.graph.outputs]
    for step in PASSES:
        step(working)
    restore_outputs(working, names)
    optimized: onnx.ModelProto = ir.to_proto(working)
    return optimized
