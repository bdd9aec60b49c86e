"""Whatever was loaded becomes one float NCHW graph: input ``input``, dynamic batch, tidy."""

import onnx
import onnx_ir as ir

from edgecnn_export.adapt import adapt
from edgecnn_export.capture import capture
from edgecnn_export.loaded import Loaded
from edgecnn_export.optimise import clean

IR_VERSION = 10
"""What ONNX Runtime 1.23 (JetPack 6.1) still reads."""


def trace(loaded: Loaded, *, height: int, width: int, channels: int, opset: int) -> onnx.ModelProto:
    """The model as a float graph, float32[batch,channels,height,width] → its outputs.

    Batch is dynamic wherever the model allows it, else the one size it takes. All tensors are
    inside; operators are of the default domain only.
    Raises UnsupportedModelError for a size, channel count, operator or Python that cannot be taken.
    """
    if loaded.onnx is not None:
        model = adapt(loaded.onnx, height=height, width=width, channels=channels, opset=opset)
    else:
        assert loaded.module is not None
        model = capture(loaded.module, height=height, width=width, channels=channels, opset=opset)
    working = ir.from_proto(model)
    clean(working)
    working.ir_version = IR_VERSION
    traced: onnx.ModelProto = ir.to_proto(working)
    return traced
