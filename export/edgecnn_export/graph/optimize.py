"""Smaller, faster, exact: passes over a float graph, all of one shape.

Each takes an ``onnx_ir`` model, rewrites it in place and says what it requires and ensures. All
keep outputs equal up to float rounding, the names and shapes of inputs and outputs, and the
default ONNX domain only, so that every engine and the TensorRT parser can read the result.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import onnx
import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import optimizer, rewriter
from onnxscript.rewriter.rules import common as rules

from edgecnn_export.graph.merge import fold_affine, merge_branches

Pass: TypeAlias = Callable[[ir.Model], None]

ROUNDS = 2
"""Folding shows what can be rewritten, and rewriting what can be folded."""
REWRITE_RULES = (
    rules.collapse_slice_rule, rules.collapse_slice2_rule, rules.flatten_to_reshape_rule,
    rules.materialize_reshape_shape_rule, rules.no_op_cast_rule, rules.no_op_expand_rule,
    rules.no_op_transpose_rule, rules.normalize_pad_format_conv_rule,
    rules.fuse_pad_into_conv_rule, rules.reshape_reshape_rule, rules.transpose_transpose_rule,
    rules.unsqueeze_unsqueeze_rule,
)  # fmt: skip
"""Rewrites that fire on exported networks; onnxscript's whole set takes five times as long."""


def clean(model: ir.Model) -> None:
    """Drop what an exporter leaves behind.

    Ensures: no functions, no computation on constants alone, no Identity, no dead node, constants
    are initializers, one a distinct value; no doc strings, metadata or intermediate shapes.
    """
    names = [output.name for output in model.graph.outputs]
    common.InlinePass()(model)
    for _ in range(ROUNDS):
        folded = optimizer.fold_constants(model, onnx_shape_inference=True)
        common.RemoveUnusedNodesPass()(model)
        rewriter.rewrite(model, REWRITE_RULES)
        common.IdentityEliminationPass()(model)
        if not folded.modified:
            break
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    remove_unused(model)
    restore_outputs(model, names)


def remove_unused(model: ir.Model) -> None:
    """Drop what nobody reads or says twice.

    Ensures: no unused node, initializer, function or opset; no two equal initializers or nodes.
    """
    common.CommonSubexpressionEliminationPass()(model)
    common.RemoveUnusedNodesPass()(model)
    common.RemoveUnusedFunctionsPass()(model)
    common.RemoveUnusedOpsetsPass()(model)
    common.DeduplicateInitializersPass()(model)
    common.ClearMetadataAndDocStringPass()(model)


def restore_outputs(model: ir.Model, names: Sequence[str | None]) -> None:
    """Give every output its name back.

    Requires: names in the order of the outputs. Ensures: a value of its own for each of them, also
    where passes found out that two are equal.
    """
    common.OutputFixPass()(model)
    for output, name in zip(model.graph.outputs, names, strict=True):
        output.name = name


PASSES: tuple[Pass, ...] = (fold_affine, merge_branches, fold_affine, remove_unused)


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
