"""Put a scheme's QuantizeLinear and DequantizeLinear nodes into a float graph."""

import copy
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx
from onnx.numpy_helper import to_array

from edgecnn_export.quantization.ignored_scope import find_ignored, shared_quantizers
from edgecnn_export.quantization.onnx_graph import assign, remove_unread
from edgecnn_export.quantization.range_estimation import Range
from edgecnn_export.quantization.schemes import FUSED, QuantScheme
from edgecnn_runtime.backends.ort_session import import_onnxruntime

ANY_RANGE = (0.0, 1.0)
"""Where it does not matter, because only the places of the quantizers are asked for."""


def insert_qdq(
    model: onnx.ModelProto,
    scheme: QuantScheme,
    ranges: Mapping[str, Range] | None = None,
    floats: Collection[str] = (),
    *,
    per_channel: bool = True,
    all_int8: onnx.ModelProto | None = None,
) -> onnx.ModelProto:
    """A copy of a float graph with QuantizeLinear and DequantizeLinear nodes in it.

    Args:
        model: The float graph, every node named.
        scheme: Where the nodes go.
        ranges: By tensor; None gives every tensor the same, to learn which ones are quantized.
        floats: The names of nodes that stay in float.
        per_channel: Whether each channel of a weight has a scale of its own; False is quicker where
            only the activations are looked at.
        all_int8: What this function returned with the same ranges and nothing in float. Weights
            are taken from there instead of being rounded again, channel by channel, which takes
            most of the time.
    """
    import_onnxruntime()  # switches its telemetry off first
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    nodes = model.graph.node
    ignored = find_ignored(model, scheme)
    all_ranges = {output: ANY_RANGE for node in nodes for output in node.output}
    all_ranges |= {value.name: ANY_RANGE for value in model.graph.input}
    all_ranges |= ranges or {}
    float_tensors = {node.output[0] for node in nodes if node.name in floats}
    fused = [n.name for n in nodes if n.op_type in FUSED and n.input[0] in float_tensors]
    options: dict[str, Any] = {"WeightSymmetric": True, "ActivationSymmetric": scheme.signed}
    if not scheme.quantize_outputs:
        options["OpTypesToExcludeOutputQuantization"] = list(scheme.operators)
        options["QuantizeBias"] = False
    data = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in all_ranges.items()
    }
    quantizer = QDQQuantizer(
        copy.deepcopy(model),
        per_channel=per_channel and all_int8 is None,
        reduce_range=scheme.reduced,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if scheme.signed else QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, data),
        nodes_to_quantize=[],
        nodes_to_exclude=[*floats, *fused, *ignored.nodes],
        op_types_to_quantize=list(scheme.operators),
        extra_options=options,
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantized: onnx.ModelProto = quantizer.model.model
    if all_int8 is not None and not _copy_values(all_int8.graph, quantized.graph):
        return insert_qdq(model, scheme, ranges, floats)
    _remove_quantizers(quantized.graph, ignored.tensors)
    if scheme.through_data_movement:
        sources = {_quantized_tensor(node) for node in quantized.graph.node}
        shared = shared_quantizers(model, scheme).items()
        _remove_quantizers(quantized.graph, {t for t, source in shared if source in sources})
    quantized.ir_version = model.ir_version
    quantized.producer_name, quantized.producer_version = (
        model.producer_name,
        model.producer_version,
    )
    return quantized


def _copy_values(source: onnx.GraphProto, graph: onnx.GraphProto) -> bool:
    """Give quantizers the scales, zero-points and rounded weights that they have in ``source``.

    Those of a tensor that ``source`` does not quantize, because an activation became the end of a
    range there, are right already: they come from a range.

    Returns:
        Whether they fit. A bias has the scale of its layer's input in it, and some inputs have
        another one where the layer before is in float.
    """
    values = {tensor.name: tensor for tensor in source.initializer}
    twins = {node.name: node for node in source.node}
    quantizers: dict[str, onnx.NodeProto] = {}
    operands: set[str] = set()
    for node in graph.node:
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
            quantizers[node.output[0]] = node
            if node.name in twins:
                operands.update(node.input)
                assign(node.attribute, twins[node.name].attribute)
    for tensor in graph.initializer:
        if tensor.name in operands and tensor.name in values:
            tensor.CopyFrom(values[tensor.name])
    scales = {tensor.name: tensor for tensor in graph.initializer}

    def scale_of(name: str) -> Any:
        return to_array(scales[quantizers[name].input[1]])

    return all(
        np.array_equal(scale_of(node.input[0]) * scale_of(node.input[1]), scale_of(node.input[2]))
        for node in graph.node
        if len(node.input) == 3 and set(node.input) <= quantizers.keys()
    )


def quant_utils() -> Any:
    """ONNX Runtime's module with the suffixes it appends to the names of quantized tensors."""
    import_onnxruntime()
    from onnxruntime.quantization import quant_utils

    return quant_utils


def _quantized_tensor(node: onnx.NodeProto) -> str | None:
    """The tensor of the float graph that a node quantizes."""
    is_quantizer = node.op_type == "QuantizeLinear"
    return node.input[0].removesuffix(quant_utils().QUANT_INPUT_SUFFIX) if is_quantizer else None


def _remove_quantizers(graph: onnx.GraphProto, tensors: Collection[str]) -> None:
    """Take the quantizers of these tensors out again. In place."""
    sources: dict[str, str] = {}
    nodes, removed = [], []
    for node in graph.node:
        name = node.input[0] if node.input else ""
        again = node.op_type == "DequantizeLinear" and name in sources
        if _quantized_tensor(node) in tensors or again:
            sources[node.output[0]] = sources.get(name, name)
            removed.append(node)
        else:
            nodes.append(node)
    outputs = {sources[o.name]: o.name for o in graph.output if o.name in sources}
    for node in nodes:
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                source = sources.get(name, name)
                names[at] = outputs.get(source, source)
    assign(graph.node, nodes)
    remove_unread(graph, [name for node in removed for name in node.input])
