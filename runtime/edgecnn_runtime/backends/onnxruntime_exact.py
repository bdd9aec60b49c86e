"""ONNX Runtime without its INT8 kernels: sums are exact on every processor, and take their time.

x86 without VNNI adds pairs of INT8 products in 16 bits, where full-range weights overflow. Forms
that are made for other processors are judged by this one there; see ``device.cpu.saturates``.
"""

from dataclasses import replace

from edgecnn_runtime.backends import onnxruntime
from edgecnn_runtime.bundle.manifest import TARGETS

NO_INT8_KERNELS = {"session.disable_quant_qdq": "1"}
"""QuantizeLinear and DequantizeLinear stay what they are, and what is between them is float: what
they round is rounded, and no sum of products overflows."""

ENGINE = replace(
    onnxruntime.ENGINE,
    name="onnxruntime-exact",
    label="ONNX Runtime without INT8 kernels",
    targets=TARGETS,
    precisions=lambda: ("f32",),
    load=lambda path, options: onnxruntime.OnnxRuntime(path, options, NO_INT8_KERNELS),
    by_name_only=True,
)
