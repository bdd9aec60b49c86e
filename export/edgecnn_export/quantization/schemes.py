"""The INT8 forms of one graph: what each engine wants its QuantizeLinear nodes to look like.

``cpu``     unsigned asymmetric activations, signed per-channel weights, everything quantized but
            results and islands in float: what x86 and Arm kernels are fast at.
``cpu-rr``  the same with 7-bit weights, for processors that sum pairs of products in 16 bits.
``openvino``  as ``cpu``, but Sigmoid and LeakyReLU are float, and so is what reads them and what a
            convolution gives them: OpenVINO takes an activation into the step of the convolution,
            and a quantizer between them makes two of it. Nor has it quantizers behind a Transpose
            or Slice: each would be a step, where ONNX Runtime needs them to stay in INT8.
``trt``     signed symmetric activations, zero-points all 0, float bias, only the inputs of
            Conv, Gemm, MatMul and Add quantized: what TensorRT takes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from edgecnn_export.config import Target

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
PRODUCTS = ("Gemm", "MatMul")
"""Of them, those that take eight bits and give float in one step everywhere."""
ACTIVATIONS = ("Sigmoid", "LeakyRelu")
ELEMENTWISE = ("Add", "Mul", "Concat", "GlobalAveragePool", *ACTIVATIONS)
FUSED = ("Relu", "Clip")
PASSTHROUGH_OPS = (
    "MaxPool", "AveragePool", "Resize", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze",
    "Slice", "Split", "Pad",
)  # fmt: skip
"""Quantized where what they read is: they move values, and share its scale."""


@dataclass(frozen=True)
class QuantScheme:
    """operators: what is quantized. signed: activations, symmetric around 0. reduced: 7-bit
    weights. quantize_outputs: outputs are quantized too, not only inputs; but see ``find_ignored``.
    gives_float: layers with weights that need not round what only float operators read. carries:
    a quantizer holds behind what only moves values, so that there is none after it."""

    target: Target
    operators: tuple[str, ...]
    signed: bool = False
    reduced: bool = False
    quantize_outputs: bool = True
    float_output_ops: tuple[str, ...] = PRODUCTS
    through_data_movement: bool = False


_EVERYTHING = WEIGHTED + ELEMENTWISE + FUSED + PASSTHROUGH_OPS
_FUSING = tuple(name for name in _EVERYTHING if name not in ACTIVATIONS)
SCHEMES: Mapping[Target, QuantScheme] = {
    "cpu": QuantScheme("cpu", _EVERYTHING),
    "openvino": QuantScheme(
        "openvino", _FUSING, float_output_ops=WEIGHTED, through_data_movement=True
    ),
    "cpu-rr": QuantScheme("cpu-rr", _EVERYTHING, reduced=True),
    "trt": QuantScheme("trt", (*WEIGHTED, "Add"), signed=True, quantize_outputs=False),
}
