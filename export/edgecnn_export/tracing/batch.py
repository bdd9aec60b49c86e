"""Where the batch is in what a graph gives."""

import onnx


def batch_axes(model: onnx.ModelProto) -> dict[str, int]:
    """Which axis of each output is the batch: the one that bears the input's batch name.

    The first where none does. A reader trained with CTC often puts time before it.
    """
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    axes = {}
    for output in model.graph.output:
        names = [dim.dim_param for dim in output.type.tensor_type.shape.dim]
        axes[output.name] = names.index(batch) if batch and batch in names else 0
    return axes
