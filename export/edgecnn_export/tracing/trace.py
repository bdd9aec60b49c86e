"""A loaded model becomes one float NCHW graph: input ``input``, dynamic batch, cleaned up."""

import onnx
import onnx_ir as ir
import torch

from edgecnn_export.loading.loaded import LoadedModel, input_shape
from edgecnn_export.loading.onnx_input import compute_branch_outputs
from edgecnn_export.loading.size import Size
from edgecnn_export.tracing.capture import capture, capture_program, capture_script
from edgecnn_export.tracing.cleanup import clean
from edgecnn_export.tracing.naming import name_batch
from edgecnn_export.tracing.normalize_onnx import normalize_onnx
from edgecnn_export.tracing.samples import random_images
from edgecnn_runtime.errors import UnsupportedModelError

IR_VERSION = 10
"""What ONNX Runtime 1.23 (JetPack 6.1) still reads."""


def trace(loaded: LoadedModel, size: Size, opset: int) -> onnx.ModelProto:
    """The model as a float graph, float32[batch,channels,height,width] → its outputs.

    Batch is dynamic wherever the model allows it, else the one size it takes. All tensors are
    inside the graph; operators are of the default domain only.

    Args:
        loaded: The model.
        size: What the network takes.
        opset: The newest operator set allowed.

    Raises:
        UnsupportedModelError: The model does not take the size or the channels, or contains an
            operator or Python that cannot be exported.
    """
    if loaded.onnx is not None:
        model = normalize_onnx(ir.from_proto(loaded.onnx), size, opset)
    elif loaded.program is not None:
        model = normalize_onnx(_from_program(loaded, size, opset), size, opset)
    elif isinstance(loaded.module, torch.jit.ScriptModule):
        model = normalize_onnx(capture_script(loaded.module, size, opset), size, opset)
    else:
        assert loaded.module is not None
        model = capture(loaded.module, size, opset)
    name_batch(model)
    clean(model)
    model.ir_version = IR_VERSION
    traced: onnx.ModelProto = ir.to_proto(model)
    compute_branch_outputs(traced.graph)
    return traced


def _from_program(loaded: LoadedModel, size: Size, opset: int) -> ir.Model:
    assert loaded.program is not None
    assert loaded.module is not None
    batch, _, height, width = input_shape(loaded) or (None,) * 4
    if height not in {None, size.height} or width not in {None, size.width}:
        own = f"{width or size.width}x{height or size.height}"
        raise UnsupportedModelError(
            f"the program was exported for images of {own} and does not take "
            f"{size.width}x{size.height}: use its own size, --input {own}, or export it again at "
            "that size, or with dynamic_shapes"
        )
    return capture_program(
        loaded.program, loaded.module, random_images(batch or 1, size.chw), opset
    )
