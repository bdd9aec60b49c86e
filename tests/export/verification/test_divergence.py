"""Which layer is the first wrong one?"""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgecnn_export.verification.divergence import first_divergence
from edgecnn_export.verification.layers import LayerValues, onnx_layers, torch_layers

RNG = np.random.default_rng(0)


def layers(count: int) -> list[LayerValues]:
    return [
        LayerValues(f"layer{index}", RNG.standard_normal((1, 4, 3, 3))) for index in range(count)
    ]


def test_nothing_diverges_from_itself() -> None:
    expected = layers(4)
    assert first_divergence(expected, [layer.values for layer in expected]) is None


def test_the_first_layer_after_the_last_right_one_is_named() -> None:
    expected = layers(5)
    outputs = [layer.values for layer in expected]
    outputs[3] = outputs[3] * 1.5
    outputs[4] = outputs[4] * 1.5
    divergence = first_divergence(expected, outputs)
    assert divergence is not None
    assert divergence.layer == "layer3"
    assert divergence.snr_db == pytest.approx(20 * np.log10(2), abs=0.5)


def test_a_layer_that_was_fused_into_the_next_is_no_false_alarm() -> None:
    expected = layers(4)
    assert first_divergence(
        expected, [expected[0].values, expected[2].values, expected[3].values]
    ) == (
        first_divergence(expected, [layer.values for layer in expected if layer.name != "layer1"])
    )
    divergence = first_divergence(expected, [expected[0].values, expected[2].values])
    assert divergence is not None
    assert divergence.layer == "layer3"


def test_layout_does_not_matter_but_size_does() -> None:
    expected = layers(1)
    assert first_divergence(expected, [expected[0].values.reshape(4, 9)]) is None
    divergence = first_divergence(expected, [np.zeros(5)])
    assert divergence is not None
    assert divergence.layer == "layer0"


def test_nan_is_wrong() -> None:
    expected = layers(1)
    assert first_divergence(expected, [expected[0].values * np.nan]) is not None


def test_torch_layers_are_the_innermost_modules_in_order() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Sequential(nn.ReLU(), nn.Flatten())).eval()
    outputs = torch_layers(net, np.ones((1, 3, 4, 4), np.float32))
    assert [layer.name for layer in outputs] == ["0 (Conv2d)", "1.0 (ReLU)", "1.1 (Flatten)"]
    assert not any(module._forward_hooks for module in net.modules())
    with torch.no_grad():
        assert np.allclose(outputs[-1].values, net(torch.ones(1, 3, 4, 4)).numpy())


def test_onnx_layers_are_the_nodes_in_order() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["doubled"]),
        helper.make_node("Shape", ["doubled"], ["shape"]),
        helper.make_node("Relu", ["doubled"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(np.float32(2), "two")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    outputs = onnx_layers(model, np.array([[1, -1, 3]], np.float32))
    assert [layer.name for layer in outputs] == ["doubled (Mul)", "y (Relu)"]
    assert outputs[0].values.tolist() == [[2, -2, 6]]
    assert len(model.graph.output) == 1
