"""The rows that a network picks by their numbers, as the heads of end-to-end detectors do."""

import onnx_ir as ir

from edgecnn_export.graph.nodes import const_value

AXIS = 1
"""That of the rows, in data [N,A,C] and in their numbers [N,K,1]."""


def gather_rows(model: ir.Model) -> None:
    """Pick whole rows, not each of their values by an index of its own.

    ``torch.gather`` with one index for all columns of a row becomes GatherElements of an index that
    is repeated. OpenVINO 2026.4 refuses that where the columns are a slice of more and the batch is
    one.

    Ensures: no GatherElements over rows [N,A,C] reads numbers [N,K,1] that Expand or Tile repeats C
    times.
    """
    for node in list(model.graph):
        if node.op_type != "GatherElements" or node.attributes.get_int("axis", 0) != AXIS:
            continue
        data, index = node.inputs
        rows = _repeated(data, index.producer() if index is not None else None)
        if rows is None:
            continue
        gather = ir.node("GatherND", [data, rows], {"batch_dims": 1}, name=node.name)
        old, new = node.outputs[0], gather.outputs[0]
        new.name, new.shape, new.type = old.name, old.shape, old.type
        model.graph.insert_before(node, gather)
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        model.graph.remove(node, safe=True)


def _repeated(data: ir.Value | None, node: ir.Node | None) -> ir.Value | None:
    """The numbers [N,K,1] that a node repeats for every column of data [N,A,C]."""
    if node is None or node.op_type not in {"Expand", "Tile"} or len(node.inputs) != 2:
        return None
    rows, times = node.inputs[0], const_value(node.inputs[1])
    if data is None or data.shape is None or rows is None or rows.shape is None or times is None:
        return None
    columns, numbers = list(data.shape), list(rows.shape)
    if len(columns) != 3 or len(numbers) != 3 or numbers[2] != 1 or times[2:] != [columns[2]]:
        return None
    batches = [size for size in (columns[0], numbers[0]) if isinstance(size, int)]
    kept = [{1, size} if node.op_type == "Expand" else {1} for size in numbers[:2]]
    same = all(int(time) in sizes for time, sizes in zip(times[:2], kept, strict=True))
    return rows if same and len(set(batches)) < 2 else None
