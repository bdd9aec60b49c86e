"""The INT8 forms of one graph: what each engine wants its QuantizeLinear nodes to look like.

``cpu``     unsigned asymmetric activations, signed per-channel weights, everything quantised but
            results and islands in float: what x86 and Arm kernels are fast at.
``cpu-rr``  the same with 7-bit weights, for processors that sum pairs of products in 16 bits.
``trt``     signed symmetric activations, zero-points all 0, float bias, only the inputs of
            Conv, Gemm, MatMul and Add quantised: what TensorRT takes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from edgecnn_export.config import Target

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
PRODUCTS = ("Gemm", "MatMul")
"""Of them, those that take eight bits and give float in one step everywhere."""
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
    weights. everywhere: outputs are quantised too, not only inputs; but see ``spare``."""

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
