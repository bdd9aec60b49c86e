"""Readable names in a graph: of modules for nodes, ``batch`` for the batch."""

import ast
import re
from collections import Counter
from collections.abc import Container

import onnx_ir as ir

INPUT, BATCH = "input", "batch"
PIXELS = "pixels"
"""What the input is called once it takes the camera's bytes."""
SCOPES = "pkg.torch.onnx.name_scopes"
WRAPPER = "module"


def name_by_module(model: ir.Model) -> None:
    """Name every node after the module it belongs to: ``blocks.0.conv/Conv``. In place.

    The torch exporter writes the modules into the node's metadata; where outputs had to be
    flattened, a wrapper of ours comes before all of them.
    """
    weights = [name for name in model.graph.initializers if "." in name]
    wrapped = all(name.startswith(f"{WRAPPER}.") for name in weights)
    counts: Counter[str] = Counter()
    for node in model.graph:
        scopes = ["", *ast.literal_eval(node.metadata_props.get(SCOPES, "[]"))[:-1]]
        path = "" if str(scopes[-1]).startswith("_") else str(scopes[-1])
        path = re.sub(rf"^{WRAPPER}(\.|$)", "", path) if wrapped else path
        name = f"{path}/{node.op_type}" if path else node.op_type
        counts[name] += 1
        node.name = name if counts[name] == 1 else f"{name}.{counts[name]}"


def name_batch(model: ir.Model) -> None:
    """Call the first axis of the only input ``batch``, wherever it occurs. In place."""
    shape = model.graph.inputs[0].shape
    batch = shape[0].value if shape and isinstance(shape[0], ir.SymbolicDim) else None
    if not batch:
        return
    pattern = re.compile(rf"\b{re.escape(batch)}\b")
    for value in ir.convenience.create_value_mapping(model.graph).values():
        if value.shape is not None:
            sizes = (getattr(size, "value", size) for size in value.shape)  # of a SymbolicDim
            value.shape = ir.Shape(
                [pattern.sub(BATCH, size) if isinstance(size, str) else size for size in sizes]
            )


def rename(graph: ir.Graph, value: ir.Value, name: str) -> None:
    """Rename a value; another one of that name becomes NAME.inner, or NAME.inner.2. In place."""
    if value.name != name:
        free_name(graph, name)
        value.name = name


def free_name(graph: ir.Graph, name: str) -> None:
    """Let no value have this name: one that does becomes NAME.inner. In place."""
    values = ir.convenience.create_value_mapping(graph)
    if name in values:
        ir.convenience.rename_values(values[name], unused_name(values, f"{name}.inner"))


def unused_name(names: Container[str], name: str) -> str:
    """The name, or where it is used NAME.2, NAME.3, …."""
    unique, number = name, 2
    while unique in names:
        unique, number = f"{name}.{number}", number + 1
    return unique
