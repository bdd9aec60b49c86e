"""Folding changes where the arithmetic happens and not what comes out."""

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from torch import nn
from torch.nn import functional as F

from edgecnn_export.graph.fold import fold_pixels
from edgecnn_export.graph.optimize import optimize
from edgecnn_export.loading.file_format import Kind
from edgecnn_export.loading.loaded import LoadedModel
from edgecnn_export.loading.size import Size
from edgecnn_export.tracing.trace import trace
from edgecnn_export.verification.reference import reference_preprocess
from edgecnn_runtime.bundle.manifest import Input, Normalization

SIZE = 12


def spec(color: str, mean: tuple[float, ...], std: tuple[float, ...]) -> Input:
    normalization = Normalization(mean=mean, std=std, origin="flag")
    return Input(width=SIZE, height=SIZE, color=color, normalization=normalization)


def traced(module: nn.Module, channels: int, tmp_path) -> onnx.ModelProto:
    kind: Kind = "checkpoint"
    loaded = LoadedModel(path=tmp_path, sha256="0" * 64, kind=kind, module=module.eval())
    return trace(loaded, Size(SIZE, SIZE, channels), 20)


def difference(module: nn.Module, model: onnx.ModelProto, input_spec: Input) -> float:
    """Largest difference to torch with the textbook's transform, relative to the outputs."""
    pixels = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    with torch.no_grad():
        truth = module(torch.from_numpy(reference_preprocess(pixels, input_spec))).numpy()
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].type == "tensor(uint8)"
    (outputs,) = session.run(None, {"pixels": pixels})
    return float(np.abs(outputs - truth).max() / max(1.0, np.abs(truth).max()))


class Several(nn.Module):
    """The picture is read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 4, 3, padding=1)
        self.two = nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.one(x) + self.two(x)


class Skips(nn.Module):
    """A convolution and the picture itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) + x


class Token(nn.Module):
    """Reads the batch size of the picture besides the picture, as vision transformers do."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 4, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = self.conv(x).flatten(2)
        return torch.cat([self.token.expand(x.shape[0], -1, -1), rows], 2)


class Normalizes(nn.Module):
    """Part of the normalization is in the network itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv((x - 0.5) / 0.25)


NETWORKS = {
    "conv": (lambda: nn.Conv2d(3, 5, 3, padding=1), True),
    "stride and no padding": (lambda: nn.Conv2d(3, 5, 3, stride=2), True),
    "no bias": (lambda: nn.Conv2d(3, 5, 3, padding=2, bias=False), True),
    "conv and batch norm": (lambda: nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)), True),
    "several readers": (Several, True),
    "batch size read": (Token, True),
    "normalizes by itself": (Normalizes, False),
    "grouped": (lambda: nn.Conv2d(3, 6, 3, groups=3, padding=1), False),
    "pooling first": (lambda: nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(3, 5, 3)), False),
    "space to depth": (
        lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 5, 3)),
        False,
    ),
    "the picture is added again": (Skips, False),
    "linear": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 4)), False),
}


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("name", NETWORKS)
def test_pixels_in_give_what_the_textbook_gives(name: str, color: str, tmp_path) -> None:
    make, folds = NETWORKS[name]
    torch.manual_seed(0)
    module = make().eval()
    input_spec = spec(color, (123.7, 116.3, 103.5), (58.4, 57.1, 57.4))
    folded = fold_pixels(traced(module, 3, tmp_path), input_spec)
    onnx.checker.check_model(folded, full_check=True)
    assert difference(module, folded, input_spec) < 1e-4
    assert difference(module, optimize(folded), input_spec) < 1e-4
    operators = [node.op_type for node in folded.graph.node]
    assert operators[:3] == ["Cast", "Transpose", "Sub"] or not folds
    assert ("Gather" in operators or "Mul" in operators) is not folds or color == "bgr"


