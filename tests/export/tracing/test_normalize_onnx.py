"""Graphs from elsewhere come to the size, batch and operator set asked for, or are refused."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecnn_export.graph.fold import fold_pixels
from edgecnn_export.loading.size import Size
from edgecnn_export.tracing.normalize_onnx import normalize_onnx
from edgecnn_runtime.bundle.manifest import Input, Normalization
from edgecnn_runtime.errors import UnsupportedModelError

RNG = np.random.default_rng(0)
KERNEL = RNG.standard_normal((4, 3, 3, 3)).astype(np.float32)


def graph(
    nodes: Sequence[onnx.NodeProto],
    *,
    shape: Sequence[Any] = (1, 3, 16, 16),
    outputs: Sequence[str] = ("out",),
    constants: dict[str, Any] | None = None,
    opset: int = 20,
    dtype: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    tensors = {"kernel": KERNEL, **(constants or {})}
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "test",
            [helper.make_tensor_value_info("picture", dtype, shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=10,
    )
    return onnx.shape_inference.infer_shapes(model)


def conv(**attributes: Any) -> onnx.NodeProto:
    return helper.make_node("Conv", ["picture", "kernel"], ["conv"], name="conv", **attributes)


def run(model: onnx.ModelProto, planes: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: planes})


def planes(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def adapted(model: onnx.ModelProto, height: int = 16, width: int = 16, **more: int):
    size = Size(width, height, more.get("channels", 3))
    return ir.to_proto(normalize_onnx(ir.from_proto(model), size, more.get("opset", 20)))


@pytest.mark.parametrize("height", [32, 16])
def test_a_fully_convolutional_graph_takes_another_size(height: int) -> None:
    model = graph([conv(), helper.make_node("Relu", ["conv"], ["out"])], shape=(10, 3, 32, 32))
    result = adapted(model, height, 48)
    assert shape(result.graph.input[0]) == ["batch", 3, height, 48]
    assert shape(result.graph.output[0]) == ["batch", 4, height - 2, 46]
    images = planes(2, 3, height, 48)
    free = graph([conv(), helper.make_node("Relu", ["conv"], ["out"])], shape=("n", 3, "h", "w"))
    np.testing.assert_allclose(run(result, images)[0], run(free, images)[0], atol=1e-6)


def test_a_batch_of_one_written_into_reshapes_is_freed() -> None:
    nodes = [conv(), helper.make_node("Reshape", ["conv", "target"], ["out"])]
    result = adapted(graph(nodes, constants={"target": np.array([1, -1], np.int64)}))
    assert [shape(value) for value in (result.graph.input[0], result.graph.output[0])] == [
        ["batch", 3, 16, 16],
        ["batch", 4 * 14 * 14],
    ]


def test_a_batch_that_is_not_the_first_axis_of_an_output() -> None:
    nodes = [
        conv(),
        helper.make_node("Reshape", ["conv", "target"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["out"], perm=[2, 0, 1]),
    ]
    result = adapted(graph(nodes, constants={"target": np.array([0, 4, -1], np.int64)}))
    assert shape(result.graph.output[0]) == [196, "batch", 4]


def test_a_graph_that_mixes_its_batch_keeps_one_picture() -> None:
    nodes = [
        conv(),
        helper.make_node("Softmax", ["conv"], ["out"], axis=0),
    ]
    assert shape(adapted(graph(nodes)).graph.input[0])[0] == 1


def at_a_batch_of_four(*tail: onnx.NodeProto, **constants: Any) -> onnx.ModelProto:
    """Features [4,784] of pictures [4,3,16,16], by a target with the batch written into it."""
    nodes = [conv(), helper.make_node("Reshape", ["conv", "target"], ["flat"]), *tail]
    target = np.array([4, -1], np.int64)
    return graph(nodes, shape=(4, 3, 16, 16), constants={"target": target, **constants})


@pytest.mark.parametrize("declared", [4, "n"])
def test_a_batch_written_into_reshapes_is_freed(declared: int | str) -> None:
    """At a batch of one the file gives [4,196], which is four rows of nothing."""
    model = at_a_batch_of_four(helper.make_node("Relu", ["flat"], ["out"]))
    images = planes(4, 3, 16, 16)
    expected = run(model, images)[0]
    model.graph.input[0].CopyFrom(
        helper.make_tensor_value_info("picture", TensorProto.FLOAT, (declared, 3, 16, 16))
    )
    result = adapted(model)
    assert [shape(value) for value in (result.graph.input[0], result.graph.output[0])] == [
        ["batch", 3, 16, 16],
        ["batch", 784],
    ]
    np.testing.assert_allclose(run(result, images[:3])[0], expected[:3], atol=1e-5)


def test_a_batch_that_cannot_be_freed_is_kept() -> None:
    tail = helper.make_node("Concat", ["flat", "token"], ["out"], axis=1)
    result = adapted(at_a_batch_of_four(tail, token=planes(4, 1)))
    assert shape(result.graph.input[0]) == [4, 3, 16, 16]
    assert shape(result.graph.output[0]) == [4, 785]


def test_a_batch_that_is_mixed_and_cannot_be_freed_is_refused() -> None:
    nodes = [
        helper.make_node("ReduceMean", ["flat", "first_axis"], ["mean"]),
        helper.make_node("Sub", ["flat", "mean"], ["centered"]),
        helper.make_node("Add", ["centered", "token"], ["out"]),
    ]
    model = at_a_batch_of_four(*nodes, first_axis=np.array([0], np.int64), token=planes(4, 1))
    with pytest.raises(UnsupportedModelError, match=r"other 3 of its batch.*batch of one"):
        adapted(model)


def test_outputs_without_a_row_for_each_picture_of_a_batch_are_refused() -> None:
    tail = helper.make_node("Reshape", ["flat", "rows"], ["out"])
    with pytest.raises(UnsupportedModelError, match=r"batch of 4 .*out\[2, 1568\]: no axis has"):
        adapted(at_a_batch_of_four(tail, rows=np.array([2, -1], np.int64)))


def test_outputs_of_one_picture_without_a_batch_are_left_to_whoever_knows_heads() -> None:
    nodes = [conv(), helper.make_node("Reshape", ["conv", "target"], ["out"])]
    result = adapted(graph(nodes, constants={"target": np.array([-1, 4], np.int64)}))
    assert shape(result.graph.input[0]) == [1, 3, 16, 16]
    assert shape(result.graph.output[0]) == [196, 4]


def test_constants_in_nodes_and_initializers_among_the_inputs() -> None:
    target = numpy_helper.from_array(np.array([1, -1], np.int64))
    nodes = [
        conv(),
        helper.make_node("Constant", [], ["target"], value=target),
        helper.make_node("Reshape", ["conv", "target"], ["out"]),
    ]
    model = graph(nodes)
    model.graph.input.append(
        helper.make_tensor_value_info("kernel", TensorProto.FLOAT, (4, 3, 3, 3))
    )
    result = adapted(model)
    assert [value.name for value in result.graph.input] == ["input"]
    assert shape(result.graph.output[0]) == ["batch", 784]


def test_old_operator_sets_are_converted_and_give_the_same() -> None:
    nodes = [
        conv(),
        helper.make_node("Upsample", ["conv", "scales"], ["up"], mode="nearest"),
        helper.make_node("Softmax", ["up"], ["out"], axis=1),
    ]
    scales = np.array([1, 1, 2, 2], np.float32)
    model = graph(nodes, constants={"scales": scales}, opset=9)
    result = adapted(model)
    assert result.opset_import[0].version == 20
    images = planes(1, 3, 16, 16)
    np.testing.assert_allclose(run(result, images)[0], run(model, images)[0], atol=1e-5)


@pytest.mark.parametrize("opset", [9, 10])
@pytest.mark.parametrize(("mode", "factor"), [("linear", 2.0), ("nearest", 1.5), ("linear", 0.5)])
def test_scaling_of_old_operator_sets_is_not_changed(opset: int, mode: str, factor: float) -> None:
    """They scale from the corner of the picture; later ones do so only where it is written."""
    if opset == 9 and factor < 1:
        pytest.skip("Upsample only enlarges")
    operator = "Upsample" if opset == 9 else "Resize"
    nodes = [conv(), helper.make_node(operator, ["conv", "scales"], ["out"], mode=mode)]
    scales = np.array([1, 1, factor, factor], np.float32)
    model = graph(nodes, constants={"scales": scales}, opset=opset)
    result = adapted(model)
    assert result.opset_import[0].version == 20
    images = planes(1, 3, 16, 16)
    np.testing.assert_allclose(run(result, images)[0], run(model, images)[0], atol=1e-5)


@pytest.mark.parametrize(
    ("opset", "requested", "expected"), [(18, 20, 18), (19, 19, 19), (21, 20, 20)]
)
def test_recent_operator_sets_stay_and_newer_ones_come_down(opset, requested, expected) -> None:
    result = adapted(graph([conv(), helper.make_node("Relu", ["conv"], ["out"])], opset=opset))
    assert result.opset_import[0].version == expected


@pytest.mark.parametrize("inner", ["middle", "input.inner"])
def test_names_that_collide_with_the_input(inner: str) -> None:
    nodes = [
        helper.make_node("Conv", ["picture", "kernel"], ["input"]),
        helper.make_node("Relu", ["input"], [inner]),
        helper.make_node("Neg", [inner], ["out"]),
    ]
    result = adapted(graph(nodes))
    onnx.checker.check_model(result, full_check=True)
    assert result.graph.input[0].name == "input"


def test_an_operator_that_cannot_be_brought_to_another_operator_set_is_named() -> None:
    nodes = [conv(), helper.make_node("RMSNormalization", ["conv", "scale"], ["out"])]
    model = graph(nodes, constants={"scale": np.ones(14, np.float32)}, opset=23)
    with pytest.raises(UnsupportedModelError, match=r"set 23 cannot be brought to 20.*RMSNormal"):
        adapted(model)


def test_names_that_collide_with_what_is_put_in_front() -> None:
    """The bundle's graph begins pixels → Cast → Transpose."""
    nodes = [
        helper.make_node("Conv", ["picture", "kernel"], ["pixels_to_float.out"]),
        helper.make_node("Relu", ["pixels_to_float.out"], ["pixels"]),
    ]
    result = adapted(graph(nodes, outputs=["pixels"]))
    spec = Input(
        width=16,
        height=16,
        color="bgr",
        normalization=Normalization(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), origin="flag"),
    )
    folded = fold_pixels(result, spec)
    onnx.checker.check_model(folded, full_check=True)
    assert [folded.graph.input[0].name, folded.graph.output[0].name] == ["pixels", "pixels.inner"]


