"""Which axis of an output is the batch."""

import onnx


def batch_axes(model: onnx.ModelProto) -> dict[str, int]:
    """By output, the first axis that has the input's batch name or size; 0 where none has.

    A text reader trained with CTC often puts time before the batch.
    """
    batch = _sizes(model.graph.input[0])[0]
    axes = {}
    for output in model.graph.output:
        sizes = _sizes(output)
        axes[output.name] = sizes.index(batch) if batch and batch in sizes else 0
    return axes


def _sizes(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
