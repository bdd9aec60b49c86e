"""An ONNX graph that reads its image in another form, brought to float32[N,C,H,W]."""

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from edgecnn_export.loading.image_input import check_image, is_nhwc, several_inputs
from edgecnn_export.loading.load_onnx import graphs_of, tensors_of
from edgecnn_runtime.errors import UsageError

HALF = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
TYPE_ATTRIBUTES = frozenset({"to", "dtype", "output_dtype"})
"""The attributes of operators that are data types."""
TO_PIXELS = (0, 2, 3, 1)
"""N,C,H,W → N,H,W,C."""
TO_PLANES = (0, 3, 1, 2)


SIZES = ("orig_target_sizes", "im_shape", "scale_factor")
"""Second inputs of detectors that scale their boxes by themselves: width and height (RT-DETR,
D-FINE), height and width, and 1, 1 (PaddleDetection)."""


def with_image_input(
    model: onnx.ModelProto, path: object, size: str | None = None
) -> onnx.ModelProto:
    """A copy that reads float32[N,C,H,W], of a graph that reads one image.

    Sizes of -1 and 0 become free. Inputs that nothing reads are removed. Half precision becomes
    float32, as in every other kind of file, and float64 too where the image is float64. A graph
    that reads N,H,W,C, as Keras and tf2onnx write it, gets a Transpose in front. Branches compute
    what they give out. Where a graph asks for the picture's size as well, that of the network's
    input is made a constant of it, so that boxes are in its pixels.

    Args:
        model: As it was read and checked.
        path: Its file, for messages.
        size: The network's input as WIDTHxHEIGHT, where the user said it.

    Raises:
        UnsupportedModelError: The graph reads no image, or more than an image; the message has the
            names and shapes of its inputs.
        UsageError: The graph asks for the picture's size, and nothing tells the network's.
    """
    adapted = onnx.ModelProto()
    adapted.CopyFrom(model)
    _free_unknown_sizes(adapted.graph)
    _fold_sizes(adapted.graph, size)
    image = _sole_input(adapted.graph, path)
    double = {TensorProto.DOUBLE} & {image.type.tensor_type.elem_type}
    _to_float32(adapted.graph, HALF | double)
    compute_branch_outputs(adapted.graph)
    check_image(image.name, _type_name(image), _sizes(image), path)
    return _planes_first(adapted) if _reads_pixels(adapted.graph, image) else adapted


def compute_branch_outputs(graph: onnx.GraphProto) -> None:
    """Let branches and loops give out only what they compute. In place.

    TorchScript's exporter, and passes that remove Identity, leave branches that give out a value
    of the graph around them, which ONNX Runtime refuses.
    """
    names = {name for part in graphs_of(graph) for node in part.node for name in node.output}
    for part in list(graphs_of(graph))[1:]:
        computed = {name for node in part.node for name in node.output}
        for output in part.output:
            if output.name not in computed:
                outer, number = output.name, 1
                while output.name in names:
                    output.name, number = f"{outer}.branch{number}", number + 1
                names.add(output.name)
                part.node.append(helper.make_node("Identity", [outer], [output.name]))


def _free_unknown_sizes(graph: onnx.GraphProto) -> None:
    for part in graphs_of(graph):
        for value in (*part.input, *part.output, *part.value_info):
            for dim in value.type.tensor_type.shape.dim:
                if dim.HasField("dim_value") and dim.dim_value < 1:
                    dim.Clear()