def branch(output: str, *nodes: onnx.NodeProto) -> onnx.GraphProto:
    value = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    return helper.make_graph(nodes, "branch", [], [value])


def branching(then: onnx.GraphProto, other: onnx.GraphProto, name: str = "out") -> onnx.ModelProto:
    """A graph that goes on with one of two branches, depending on the picture's mean."""
    nodes = [
        helper.make_node("ReduceMean", ["picture"], ["mean"], keepdims=0),
        helper.make_node("Less", ["mean", "zero"], ["dark"]),
        conv(),
        helper.make_node("If", ["dark"], [name], then_branch=then, else_branch=other),
    ]
    return graph(nodes, constants={"zero": np.float32(0)})


def test_a_branch_reads_the_picture_under_its_new_name() -> None:
    """``if x.shape[2] > 32: x = interpolate(x)`` of a scripted network."""
    convolved = helper.make_node("Conv", ["picture", "kernel"], ["inside"])
    doubled = helper.make_node("Add", ["conv", "conv"], ["sum"])
    result = adapted(branching(branch("inside", convolved), branch("sum", doubled)))
    onnx.checker.check_model(result, full_check=True)
    images = planes(1, 3, 16, 16)
    plain = graph([helper.make_node("Conv", ["picture", "kernel"], ["out"])])
    for offset, factor in ((-1, 1), (1, 2)):
        expected = factor * run(plain, images + offset)[0]
        np.testing.assert_allclose(run(result, images + offset)[0], expected, atol=1e-5)


