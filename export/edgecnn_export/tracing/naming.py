"""Names a person can read in a graph: of modules for nodes, ``batch`` for the batch."""

import ast
import re
from collections import Counter
from collections.abc import Iterator

import onnx

INPUT, BATCH = "input", "batch"
SCOPES = "pkg.torch.onnx.name_scopes"
WRAPPER = "module"


def name_by_module(model: onnx.ModelProto) -> None:
    """Name every node after the module it stands in: ``blocks.0.conv/Conv``. In place.

    The torch exporter leaves the modules in the node's metadata, and a wrapper of ours before
    all of them where it had to flatten outputs.
    """
    wrapped = all(
        t.name.startswith(f"{WRAPPER}.") for t in model.graph.initializer if "." in t.name
    )
    used: Counter[str] = Counter()
    for node in model.graph.node:
        scopes = next((p.value for p in node.metadata_props if p.key == SCOPES), "[]")
        path = ["", *(str(scope) for scope in ast.literal_eval(scopes)[:-1])][-1]
        path = "" if path.startswith("_") else path
        path = re.sub(rf"^{WRAPPER}(\.|$)", "", path) if wrapped else path
        name = f"{path}/{node.op_type}" if path else node.op_type
        used[name] += 1
        node.name = name if used[name] == 1 else f"{name}.{used[name]}"


def name_batch(model: onnx.ModelProto) -> None:
    """Call the first axis of the only input ``batch``, wherever it is met. In place."""
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    if not batch:
        return
    for dim in _dims(model.graph):
        if dim.dim_param:
            dim.dim_param = re.sub(rf"\b{re.escape(batch)}\b", BATCH, dim.dim_param)


def rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Rename a value wherever it is met; who bears the name already becomes NEW.inner. In place."""
    if old == new:
        return
    names = {old: new, new: f"{new}.inner"}
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = names.get(value.name, value.name)


def _dims(graph: onnx.GraphProto) -> Iterator[onnx.TensorShapeProto.Dimension]:
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield from value.type.tensor_type.shape.dim
