"""Small float graphs as fold and optimize leave them, images, and an accuracy gate."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecnn_export.quantization.accuracy_gate import AccuracyGate, make_gate
from edgecnn_runtime.backends.onnxruntime_exact import NO_INT8_KERNELS
from edgecnn_runtime.backends.ort_session import open_session
from edgecnn_runtime.bundle.manifest import (
    ModelSpec,
)
from edgecnn_runtime.types import Pixels

SIDE = 24
CLASSES = 6
MEAN = (103.5, 116.3, 123.7)


@pytest.fixture(scope="session")
def pictures() -> Pixels:
    """uint8[48,24,24,3]: blobs of color on gradients, each one different."""
    random = np.random.default_rng(3)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    images = []
    for _ in range(48):
        slope, center = random.normal(0, 60, (2, 3)), random.uniform(0.2, 0.8, 2)
        spot = np.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / random.uniform(0.01, 0.1))
        base = random.uniform(60, 190, 3)
        planes = base + x[..., None] * slope[0] + y[..., None] * slope[1]
        images.append(planes + spot[..., None] * random.normal(0, 90, 3))
    noisy = np.stack(images) + random.normal(0, 4, (48, SIDE, SIDE, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


SILU = [
    helper.make_node("Sigmoid", ["c2"], ["s2"], "sigmoid"),
    helper.make_node("Mul", ["c2", "s2"], ["r2"], "silu"),
]


@pytest.fixture(scope="session")
def network() -> Callable[..., onnx.ModelProto]:
    """Build pixels → Cast → Transpose → Sub → convolutions → pooling → logits, seeded.

    outlier: how much further one channel of the first layer reaches than the others. pads: of that
    layer. mean: what is subtracted from the pixels, BGR. silu: x·sigmoid(x) in place of the second
    ReLU.
    """

    def build(
        *,
        outlier: float = 1.0,
        pads: tuple[int, int, int, int] = (1, 1, 1, 1),
        mean: tuple[float, float, float] = MEAN,
        batch: str | int = "N",
        silu: bool = False,
    ) -> onnx.ModelProto:
        random = np.random.default_rng(7)

        def weights(name: str, *shape: int) -> onnx.TensorProto:
            values = random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
            return numpy_helper.from_array(values.astype(np.float32), name)

        first = numpy_helper.to_array(weights("first.w", 8, 3, 3, 3)) / 50
        first[3] *= outlier
        depth = weights("depth.w", 8, 1, 3, 3)
        initializers = [
            numpy_helper.from_array(np.float32(mean).reshape(1, 3, 1, 1), "pixels.mean"),
            numpy_helper.from_array(first.astype(np.float32), "first.w"),
            numpy_helper.from_array(random.normal(0, 0.1, 8).astype(np.float32), "first.b"),
            depth,
            weights("second.w", 8, 8, 1, 1),
            weights("third.w", 12, 8, 3, 3),
            weights("head.w", CLASSES, 12),
            numpy_helper.from_array(random.normal(0, 0.1, CLASSES).astype(np.float32), "head.b"),
        ]
        nodes = [
            helper.make_node("Cast", ["pixels"], ["float"], "cast", to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["float"], ["planes"], "planes", perm=[0, 3, 1, 2]),
            helper.make_node("Sub", ["planes", "pixels.mean"], ["centered"], "center"),
            helper.make_node(
                "Conv", ["centered", "first.w", "first.b"], ["c1"], "first", pads=pads
            ),
            helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
            helper.make_node("Conv", ["r1", "depth.w"], ["c2"], "depth", pads=[1] * 4, group=8),
            *(SILU if silu else [helper.make_node("Relu", ["c2"], ["r2"], "relu2")]),
            helper.make_node("Conv", ["r2", "second.w"], ["c3"], "second"),
            helper.make_node("Add", ["c3", "r1"], ["sum"], "add"),
            helper.make_node(
                "MaxPool", ["sum"], ["half"], "pool", kernel_shape=[2, 2], strides=[2, 2]
            ),
            helper.make_node("Conv", ["half", "third.w"], ["c4"], "third", pads=[1] * 4),
            helper.make_node("Relu", ["c4"], ["r4"], "relu4"),
            helper.make_node("GlobalAveragePool", ["r4"], ["mean"], "mean"),
            helper.make_node("Flatten", ["mean"], ["flat"], "flat"),
            helper.make_node("Gemm", ["flat", "head.w", "head.b"], ["logits"], "head", transB=1),
        ]
        graph = helper.make_graph(
            nodes,
            "network",
            [helper.make_tensor_value_info("pixels", TensorProto.UINT8, [batch, SIDE, SIDE, 3])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, CLASSES])],
            initializers,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
        model.ir_version = 10
        onnx.checker.check_model(model)
        return model

    return build


@pytest.fixture
def gate(
    network: Callable[..., onnx.ModelProto], classifier: ModelSpec, pictures: Pixels
) -> AccuracyGate:
    """Measures ``network`` on the last sixteen pictures, on ONNX Runtime."""
    return make_gate(classifier, network(), pictures[32:], ["onnxruntime"])


@pytest.fixture(scope="session")
def run() -> Callable[..., np.ndarray]:
    """The first output of a graph, on ONNX Runtime: sums are exact on every processor.

    kernels: INT8 is computed by those that this one has.
    """

    def infer(model: onnx.ModelProto, pixels: Pixels, *, kernels: bool = False) -> np.ndarray:
        settings = {} if kernels else NO_INT8_KERNELS
        session = open_session(model.SerializeToString(), settings=settings)
        return np.asarray(session.run(None, {session.get_inputs()[0].name: pixels})[0])

    return infer


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Where a search keeps what it has learnt."""
    return tmp_path / "work"