def resizing() -> onnx.ModelProto:
    nodes = [conv(), helper.make_node("Resize", ["conv", "", "", "sizes"], ["out"], name="up")]
    return graph(nodes, constants={"sizes": np.array([1, 4, 28, 28], np.int64)})


def flattening() -> onnx.ModelProto:
    nodes = [
        conv(),
        helper.make_node("Flatten", ["conv"], ["flat"]),
        helper.make_node("MatMul", ["flat", "dense"], ["out"]),
    ]
    return graph(nodes, constants={"dense": planes(784, 5)})


def normalizing() -> onnx.NodeProto:
    inputs, outputs = ["conv", "a", "b", "c", "d"], ["out", "mean", "var"]
    return helper.make_node("BatchNormalization", inputs, outputs, training_mode=1)


RELU = [conv(), helper.make_node("Relu", ["conv"], ["out"])]
NO_SHAPE = [conv(), helper.make_node("Reshape", ["picture", "conv"], ["out"])]
REFUSED = {
    "one channel": (lambda: graph(RELU), {"channels": 1}, "--color gray"),
    "resize to a fixed size": (resizing, {"height": 32}, r"node up\).*--input 16x16"),
    "dense layer": (flattening, {"height": 32}, "16x32; it does at 16x16: use that, --input 16x16"),
    "nowhere": (
        lambda: graph(NO_SHAPE),
        {"height": 32},
        "16x32, nor at 16x16. ONNX",
    ),
    "training": (
        lambda: graph([conv(), normalizing()], constants=dict.fromkeys("abcd", np.ones(4, "f4"))),
        {},
        r"training mode \(1 x BatchNormalization\).*model\.eval\(\)",
    ),
    "random": (
        lambda: graph([conv(), helper.make_node("RandomNormalLike", ["conv"], ["out"], name="z")]),
        {},
        r"from run to run.*RandomNormalLike \(z\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    make, requested, message = REFUSED[name]
    with pytest.raises(UnsupportedModelError, match=message):
        adapted(make(), **requested)


def test_a_fixed_resize_is_no_obstacle_at_the_graphs_own_size() -> None:
    assert shape(adapted(resizing()).graph.output[0])[1:] == [4, 28, 28]


# ── graphs with their own suppression ──


def suppressing(*, centered: bool, extra: Sequence[str] = ()) -> onnx.ModelProto:
    """Boxes [1,8,4] and scores [1,2,8] from the picture, suppressed."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["picture"], ["mean"]),
        helper.make_node("Reshape", ["mean", "as_row"], ["row"]),
        helper.make_node("MatMul", ["row", "to_boxes"], ["flat_boxes"]),
        helper.make_node("Reshape", ["flat_boxes", "boxes_shape"], ["boxes"]),
        helper.make_node("MatMul", ["row", "to_scores"], ["flat_scores"]),
        helper.make_node("Reshape", ["flat_scores", "scores_shape"], ["scores"]),
        helper.make_node(
            "NonMaxSuppression", ["boxes", "scores", "most", "iou", "least"], ["selected"],
            center_point_box=int(centered),
        ),
        helper.make_node("Cast", ["selected"], ["out"], to=TensorProto.FLOAT),
    ]  # fmt: skip
    return graph(
        nodes,
        outputs=("out", *extra),
        constants={
            "as_row": np.array([-1, 3], np.int64),
            "to_boxes": planes(3, 32),
            "to_scores": planes(3, 16),
            "boxes_shape": np.array([-1, 8, 4], np.int64),
            "scores_shape": np.array([-1, 2, 8], np.int64),
            "most": np.array([8], np.int64),
            "iou": np.array([0.5], np.float32),
            "least": np.array([-10.0], np.float32),
        },
    )


def test_a_branch_behind_a_suppression_is_cut_off_with_it() -> None:
    """torchvision's detectors end in an ``If`` over what was found."""
    model = suppressing(centered=True, extra=("boxes", "scores"))
    cast = model.graph.node.pop()
    cast.output[0] = "inside"
    always = numpy_helper.from_array(np.array(True), "always")
    model.graph.initializer.append(always)
    same = branch("inside", cast)
    model.graph.node.append(
        helper.make_node("If", ["always"], ["out"], then_branch=same, else_branch=same)
    )
    result = adapted(model)
    assert [output.name for output in result.graph.output] == ["output", "boxes", "scores"]
    assert "If" not in {node.op_type for node in result.graph.node}


@pytest.mark.parametrize("centered", [True, False])
def test_a_suppression_is_cut_off_and_boxes_become_centers_and_sizes(centered: bool) -> None:
    model = suppressing(centered=centered, extra=("boxes", "scores"))
    result = adapted(model)
    assert [output.name for output in result.graph.output] == ["output", "boxes", "scores"]
    assert shape(result.graph.output[0]) == ["batch", 6, 8]
    table, boxes, scores = run(result, planes(2, 3, 16, 16))
    np.testing.assert_array_equal(table[:, 4:], scores)
    if centered:
        np.testing.assert_array_equal(table[:, :4], boxes.transpose(0, 2, 1))
        return
    y1, x1, y2, x2 = boxes.transpose(2, 0, 1)
    expected = [(x1 + x2) / 2, (y1 + y2) / 2, np.abs(x2 - x1), np.abs(y2 - y1)]
    np.testing.assert_allclose(table[:, :4], np.stack(expected, 1), atol=1e-6)


def test_several_suppressions_are_refused() -> None:
    model = suppressing(centered=True)
    again = onnx.NodeProto()
    again.CopyFrom(next(n for n in model.graph.node if n.op_type == "NonMaxSuppression"))
    again.output[0] = "twice"
    model.graph.node.append(again)
    with pytest.raises(UnsupportedModelError, match="2 places"):
        adapted(model)


def test_a_table_of_fixed_length_keeps_its_suppression() -> None:
    model = suppressing(centered=True)
    extra = [
        helper.make_node("Pad", ["out", "pads"], ["padded"]),
        helper.make_node("Slice", ["padded", "zero", "eight", "zero"], ["rows"]),
        helper.make_node("Reshape", ["rows", "table_shape"], ["table"]),
    ]
    constants = {
        "pads": np.array([0, 0, 16, 3], np.int64), "zero": np.array([0], np.int64),
        "eight": np.array([8], np.int64), "table_shape": np.array([1, 8, 6], np.int64),
    }  # fmt: skip
    model.graph.node.extend(extra)
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items()
    )
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("table", TensorProto.FLOAT, (1, 8, 6)))
    result = adapted(model)
    assert shape(result.graph.output[0]) == [1, 8, 6]
    assert "NonMaxSuppression" in {node.op_type for node in result.graph.node}


