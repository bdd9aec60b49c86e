"""The INT8 forms of one graph: where each engine wants its QuantizeLinear nodes.

``cpu``     unsigned asymmetric activations, signed per-channel weights, everything quantized but
            results and islands in float: what x86 and Arm kernels are fast at.
``cpu-rr``  the same with 7-bit weights, for processors that sum pairs of products in 16 bits.
``openvino``  as ``cpu``, but Sigmoid and LeakyReLU are float, and so are the products that read
            them and the output of the convolution before them: OpenVINO fuses an activation with
            its convolution, and a quantizer between them makes two steps of it. It has no
            quantizers behind a Transpose or Slice either: each would be a step, where ONNX Runtime
            needs them to stay in INT8.
``trt``     signed symmetric activations, zero-points all 0, float bias, only the inputs of
            Conv, Gemm, MatMul and Add quantized: what TensorRT takes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from edgecnn_runtime.bundle.manifest import REDUCED_RANGE, Int8Target

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
    """Where an engine wants its quantizers.

    Attributes:
        operators: The ONNX operators that are quantized.
        signed: Whether activations are signed and symmetric around 0.
        reduced: Whether weights have seven bits.
        quantize_outputs: Whether outputs are quantized too, not only inputs; see ``find_ignored``.
        float_output_ops: The layers with weights that need not round what only float operators
            read.
        through_data_movement: Whether a quantizer holds behind what only moves values, so that
            there is none after it.
        variant_of: The target whose graph serves as well where this one's would be nearly equal.
    """

    operators: tuple[str, ...]
    signed: bool = False
    reduced: bool = False
    quantize_outputs: bool = True
    float_output_ops: tuple[str, ...] = PRODUCTS
    through_data_movement: bool = False
    variant_of: Int8Target | None = None


_EVERYTHING = WEIGHTED + ELEMENTWISE + FUSED + PASSTHROUGH_OPS
_FUSING = tuple(name for name in _EVERYTHING if name not in ACTIVATIONS)
SCHEMES: Mapping[Int8Target, QuantScheme] = {
    "cpu": QuantScheme(_EVERYTHING),
    "openvino": QuantScheme(
        _FUSING, float_output_ops=WEIGHTED, through_data_movement=True, variant_of="cpu"
    ),
    REDUCED_RANGE: QuantScheme(_EVERYTHING, reduced=True),
    "trt": QuantScheme((*WEIGHTED, "Add"), signed=True, quantize_outputs=False),
}
"""By target. Another one is named in ``manifest.Int8Target``, described here, and listed among the
targets of the engines that take it."""