def plain(module: nn.Conv2d) -> onnx.ModelProto:
    """A convolution as a graph, without the seconds that tracing takes."""
    weight, bias = module.weight.detach().numpy(), module.bias.detach().numpy()
    conv = helper.make_node(
        "Conv",
        ["input", "weight", "bias"],
        ["output"],
        pads=[*module.padding, *module.padding],
        dilations=module.dilation,
    )
    graph = helper.make_graph(
        [conv],
        "conv",
        [helper.make_tensor_value_info("input", 1, ["batch", weight.shape[1], SIZE, SIZE])],
        [helper.make_tensor_value_info("output", 1, None)],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def one_convolution(weight: np.ndarray, **attributes: Any) -> onnx.ModelProto:
    """float32[N,C,12,12] through one Conv."""
    channels = weight.shape[1] * int(attributes.get("group", 1))
    float32, shape = onnx.TensorProto.FLOAT, ["N", channels, SIZE, SIZE]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["input", "weight"], ["output"], **attributes)],
        "conv",
        [helper.make_tensor_value_info("input", float32, shape)],
        [helper.make_tensor_value_info("output", float32, None)],
        [numpy_helper.from_array(weight, "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@settings(max_examples=150)
@given(
    color=st.sampled_from(["rgb", "bgr", "gray"]),
    means=st.tuples(*[st.floats(0, 255)] * 3),
    stds=st.tuples(*[st.floats(1, 255)] * 3),
    pads=st.tuples(*[st.integers(0, 3)] * 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    grouped=st.booleans(),
    kernel=st.integers(1, 3),
)
def test_any_normalization(color, means, stds, pads, stride, dilation, grouped, kernel) -> None:
    channels = 1 if color == "gray" else 3
    group = channels if grouped else 1
    rng = np.random.default_rng(kernel)
    weight = rng.standard_normal((6, channels // group, kernel, kernel)).astype(np.float32)
    model = one_convolution(
        weight, pads=pads, strides=[stride] * 2, dilations=[dilation] * 2, group=group
    )
    input_spec = spec(color, means[:channels], stds[:channels])

    class Truth(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            top, left, bottom, right = pads
            padded = F.pad(x, (left, right, top, bottom))
            kernels = torch.from_numpy(weight)
            return F.conv2d(padded, kernels, stride=stride, dilation=dilation, groups=group)

    assert difference(Truth(), fold_pixels(model, input_spec), input_spec) < 1e-4


GRAY = {
    "conv": (lambda: nn.Conv2d(1, 4, 3, padding=1), []),
    "batch size read": (lambda: Token(1), []),
    "pooling first": (lambda: nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(1, 4, 3)), ["Mul"]),
    "linear": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 4)), ["Mul"]),
}


@pytest.mark.parametrize("name", GRAY)
def test_gray_is_the_unrounded_luma(name: str, tmp_path) -> None:
    make, steps = GRAY[name]
    torch.manual_seed(0)
    module = make().eval()
    input_spec = spec("gray", (33.3,), (78.6,))
    folded = fold_pixels(traced(module, 1, tmp_path), input_spec)
    onnx.checker.check_model(folded, full_check=True)
    assert difference(module, folded, input_spec) < 1e-4
    operators = [node.op_type for node in folded.graph.node]
    assert [op for op in operators if op in {"Mul", "Gather"}] == steps


def test_any_number_of_pictures(tmp_path) -> None:
    folded = fold_pixels(traced(Token().eval(), 3, tmp_path), spec("rgb", (1, 2, 3), (4, 5, 6)))
    pixels = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
    session = ort.InferenceSession(folded.SerializeToString(), providers=["CPUExecutionProvider"])
    together = session.run(None, {"pixels": pixels})[0]
    alone = [session.run(None, {"pixels": pixels[i : i + 1]})[0] for i in range(5)]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)


def test_raw_pixels_cost_no_arithmetic(tmp_path) -> None:
    module = nn.Conv2d(3, 4, 3).eval()
    input_spec = spec("bgr", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    folded = fold_pixels(traced(module, 3, tmp_path), input_spec)
    assert [node.op_type for node in folded.graph.node] == ["Cast", "Transpose", "Conv"]


def test_shared_weights_are_not_changed_for_others(tmp_path) -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(self.conv(x))

    module = Shared().eval()
    colors = spec("rgb", (10.0, 20.0, 30.0), (40.0, 50.0, 60.0))
    assert difference(module, fold_pixels(traced(module, 3, tmp_path), colors), colors) < 1e-4