# ── real detectors ──


@pytest.mark.parametrize("name", ["yunet_n_dynamic.onnx", "yunet_n_640_640.onnx"])
def test_yunet_at_the_camera_s_shape(assets: Path, name: str) -> None:
    free = onnx.load(str(assets / "yunet" / "yunet_n_dynamic.onnx"))
    result = adapted(onnx.load(str(assets / "yunet" / name)), 96, 160)
    assert shape(result.graph.input[0]) == ["batch", 3, 96, 160]
    assert shape(result.graph.output[0]) == ["batch", 12 * 20, 1]
    images = planes(1, 3, 96, 160) * 255
    for ours, theirs in zip(run(result, images), run(free, images), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3, rtol=1e-3)


def test_yunet_at_a_size_its_strides_do_not_divide(assets: Path) -> None:
    model = onnx.load(str(assets / "yunet" / "yunet_n_640_640.onnx"))
    with pytest.raises(UnsupportedModelError, match="--input 640x640"):
        adapted(model, 90, 160)


@pytest.mark.parametrize("opset", [11, 20])
def test_tables_without_a_batch_get_one(opset: int) -> None:
    """SCRFD's files reshape each stride's map to [A,K]."""
    nodes, outputs, constants = [], [], {}
    for stride in (8, 16, 32):
        for columns in (1, 4):
            name = f"{stride}_{columns}"
            constants[f"k{name}"] = RNG.standard_normal((2 * columns, 3, stride, stride)).astype(
                np.float32
            )
            constants[f"s{name}"] = np.array([-1, columns])
            nodes += [
                helper.make_node(
                    "Conv", ["picture", f"k{name}"], [f"c{name}"], strides=[stride, stride]
                ),
                helper.make_node("Transpose", [f"c{name}"], [f"t{name}"], perm=[2, 3, 0, 1]),
                helper.make_node("Reshape", [f"t{name}", f"s{name}"], [name]),
            ]
            outputs.append(name)
    model = graph(nodes, shape=(1, 3, 64, 96), outputs=outputs, constants=constants, opset=opset)
    normalized = ir.to_proto(normalize_onnx(ir.from_proto(model), Size(96, 64, 3), 20))
    picture = planes(1, 3, 64, 96)
    for before, after in zip(run(model, picture), run(normalized, picture), strict=True):
        assert after.shape == (1, *before.shape)
        assert np.allclose(after[0], before, atol=1e-4)
    assert [output.name for output in normalized.graph.output] == outputs
