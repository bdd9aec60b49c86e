"""An ONNX file as a ModelProto: self-contained, checked, without operators of other domains."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import checker, inliner, numpy_helper, shape_inference

from edgecnn_runtime.errors import CheckpointError, UnsupportedModelError

SIZE_LIMIT = (1 << 31) - 1
"""protobuf's own limit for one message."""
STANDARD_DOMAINS = {"", "ai.onnx"}
NAMES_LISTED = 6


def read_onnx(path: Path) -> onnx.ModelProto:
    """Read and check an ONNX file; functions it defines itself are inlined.

    Tensors in other files are refused, not followed: the file would choose what is read.

    Raises:
        CheckpointError: The file is damaged, or weights are NaN.
        UnsupportedModelError: The file is over 2 GB, has tensors in other files, or operators
            outside the ONNX standard.
    """
    if path.stat().st_size > SIZE_LIMIT:
        raise UnsupportedModelError(f"{path} is over 2 GB: too large for one ONNX file")
    try:
        model = onnx.load_model(str(path), load_external_data=False)
    except (DecodeError, ValueError):
        raise CheckpointError(
            f"{path} is damaged: it begins as ONNX but cannot be parsed; copy or download it again"
        ) from None
    for tensor in _tensors(model):
        _check_tensor(tensor, path)
    _check_domains(model, path)
    try:
        if not all(output.type.tensor_type.HasField("shape") for output in model.graph.output):
            model = shape_inference.infer_shapes(model)
        checker.check_model(model)
        return inliner.inline_local_functions(model) if model.functions else model
    except (
        checker.ValidationError,
        shape_inference.InferenceError,
        ValueError,
        RuntimeError,
    ) as error:
        raise CheckpointError(f"{path} is not valid ONNX: {error}") from None


def _check_tensor(tensor: onnx.TensorProto, path: Path) -> None:
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        where = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        raise UnsupportedModelError(
            f"{path}: the tensor {tensor.name} is stored in another file ({where!r}), which "
            "is not followed. Make it one file: python -c \"import onnx; m = onnx.load('"
            f"{path}'); onnx.save(m, 'whole.onnx')\""
        )
    if tensor.data_type not in FLOATS:
        return
    try:
        bad = int(np.isnan(numpy_helper.to_array(tensor).astype(np.float32)).sum())
    except (ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: the tensor {tensor.name} is damaged: {error}") from None
    if bad:
        raise CheckpointError(
            f"{path}: NaN in the tensor {tensor.name}, {bad:,} of its values: training diverged; "
            "give a model from before that"
        )


def _check_domains(model: onnx.ModelProto, path: Path) -> None:
    own = {(function.domain, function.name) for function in model.functions}
    graphs = [model.graph, *model.functions]
    foreign = sorted({
        f"{node.domain}::{node.op_type}"
        for graph in graphs
        for node in _nodes(graph)
        if node.domain not in STANDARD_DOMAINS and (node.domain, node.op_type) not in own
    })  # fmt: skip
    if foreign:
        more = " …" if len(foreign) > NAMES_LISTED else ""
        raise UnsupportedModelError(
            f"{path} uses operators outside the ONNX standard: "
            f"{', '.join(foreign[:NAMES_LISTED])}{more}. Export it again "
            "without the optimizer or plugin that added them"
        )


def _nodes(graph: Any) -> Iterator[onnx.NodeProto]:
    """Every node of a graph or function, those of subgraphs too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor a model holds: initializers and constants, dense and sparse, at any depth."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _node_tensors(node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _node_tensors(node)


def _node_tensors(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("sparse_tensor"):
            yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _graph_tensors(graph)


FLOATS = {
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
}
