"""Put a scheme's QuantizeLinear and DequantizeLinear nodes into a float graph."""

import copy
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx

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
) -> onnx.ModelProto:
    """A copy of a float graph with QuantizeLinear and DequantizeLinear nodes in it.

    Args:
        model: The float graph, every node named.
        scheme: Where the nodes go.
        ranges: By tensor; None gives every tensor the same, to learn which ones are quantized.
        floats: The names of nodes that stay in float.
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
        per_channel=True,
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
