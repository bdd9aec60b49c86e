"""Put a scheme's QuantizeLinear and DequantizeLinear nodes into a float graph."""

import copy
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx.numpy_helper import from_array, to_array

from edgecnn_export.quantization.ignored_scope import find_ignored, shared_quantizers
from edgecnn_export.quantization.onnx_graph import (
    add_constant,
    assign,
    constants,
    remove_unread,
    set_bias,
)
from edgecnn_export.quantization.range_estimation import Range
from edgecnn_export.quantization.schemes import FUSED, QuantScheme
from edgecnn_runtime.backends.ort_session import import_onnxruntime

ANY_RANGE = (0.0, 1.0)
"""Where it does not matter, because only the places of the quantizers are asked for."""

INT32_MAX = 2**31 - 1
BIAS_ROOM = 1.001
"""ONNX Runtime adjusts the scale of a weight whose bias comes this close to 32 bits."""


def insert_qdq(
    model: onnx.ModelProto,
    scheme: QuantScheme,
    ranges: Mapping[str, Range] | None = None,
    floats: Collection[str] = (),
    *,
    per_channel: bool = True,
    weights: onnx.ModelProto | None = None,
) -> onnx.ModelProto:
    """A copy of a float graph with QuantizeLinear and DequantizeLinear nodes in it.

    Args:
        model: The float graph, every node named.
        scheme: Where the nodes go.
        ranges: By tensor; None gives every tensor the same, to learn which ones are quantized.
        floats: The names of nodes that stay in float.
        per_channel: Whether each channel of a weight has a scale of its own; False is quicker where
            only the activations are looked at.
        weights: What ``round_weights`` returned for this graph and scheme. Weights are taken from
            there instead of being rounded again, channel by channel, which takes most of the time.
    """
    if weights is not None:
        quantized = _insert_qdq(model, scheme, ranges, floats, per_channel=False)
        if _copy_weights(weights.graph, quantized.graph, model.graph):
            return _tidy(quantized, model, scheme)
    return _tidy(_insert_qdq(model, scheme, ranges, floats, per_channel=per_channel), model, scheme)


def round_weights(model: onnx.ModelProto, scheme: QuantScheme) -> onnx.ModelProto:
    """A graph with the rounded weights of a float graph, for ``insert_qdq``."""
    return _insert_qdq(model, scheme, None, (), adjust_weights=False)


def _insert_qdq(
    model: onnx.ModelProto,
    scheme: QuantScheme,
    ranges: Mapping[str, Range] | None,
    floats: Collection[str],
    *,
    per_channel: bool = True,
    adjust_weights: bool = True,
) -> onnx.ModelProto:
    """What ONNX Runtime's quantizer makes of a graph.

    It adjusts the scale of a weight where the bias would not fit into 32 bits beside it.
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
    options["QDQDisableWeightAdjustForInt32Bias"] = not adjust_weights
    if not scheme.quantize_outputs:
        options["OpTypesToExcludeOutputQuantization"] = list(scheme.operators)
        options["QuantizeBias"] = False
    data = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in all_ranges.items()
    }
    original = copy.deepcopy(model)
    _separate_biases(original.graph)
    quantizer = QDQQuantizer(
        original,
        per_channel=per_channel,
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
    return quantized


def _tidy(
    quantized: onnx.ModelProto, model: onnx.ModelProto, scheme: QuantScheme
) -> onnx.ModelProto:
    """Take the quantizers out again that ONNX Runtime would not leave out. In place."""
    _remove_quantizers(quantized.graph, find_ignored(model, scheme).tensors)
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


def _copy_weights(source: onnx.GraphProto, graph: onnx.GraphProto, model: onnx.GraphProto) -> bool:
    """Give weights the scales and rounded values that they have in ``source``, and biases theirs.

    Args:
        source: Where every weight is rounded, channel by channel.
        graph: Where each has one scale; changed in place.
        model: The float graph.

    Returns:
        Whether that is all of it: every weight is there, and every bias fits into 32 bits, without
        which its weights need other scales, and is added as it is.
    """
    if any(attribute.name == "beta" and attribute.f != 1 for attribute in _gemm_attributes(model)):
        return False
    values = {tensor.name: tensor for tensor in source.initializer}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    floats = {tensor.name: tensor for tensor in model.initializer}
    twins = {node.name: node for node in source.node}
    originals = {node.name: node for node in model.node if len(node.input) == 3}
    scales: dict[str, str] = {}
    biases: dict[str, onnx.NodeProto] = {}
    for node in graph.node:
        if node.op_type != "DequantizeLinear":
            continue
        scales[node.output[0]] = node.input[1]
        if node.input[0] not in tensors:
            continue
        if tensors[node.input[0]].data_type == onnx.TensorProto.INT32:
            biases[node.output[0]] = node
            continue
        if node.name not in twins:
            return False
        assign(node.attribute, twins[node.name].attribute)
        for name in node.input:
            tensors[name].CopyFrom(values[name])
    for node in graph.node:
        bias = biases.get(node.input[2]) if len(node.input) == 3 else None
        if bias is None:
            continue
        by_input, by_weight = (to_array(tensors[scales[name]]) for name in node.input[:2])
        scale = np.reshape(by_input * by_weight, -1)
        exact = to_array(floats[originals[node.name].input[2]]).astype(np.float64)
        if np.any(np.abs(exact) * BIAS_ROOM > INT32_MAX * scale):
            return False
        rounded = np.round(exact / scale).astype(np.int32)
        arrays = [rounded, scale]
        if len(scale) > 1:
            arrays.append(np.zeros(scale.shape, np.int32))
            assign(bias.attribute, [onnx.helper.make_attribute("axis", 0)])
        for name, array in zip(bias.input, arrays, strict=False):
            tensors[name].CopyFrom(from_array(array, name))
    return True


def _separate_biases(graph: onnx.GraphProto) -> None:
    """Give each layer a bias of its own: one with several readers would be rounded for one."""
    stored = constants(graph)
    readers = Counter(name for node in graph.node for name in node.input)
    for node in graph.node:
        if node.op_type not in {"Conv", "Gemm"} or len(node.input) < 3:
            continue
        if readers[bias := node.input[2]] > 1 and bias in stored:
            values = to_array(stored[bias])
            set_bias(node, add_constant(graph, f"{node.name}_bias", values))
            readers[bias] -= 1


def _gemm_attributes(graph: onnx.GraphProto) -> Iterator[onnx.AttributeProto]:
    for node in graph.node:
        if node.op_type == "Gemm":
            yield from node.attribute


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
