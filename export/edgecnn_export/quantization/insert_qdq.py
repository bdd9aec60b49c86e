"""Put a scheme's QuantizeLinear and DequantizeLinear nodes into a float graph."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx

from edgecnn_export.quantization.ignored_scope import find_ignored, shared_quantizers
from edgecnn_export.quantization.range_estimation import Range
from edgecnn_export.quantization.schemes import FUSED, QuantScheme
from edgecnn_runtime.backends.ort_session import import_onnxruntime

TAIL = "_QuantizeLinear_Input"
"""What the quantizer appends to the name of a graph output it has to rename."""


def insert_qdq(
    model: onnx.ModelProto,
    scheme: QuantScheme,
    ranges: Mapping[str, Range] | None = None,
    floats: Collection[str] = (),
) -> onnx.ModelProto:
    """A copy of a float graph with QuantizeLinear and DequantizeLinear nodes in it.

    model: every node named. ranges: by tensor; None gives every tensor the same, to learn which
    ones would be quantized. floats: names of nodes that stay in float.
    """
    import_onnxruntime()  # switches its telemetry off first
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    graph = onnx.ModelProto()
    graph.CopyFrom(model)
    spared = find_ignored(model, scheme)
    known = {tensor: (0.0, 1.0) for node in graph.graph.node for tensor in node.output}
    known |= {value.name: (0.0, 1.0) for value in graph.graph.input}
    known |= ranges or {}
    data = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in known.items()
    }
    options: dict[str, Any] = {"WeightSymmetric": True, "ActivationSymmetric": scheme.signed}
    if not scheme.quantize_outputs:
        options["OpTypesToExcludeOutputQuantization"] = list(scheme.operators)
        options["QuantizeBias"] = False
    quantizer = QDQQuantizer(
        graph,
        per_channel=True,
        reduce_range=scheme.reduced,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if scheme.signed else QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, data),
        nodes_to_quantize=[],
        nodes_to_exclude=[*floats, *_fused_with(model, floats), *spared.nodes],
        op_types_to_quantize=list(scheme.operators),
        extra_options=options,
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    made: onnx.ModelProto = quantizer.model.model
    _release(made.graph, spared.tensors)
    if scheme.through_data_movement:
        _release(made.graph, _carried(made.graph, shared_quantizers(model, scheme)))
    made.ir_version = model.ir_version
    made.producer_name, made.producer_version = model.producer_name, model.producer_version
    return made


def _release(graph: onnx.GraphProto, tensors: Collection[str]) -> None:
    """Take the quantizers of these tensors out again. In place."""
    dropped, instead = set[str](), dict[str, str]()
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0].removesuffix(TAIL) in tensors:
            instead[node.output[0]] = node.input[0]
            dropped.add(node.name)
        elif node.op_type == "DequantizeLinear" and node.input[0] in instead:
            instead[node.output[0]] = instead[node.input[0]]
            dropped.add(node.name)
    outputs = {instead[o.name]: o.name for o in graph.output if o.name in instead}
    kept = [node for node in graph.node if node.name not in dropped]
    for node in kept:
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                before = instead.get(name, name)
                names[at] = outputs.get(before, before)
    unread = {name for node in graph.node if node.name in dropped for name in node.input}
    unread -= {name for node in kept for name in node.input}
    constants = [constant for constant in graph.initializer if constant.name not in unread]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(constants)


def _carried(graph: onnx.GraphProto, origins: Mapping[str, str]) -> list[str]:
    """The tensors whose values have been through a quantizer before they were moved."""
    quantized = {
        node.input[0].removesuffix(TAIL) for node in graph.node if node.op_type == "QuantizeLinear"
    }
    return [tensor for tensor, origin in origins.items() if origin in quantized]


def _fused_with(model: onnx.ModelProto, floats: Collection[str]) -> list[str]:
    """The activations that directly follow float nodes: they stay with them."""
    tensors = {node.output[0] for node in model.graph.node if node.name in floats}
    return [n.name for n in model.graph.node if n.op_type in FUSED and n.input[0] in tensors]
