"""The INT8 forms of one graph: what each engine wants its QuantizeLinear nodes to look like.

``cpu``     unsigned asymmetric activations, signed per-channel weights, everything quantised as
            far as the last layer with weights: what x86 and Arm kernels are fast at.
``cpu-rr``  the same with 7-bit weights, for processors that sum pairs of products in 16 bits.
``trt``     signed symmetric activations, zero-points all 0, float bias, only the inputs of
            Conv, Gemm, MatMul and Add quantised: what TensorRT takes.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from edgecnn_export.config import Target
from edgecnn_export.int8.ranges import Range

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
ELEMENTWISE = ("Add", "Mul", "Concat", "GlobalAveragePool", "Sigmoid", "LeakyRelu")
FUSED = ("Relu", "Clip")
FOLLOWERS = (
    "MaxPool", "AveragePool", "Resize", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze",
    "Slice", "Split", "Pad",
)  # fmt: skip
"""Quantised where what they read is: they move values, and share its scale."""
TAIL = "_QuantizeLinear_Input"
"""What the quantiser appends to the name of a graph output it has to rename."""


@dataclass(frozen=True)
class Dialect:
    """operators: what is quantised. signed: activations, symmetric around 0. reduced: 7-bit
    weights. everywhere: outputs are quantised too, not only inputs; but see ``tail``."""

    target: Target
    operators: tuple[str, ...]
    signed: bool = False
    reduced: bool = False
    everywhere: bool = True


DIALECTS: Mapping[Target, Dialect] = {
    "cpu": Dialect("cpu", WEIGHTED + ELEMENTWISE + FUSED + FOLLOWERS),
    "cpu-rr": Dialect("cpu-rr", WEIGHTED + ELEMENTWISE + FUSED + FOLLOWERS, reduced=True),
    "trt": Dialect("trt", (*WEIGHTED, "Add"), signed=True, everywhere=False),
}


def insert_qdq(
    model: onnx.ModelProto,
    dialect: Dialect,
    ranges: Mapping[str, Range] | None = None,
    floats: Collection[str] = (),
) -> onnx.ModelProto:
    """A copy of a float graph with QuantizeLinear and DequantizeLinear nodes in it.

    model: every node named. ranges: by tensor; None gives every tensor the same, to learn which
    ones would be quantised. floats: names of nodes that stay in float.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    graph = onnx.ModelProto()
    graph.CopyFrom(model)
    last, behind = tail(model, dialect)
    known = {tensor: (0.0, 1.0) for node in graph.graph.node for tensor in node.output}
    known |= {value.name: (0.0, 1.0) for value in graph.graph.input}
    known |= ranges or {}
    data = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in known.items()
    }
    options: dict[str, Any] = {"WeightSymmetric": True, "ActivationSymmetric": dialect.signed}
    if not dialect.everywhere:
        options["OpTypesToExcludeOutputQuantization"] = list(dialect.operators)
        options["QuantizeBias"] = False
    quantizer = QDQQuantizer(
        graph,
        per_channel=True,
        reduce_range=dialect.reduced,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if dialect.signed else QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, data),
        nodes_to_quantize=[],
        nodes_to_exclude=[*floats, *_fused_with(model, floats), *(n.name for n in behind)],
        op_types_to_quantize=list(dialect.operators),
        extra_options=options,
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    made: onnx.ModelProto = quantizer.model.model
    _release(made.graph, last)
    made.ir_version = model.ir_version
    made.producer_name, made.producer_version = model.producer_name, model.producer_version
    return made


def tail(model: onnx.ModelProto, dialect: Dialect) -> tuple[set[str], list[onnx.NodeProto]]:
    """Tensors that lead to no layer with weights any more, and the nodes without any that make them.

    Results need no eight bits: nothing multiplies them again. Rounding them costs accuracy, and
    OpenVINO time, which returns each output to float in steps of its own.
    """
    if not dialect.everywhere:
        return set(), []
    leads: set[str] = set()
    for node in reversed(model.graph.node):
        if node.op_type in WEIGHTED or leads.intersection(node.output):
            leads.update(node.input)
    made = [node for node in model.graph.node if not leads.intersection(node.output)]
    last = {tensor for node in made for tensor in node.output}
    return last, [node for node in made if node.op_type not in WEIGHTED]


def _release(graph: onnx.GraphProto, tensors: Collection[str]) -> None:
    """Take the quantisers of these tensors out again. In place."""
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
                name = instead.get(name, name)
                names[at] = outputs.get(name, name)
    del graph.node[:]
    graph.node.extend(kept)


def _fused_with(model: onnx.ModelProto, floats: Collection[str]) -> list[str]:
    """The activations that directly follow float nodes: they stay with them."""
    tensors = {node.output[0] for node in model.graph.node if node.name in floats}
    return [n.name for n in model.graph.node if n.op_type in FUSED and n.input[0] in tensors]
