"""Remove what an exporter leaves in a graph; every pass rewrites an ``onnx_ir`` model in place."""

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import optimizer, rewriter
from onnxscript.rewriter.rules import common as rules

ROUNDS = 2
"""Constant folding exposes more to rewrite, and rewriting more to fold."""
LONGEST_SHAPE = 8
"""Dimensions of a shape; larger constants are left to the engines, they make a file larger."""
REWRITE_RULES = (
    rules.collapse_slice_rule, rules.collapse_slice2_rule, rules.flatten_to_reshape_rule,
    rules.materialize_reshape_shape_rule, rules.no_op_cast_rule, rules.no_op_expand_rule,
    rules.no_op_transpose_rule, rules.normalize_pad_format_conv_rule,
    rules.fuse_pad_into_conv_rule, rules.reshape_reshape_rule, rules.transpose_transpose_rule,
    rules.unsqueeze_unsqueeze_rule,
)  # fmt: skip
"""The rewrites that apply to exported networks; onnxscript's whole set takes five times as long."""


def clean(model: ir.Model) -> None:
    """Remove what an exporter leaves behind.

    Ensures: no functions, no computation on constants alone, no Identity and no unused node; every
    constant is an initializer, and no two initializers are equal; no doc strings and no metadata.
    Outputs keep their names.
    """
    names = [output.name for output in model.graph.outputs]
    common.InlinePass()(model)
    for _ in range(ROUNDS):
        folding = optimizer.fold_constants(
            model, onnx_shape_inference=True, should_fold=_folds_always
        )
        common.RemoveUnusedNodesPass()(model)
        rewriter.rewrite(model, REWRITE_RULES)
        common.IdentityEliminationPass()(model)
        if not folding.modified:
            break
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    remove_unused(model)
    for value in ir.convenience.create_value_mapping(model.graph).values():
        value.metadata_props.clear()
    restore_outputs(model, names)


def _folds_always(node: ir.Node) -> bool | None:
    """Vectors of shapes, which the exporter of torch's ``expand`` computes; None: as usual."""
    if node.op_type != "ConstantOfShape":
        return None
    tensor = ir.convenience.get_const_tensor(node.inputs[0])
    shape = [] if tensor is None else tensor.numpy().tolist()
    return len(shape) == 1 and shape[0] <= LONGEST_SHAPE


def remove_unused(model: ir.Model) -> None:
    """Remove what nothing reads, and duplicates.

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

    Requires: names in the order of the outputs.
    Ensures: every output is a value of its own, also where passes merged two that are equal.
    """
    common.OutputFixPass()(model)
    for output, name in zip(model.graph.outputs, names, strict=True):
        output.name = name
