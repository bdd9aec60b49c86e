"""Which axis of an output is the batch."""

import onnx


def batch_axes(model: onnx.ModelProto) -> dict[str, int]:
    """By output, the axis that has the input's batch name; the first where none has.

    A text reader trained with CTC often puts time before the batch.
    """
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    axes = {}
    for output in model.graph.output:
        names = [dim.dim_param for dim in output.type.tensor_type.shape.dim]
        axes[output.name] = names.index(batch) if batch and batch in names else 0
    return axes
