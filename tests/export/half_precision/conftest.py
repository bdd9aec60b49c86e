"""Float graphs as fold and optimize leave them, a piece of each difficulty at a time."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

SIDE, CLASSES = 24, 6


@pytest.fixture(scope="session")
def network() -> Callable[..., onnx.ModelProto]:
    """Build pixels → Cast → Transpose → Sub → Conv → ``middle`` → Conv → pooling → ``logits``.

    middle: node arguments (operator, inputs, outputs), from "first" to "middle". constants: arrays
    they read, by name.
    """

    def build(
        middle: Sequence[tuple[str, list[str], list[str]]] = (("Relu", ["first"], ["middle"]),),
        **constants: Any,
    ) -> onnx.ModelProto:
        random = np.random.default_rng(7)
        numbers = {
            "pixels.mean": np.float32([103.5, 116.28, 123.675]).reshape(1, 3, 1, 1),
            "first.w": random.normal(0, 0.004, (8, 3, 3, 3)).astype(np.float32),
            "last.w": random.normal(0, 0.3, (CLASSES, 8, 1, 1)).astype(np.float32),
        }
        nodes = [
            helper.make_node("Cast", ["pixels"], ["float"], "cast", to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["float"], ["planes"], "planes", perm=[0, 3, 1, 2]),
            helper.make_node("Sub", ["planes", "pixels.mean"], ["centered"], "center"),
            helper.make_node("Conv", ["centered", "first.w"], ["first"], "first", pads=[1] * 4),
            *(helper.make_node(op, given, made, made[0]) for op, given, made in middle),
            helper.make_node("Conv", ["middle", "last.w"], ["last"], "last"),
            helper.make_node("GlobalAveragePool", ["last"], ["mean"], "mean"),
            helper.make_node("Flatten", ["mean"], ["logits"], "logits"),
        ]
        pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", SIDE, SIDE, 3])
        scores = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])
        stored = [
            numpy_helper.from_array(np.asarray(v), n) for n, v in (numbers | constants).items()
        ]
        graph = helper.make_graph(nodes, "network", [pixels], [scores], stored)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
        model.ir_version = 10
        onnx.checker.check_model(model)
        return model

    return build
