"""ONNX files: by themselves, valid, finite, and of the standard's own operators."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecnn_export.config import ExportConfig
from edgecnn_export.loading.load import load_model
from edgecnn_export.loading.loaded import input_channels, input_shape
from edgecnn_runtime.errors import CheckpointError, UnsupportedModelError, UsageError

WEIGHT = np.arange(4 * 3 * 3 * 3, dtype=np.float32).reshape(4, 3, 3, 3)


def model(weight: np.ndarray = WEIGHT, shape: Any = ("n", 3, 16, 24)) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "c", "h", "w"])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def load(path: Path) -> Any:
    return load_model(ExportConfig(model=str(path)))


def test_a_graph_as_it_came(tmp_path: Path) -> None:
    onnx.save(model(), tmp_path / "model.bin")
    loaded = load(tmp_path / "model.bin")
    assert loaded.kind == "onnx"
    assert loaded.module is None
    assert loaded.onnx == model()
    assert loaded.spec == {"input": "24x16"}
    assert input_channels(loaded) == 3


@pytest.mark.parametrize(
    ("shape", "spec", "channels"),
    [
        ((1, 3, 16, 24), {"input": "24x16"}, 3),
        (("n", 1, 16, 24), {"input": "24x16"}, 1),
        (("n", 3, "h", "w"), {}, 3),
        ((-1, 3, -1, -1), {}, 3),
        ((0, 3, 0, 0), {}, 3),
        ((1, 16, 24, 3), {"input": "24x16"}, 3),
        (("n", "h", "w", 3), {}, 3),
        (("n", 28, 28, 1), {"input": "28x28"}, 1),
        ((1, 16, 24, 4), {}, 4),
    ],
)
def test_what_the_input_says(
    tmp_path: Path, shape: Any, spec: dict[str, str], channels: int | None
) -> None:
    graph = model(shape=shape)
    graph.graph.node[0].CopyFrom(helper.make_node("Relu", ["x"], ["y"]))
    onnx.save(graph, tmp_path / "model.onnx")
    loaded = load(tmp_path / "model.onnx")
    assert (loaded.spec, input_channels(loaded)) == (spec, channels)


def of_pixels(shape: Any) -> onnx.ModelProto:
    """A convolution over N,H,W,C, as TensorFlow's exporters write it."""
    graph = model(shape=shape)
    graph.graph.node.insert(0, helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]))
    graph.graph.node[1].input[0] = "t"
    return graph


@pytest.mark.parametrize("shape", [(1, 16, 24, 3), (-1, -1, -1, 3), ("n", "h", "w", "c")])
def test_channels_last_are_read_as_planes(tmp_path: Path, shape: Any) -> None:
    onnx.save(of_pixels(shape), tmp_path / "model.onnx")
    loaded = load(tmp_path / "model.onnx")
    planes = np.random.default_rng(0).standard_normal((1, 3, 16, 24)).astype(np.float32)
    np.testing.assert_array_equal(run(loaded.onnx, planes), run(model(), planes))
    assert input_shape(loaded)[2:] in {(16, 24), (None, None)}


def run(graph: onnx.ModelProto, planes: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": planes})[0]


def in_type(kind: int) -> onnx.ModelProto:
    """The same network in another float type, with a Cast and a branch in that type."""
    weight = numpy_helper.from_array(WEIGHT.astype(helper.tensor_dtype_to_np_dtype(kind)), "w")
    tail = numpy_helper.from_array(np.ones(1, helper.tensor_dtype_to_np_dtype(kind)))
    value = helper.make_tensor_value_info("b", kind, None)
    branch = helper.make_graph(
        [
            helper.make_node("Constant", [], ["one"], value=tail),
            helper.make_node("Add", ["z", "one"], ["b"]),
        ],
        "branch",
        [],
        [value],
    )
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Cast", ["c"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["f"], ["z"], to=kind),
        helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", kind, (1, 3, 16, 24))],
        [helper.make_tensor_value_info("y", kind, (1, 4, 14, 22))],
        [weight, numpy_helper.from_array(np.array(True), "yes")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16])
