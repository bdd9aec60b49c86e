"""The walk through an ONNX file finds external data wherever onnx.proto3 allows it."""

import contextlib

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgecnn_runtime.bundle.external_data import has_external_data, refuse_external_data
from edgecnn_runtime.errors import BundleError


def tensor(name="w", *, external=False):
    made = numpy_helper.from_array(np.zeros(4, np.float32), name)
    if external:
        made.ClearField("raw_data")
        made.data_location = TensorProto.EXTERNAL
        made.external_data.add(key="location", value="../../etc/passwd")
    return made


def sparse(*, external):
    indices = numpy_helper.from_array(np.zeros(4, np.int64), "i")
    return helper.make_sparse_tensor(tensor("v", external=external), indices, [9])


def model(place, *, external):
    value = tensor(external=external)
    nodes, initializers, sparses = [], [], []
    if place == "initializer":
        initializers = [value]
    elif place == "sparse initializer":
        sparses = [sparse(external=external)]
    elif place == "attribute":
        nodes = [helper.make_node("Constant", [], ["y"], value=value)]
    elif place == "sparse attribute":
        nodes = [helper.make_node("Constant", [], ["y"], sparse_value=sparse(external=external))]
    elif place in ("branch", "nested branch"):
        inner = helper.make_graph([], "inner", [], [], [value])
        for _ in range(5 if place == "nested branch" else 1):
            node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
            inner = helper.make_graph([node], "outer", [], [])
        nodes = list(inner.node)
    graph = helper.make_graph(nodes, "g", [], [], initializers, sparse_initializer=sparses)
    made = helper.make_model(graph)
    if place == "function":
        node = helper.make_node("Constant", [], ["y"], value=value)
        opset = [helper.make_opsetid("", 20)]
        made.functions.append(helper.make_function("d", "f", [], ["y"], [node], opset))
    elif place == "training":
        made.training_info.add().initialization.initializer.append(value)
    return made


PLACES = (
    "initializer", "sparse initializer", "attribute", "sparse attribute", "branch",
    "nested branch", "function", "training",
)  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_external_data_is_found_in(place, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(model(place, external=False).SerializeToString())
    refuse_external_data(path)
    path.write_bytes(model(place, external=True).SerializeToString())
    with pytest.raises(BundleError, match=r"model\.onnx keeps weights in another file"):
        refuse_external_data(path)


def test_a_location_without_the_flag_counts_too():
    value = tensor()
    value.external_data.add(key="location", value="elsewhere")
    graph = helper.make_graph([], "g", [], [], [value])
    assert has_external_data(helper.make_model(graph).SerializeToString())


def test_endless_nesting_is_refused(tmp_path):
    data = b""
    for _ in range(300):  # graph → node → attribute → graph …
        for tag in (0x32, 0x2A, 0x0A):
            data = bytes([tag]) + _length(data) + data
    path = tmp_path / "deep.onnx"
    path.write_bytes(b"\x3a" + _length(data) + data)
    with pytest.raises(BundleError, match="too deeply"):
        refuse_external_data(path)


@pytest.mark.parametrize("content", [b"", b"\xff" * 30, b"\x3a\x7f", b"hello world, no model"])
def test_what_is_no_onnx_is_refused(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(BundleError, match="not a readable ONNX file"):
        refuse_external_data(path)


@given(st.binary(max_size=200))
def test_any_bytes_give_an_answer_or_a_plain_error(data):
    with contextlib.suppress(ValueError, IndexError):
        assert has_external_data(data) in (True, False)


@given(st.data())
def test_a_damaged_model_gives_an_answer_or_a_plain_error(data):
    raw = bytearray(model("nested branch", external=True).SerializeToString())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError, IndexError):
        assert has_external_data(bytes(raw)) in (True, False)


def test_every_field_that_can_hold_a_tensor_is_followed():
    """Against onnx.proto3 itself: a field added there must be followed here."""
    from edgecnn_runtime.bundle.external_data import SUBMESSAGE_FIELDS

    messages = {
        "model": onnx.ModelProto, "graph": onnx.GraphProto, "node": onnx.NodeProto,
        "attribute": onnx.AttributeProto, "tensor": onnx.TensorProto,
        "sparse": onnx.SparseTensorProto, "function": onnx.FunctionProto,
        "training": onnx.TrainingInfoProto,
    }  # fmt: skip
    kinds = {proto.DESCRIPTOR.full_name: kind for kind, proto in messages.items()}
    for kind, proto in messages.items():
        if kind == "tensor":
            continue
        found = {
            field.number: kinds[field.message_type.full_name]
            for field in proto.DESCRIPTOR.fields
            if field.message_type is not None and field.message_type.full_name in kinds
        }
        assert SUBMESSAGE_FIELDS[kind] == found, kind


def _length(data):
    size, out = len(data), b""
    while size > 127:
        out += bytes([size & 127 | 128])
        size >>= 7
    return out + bytes([size])