def _fold_sizes(graph: onnx.GraphProto, size: str | None) -> None:
    """Make inputs that are the picture's size constants."""
    inputs = [value for value in graph.input if value.name in SIZES]
    images = [value for value in graph.input if len(value.type.tensor_type.shape.dim) == 4]
    if not inputs or len(images) != 1:
        return
    _, _, height, width = (d.dim_value for d in images[0].type.tensor_type.shape.dim)
    if size:
        sides = [int(side) for side in size.split("x")]
        width, height = sides[0], sides[-1]
    if not width or not height:
        raise UsageError(
            f"how large is the network's input? The graph asks for the picture's size in "
            f"{inputs[0].name!r}: add --input WIDTHxHEIGHT, for instance --input 640x640"
        )
    for value in inputs:
        numbers = {"orig_target_sizes": (width, height), "im_shape": (height, width)}
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        array = np.array([numbers.get(value.name, (1, 1))], dtype)
        graph.initializer.append(numpy_helper.from_array(array, value.name))
        graph.input.remove(value)


def _sole_input(graph: onnx.GraphProto, path: object) -> Any:
    """The one input that is read; those that nothing reads are removed."""
    weights = {tensor.name for tensor in graph.initializer}
    used = {name for part in graphs_of(graph) for node in part.node for name in node.input}
    used |= {output.name for part in graphs_of(graph) for output in part.output}
    inputs = [value for value in graph.input if value.name not in weights]
    read = [value for value in inputs if value.name in used]
    if len(read) != 1:
        raise several_inputs([_described(value) for value in read or inputs], path)
    for value in inputs:
        if value.name not in used:
            graph.input.remove(value)
    return next(value for value in graph.input if value.name not in weights)


def _to_float32(graph: onnx.GraphProto, types: frozenset[int]) -> None:
    """Every tensor, value and operator attribute of these types becomes float32."""
    graphs = list(graphs_of(graph))
    for tensor in tensors_of(graphs):
        if tensor.data_type in types:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for part in graphs:
        for value in (*part.input, *part.output, *part.value_info):
            if value.type.tensor_type.elem_type in types:
                value.type.tensor_type.elem_type = TensorProto.FLOAT
        for attribute in (attribute for node in part.node for attribute in node.attribute):
            if attribute.name in TYPE_ATTRIBUTES and attribute.i in types:
                attribute.i = TensorProto.FLOAT


def _reads_pixels(graph: onnx.GraphProto, image: onnx.ValueInfoProto) -> bool:
    """Whether channels come last: by the shape; where all sizes are free, by the first nodes."""
    sizes = [size if isinstance(size, int) else None for size in _sizes(image)]
    if any(sizes[1:]):
        return is_nhwc(sizes)
    readers = [n for n in graph.node if image.name in n.input and n.op_type != "Shape"]
    orders = [tuple(n.attribute[0].ints) for n in readers if n.op_type == "Transpose"]
    return bool(readers) and orders == [TO_PLANES] * len(readers)


def _planes_first(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put a Transpose from planes to pixels in front."""
    working = ir.from_proto(model)
    graph = working.graph
    index = next(i for i, value in enumerate(graph.inputs) if not value.is_initializer())
    pixels = graph.inputs[index]
    assert pixels.shape is not None
    name = str(pixels.name)
    planes = ir.val(name, ir.DataType.FLOAT, [pixels.shape[axis] for axis in TO_PLANES])
    node = ir.node("Transpose", [planes], {"perm": TO_PIXELS}, name=f"{name}/to_pixels")
    node.outputs[0].name = f"{name}/pixels"
    ir.convenience.replace_all_uses_with(pixels, node.outputs[0], replace_graph_outputs=True)
    graph.inputs[index] = planes
    graph.insert_before(graph[0], node)
    adapted: onnx.ModelProto = ir.to_proto(working)
    return adapted


def _described(value: onnx.ValueInfoProto) -> str:
    return f"{value.name} {_type_name(value)}[{','.join(map(str, _sizes(value)))}]"


def _type_name(value: onnx.ValueInfoProto) -> str:
    name = str(TensorProto.DataType.Name(value.type.tensor_type.elem_type)).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def _sizes(value: onnx.ValueInfoProto) -> list[int | str]:
    """The sizes of a value's axes; a name, or "?", where one is free."""
    return [d.dim_value or d.dim_param or "?" for d in value.type.tensor_type.shape.dim]