def test_other_floats_become_float32(tmp_path: Path, kind: int) -> None:
    onnx.save(in_type(kind), tmp_path / "model.onnx")
    loaded = load(tmp_path / "model.onnx")
    onnx.checker.check_model(loaded.onnx, full_check=True)
    planes = np.ones((1, 3, 16, 24), np.float32)
    np.testing.assert_allclose(run(loaded.onnx, planes), run(model(), planes) + 1, rtol=1e-6)


def with_input(kind: int, *shape: int) -> onnx.ModelProto:
    graph = model()
    graph.graph.node[0].CopyFrom(helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT))
    graph.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", kind, shape))
    graph.graph.output[0].type.tensor_type.ClearField("shape")
    return graph


def with_second_input() -> onnx.ModelProto:
    graph = model()
    graph.graph.input.append(helper.make_tensor_value_info("size", TensorProto.INT64, [1, 2]))
    graph.graph.node.append(helper.make_node("Cast", ["size"], ["z"], to=TensorProto.FLOAT))
    graph.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 2]))
    return graph


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (with_second_input(), r"2 inputs \(x float32\[n,3,16,24\], size int64\[1,2\]\)"),
        (with_input(TensorProto.UINT8, 1, 3, 16, 24), r"uint8\[1,3,16,24\].*preprocessing"),
        (with_input(TensorProto.FLOAT, 1, 3, 8, 16, 24), "five axes, as video"),
        (with_input(TensorProto.FLOAT, 1, 3), r"float32\[1,3\].*four axes"),
    ],
    ids=["two inputs", "bytes", "video", "a vector"],
)
def test_what_is_no_image_is_refused_before_its_size_is_asked_for(
    tmp_path: Path, graph: onnx.ModelProto, message: str
) -> None:
    onnx.save(graph, tmp_path / "model.onnx")
    with pytest.raises(UnsupportedModelError, match=message):
        load(tmp_path / "model.onnx")


def test_an_input_that_nothing_reads_is_left_out(tmp_path: Path) -> None:
    graph = model()
    graph.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1]))
    onnx.save(graph, tmp_path / "model.onnx")
    assert [value.name for value in load(tmp_path / "model.onnx").onnx.graph.input] == ["x"]


def test_an_output_of_no_declared_shape(tmp_path: Path) -> None:
    """Engines take such files; the checker alone would not."""
    graph = model()
    graph.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(graph, tmp_path / "model.onnx")
    assert load(tmp_path / "model.onnx").onnx.graph.output[0].type.tensor_type.HasField("shape")


@pytest.mark.parametrize("location", ["weights.bin", "../secret", "/etc/passwd"])
def test_tensors_in_other_files_are_not_followed(tmp_path: Path, location: str) -> None:
    graph = model()
    tensor = graph.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(UnsupportedModelError, match=rf"tensor w .*'{location}'.*onnx.save"):
        load(tmp_path / "model.onnx")


def in_a_branch(tensor: TensorProto) -> onnx.NodeProto:
    constant = helper.make_node("Constant", [], ["b"], value=tensor)
    output = helper.make_tensor_value_info("b", TensorProto.FLOAT, None)
    branch = helper.make_graph([constant], "branch", [], [output])
    return helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch)


