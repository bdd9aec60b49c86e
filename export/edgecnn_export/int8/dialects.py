"""The INT8 forms of one graph: what each engine wants its QuantizeLinear nodes to look like.

``cpu``     unsigned asymmetric activations, signed per-channel weights, everything quantised: what
            x86 and Arm kernels are fast at.
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


@dataclass(frozen=True)
class Dialect:
    """operators: what is quantised. signed: activations, symmetric around 0. reduced: 7-bit
    weights. everywhere: outputs are quantised too, not only inputs."""

    target: Target
    operators: tuple[str, ...]
    signed: bool = False
    reduced: bool = False
    everywhere: bool = True

    @property
    def levels(self) -> int:
        """The largest integer a weight is rounded to."""
        return 64 if self.reduced else 127


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
        nodes_to_exclude=[*floats, *_fused_with(model, floats)],
        op_types_to_quantize=list(dialect.operators),
        extra_options=options,
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    made: onnx.ModelProto = quantizer.model.model
    made.ir_version = model.ir_version
    made.producer_name, made.producer_version = model.producer_name, model.producer_version
    return made


def _fused_with(model: onnx.ModelProto, floats: Collection[str]) -> list[str]:
    """The activations that directly follow float nodes: they stay with them."""
    tensors = {node.output[0] for node in model.graph.node if node.name in floats}
    return [n.name for n in model.graph.node if n.op_type in FUSED and n.input[0] in tensors]