def test_tensors_in_other_files_are_found_in_branches(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "deep")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="elsewhere")
    graph = model()
    graph.graph.initializer.append(numpy_helper.from_array(np.array(True), "c"))
    graph.graph.node.append(in_a_branch(tensor))
    (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(UnsupportedModelError, match="deep"):
        load(tmp_path / "model.onnx")


def test_weights_that_are_not_numbers(tmp_path: Path) -> None:
    weight = WEIGHT.copy()
    weight.reshape(-1)[:2] = np.nan
    onnx.save(model(weight), tmp_path / "model.onnx")
    with pytest.raises(CheckpointError, match="NaN in the tensor w, 2 of its values"):
        load(tmp_path / "model.onnx")


def test_weights_shorter_than_their_shape(tmp_path: Path) -> None:
    graph = model()
    graph.graph.initializer[0].raw_data = b"1234"
    onnx.save(graph, tmp_path / "model.onnx")
    with pytest.raises(CheckpointError, match="tensor w is damaged"):
        load(tmp_path / "model.onnx")


def test_operators_outside_the_standard_are_named(tmp_path: Path) -> None:
    graph = model()
    graph.graph.node[0].domain = "com.microsoft"
    graph.graph.node[0].op_type = "FusedConv"
    graph.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(graph, tmp_path / "model.onnx")
    with pytest.raises(UnsupportedModelError, match=r"com\.microsoft::FusedConv"):
        load(tmp_path / "model.onnx")


def test_functions_of_its_own_are_inlined(tmp_path: Path) -> None:
    graph = model()
    body = [helper.make_node("Conv", ["a", "b"], ["c"])]
    opsets = [helper.make_opsetid("", 20)]
    function = helper.make_function("mine", "Twice", ["a", "b"], ["c"], body, opsets)
    graph.functions.append(function)
    graph.graph.node[0].domain, graph.graph.node[0].op_type = "mine", "Twice"
    graph.opset_import.append(helper.make_opsetid("mine", 1))
    onnx.save(graph, tmp_path / "model.onnx")
    assert [node.op_type for node in load(tmp_path / "model.onnx").onnx.graph.node] == ["Conv"]


def no_input(graph: onnx.ModelProto) -> None:
    graph.graph.node[0].input[0] = "nowhere"


def no_operator(graph: onnx.ModelProto) -> None:
    graph.graph.node[0].op_type = "Convolve"


def no_graph(graph: onnx.ModelProto) -> None:
    graph.ClearField("graph")


@pytest.mark.parametrize("damage", [no_input, no_operator, no_graph])
def test_a_graph_that_is_not_valid(
    tmp_path: Path, damage: Callable[[onnx.ModelProto], None]
) -> None:
    graph = model()
    damage(graph)
    (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(CheckpointError, match="not valid ONNX"):
        load(tmp_path / "model.onnx")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_truncated_file(tmp_path: Path, share: float) -> None:
    content = model().SerializeToString()
    (tmp_path / "model.onnx").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError):
        load(tmp_path / "model.onnx")


def test_a_file_too_large_for_one_message(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.write(b"\x08\x0a")
        file.truncate(1 << 31)
    with pytest.raises(UnsupportedModelError, match="over 2 GB"):
        load(path)


def with_sizes(width: Any, name: str = "orig_target_sizes") -> onnx.ModelProto:
    """Boxes that a graph scales to the picture by itself, as RT-DETR's exporter writes them."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Cast", [name], ["float_sizes"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["mean", "two"], ["pair"], axis=1),
        helper.make_node("Mul", ["pair", "float_sizes"], ["boxes"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 16, width]),
            helper.make_tensor_value_info(name, TensorProto.INT64, ["n", 2]),
        ],
        [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(np.array([0, 1]), "two")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("name", "expected"), [("orig_target_sizes", [24, 16]), ("im_shape", [16, 24])]
)
@pytest.mark.parametrize("width", [24, "w"])
def test_the_size_of_the_picture_becomes_a_constant(
    tmp_path: Path, name: str, expected: list[int], width: Any
) -> None:
    onnx.save(with_sizes(width, name), tmp_path / "m.onnx")
    config = ExportConfig(model=str(tmp_path / "m.onnx"), input="24x16")
    loaded = load_model(config)
    assert [value.name for value in loaded.onnx.graph.input] == ["image"]  # type: ignore[union-attr] # the case is that one
    images = np.ones((2, 3, 16, 24), np.float32)
    session = ort.InferenceSession(loaded.onnx.SerializeToString())  # type: ignore[union-attr] # the case is that one
    assert session.run(None, {"image": images})[0].tolist() == [expected] * 2


def test_a_picture_whose_size_is_asked_for_and_not_known(tmp_path: Path) -> None:
    onnx.save(with_sizes("w"), tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="--input WIDTHxHEIGHT"):
        load_model(ExportConfig(model=str(tmp_path / "m.onnx")))


def test_a_real_detector(assets: Path) -> None:
    fixed = load(assets / "yunet" / "yunet_n_640_640.onnx")
    assert fixed.spec == {"input": "640x640"}
    dynamic = load(assets / "yunet" / "yunet_n_dynamic.onnx")
    assert dynamic.spec == {}
    assert input_channels(dynamic) == 3
