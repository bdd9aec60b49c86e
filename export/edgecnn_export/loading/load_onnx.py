"""An ONNX file as a ModelProto: self-contained, checked, without operators of other domains."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # it ships no types
from onnx import TensorProto, inliner, numpy_helper
from onnx.checker import ValidationError, check_model
from onnx.shape_inference import InferenceError, infer_shapes

from edgecnn_export.loading.quantized import check_operators
from edgecnn_runtime.errors import CheckpointError, UnsupportedModelError

SIZE_LIMIT = (1 << 31) - 1
"""protobuf's own limit for one message."""
STANDARD = {"", "ai.onnx"}
"""The names of the standard's own domain."""
FLOATS = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
NAMES_LISTED = 6


def read_onnx(path: Path) -> onnx.ModelProto:
    """Read and check an ONNX file; functions it defines itself are inlined.

    Tensors in other files are refused, not followed: the file would choose what is read.

    Raises:
        CheckpointError: The file is damaged, or weights are NaN.
        UnsupportedModelError: The file is over 2 GB, is quantized already, has tensors in other
            files, or operators outside the ONNX standard.
    """
    if path.stat().st_size > SIZE_LIMIT:
        raise UnsupportedModelError(f"{path} is over 2 GB: too large for one ONNX file")
    try:
        model = onnx.load_model(str(path), load_external_data=False)
    except (DecodeError, ValueError):
        raise CheckpointError(
            f"{path} is damaged: it begins as ONNX but cannot be parsed; copy or download it again"
        ) from None
    graphs = [graph for part in (model.graph, *model.functions) for graph in graphs_of(part)]
    check_operators((node.op_type for graph in graphs for node in graph.node), path)
    for tensor in tensors_of(graphs):
        _check_tensor(tensor, path)
    own = {(function.domain, function.name) for function in model.functions}
    _check_domains(graphs, own, path)
    try:
        if not all(output.type.tensor_type.HasField("shape") for output in model.graph.output):
            model = infer_shapes(model)
        check_model(model)
        return inliner.inline_local_functions(model) if model.functions else model
    except (ValidationError, InferenceError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} is not valid ONNX: {error}") from None


def _check_tensor(tensor: TensorProto, path: Path) -> None:
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
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


def _check_domains(graphs: list[Any], own: set[tuple[str, str]], path: Path) -> None:
    operators = {(node.domain, node.op_type) for graph in graphs for node in graph.node} - own
    foreign = sorted(f"{domain}::{name}" for domain, name in operators if domain not in STANDARD)
    if foreign:
        more = " …" if len(foreign) > NAMES_LISTED else ""
        raise UnsupportedModelError(
            f"{path} uses operators outside the ONNX standard: "
            f"{', '.join(foreign[:NAMES_LISTED])}{more}. Export it again "
            "without the optimizer or plugin that added them"
        )


def graphs_of(graph: Any) -> Iterator[Any]:
    """A graph or function, and every subgraph in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from graphs_of(inner)


def tensors_of(graphs: list[Any]) -> Iterator[TensorProto]:
    """Every tensor of these graphs: initializers and constants, dense and sparse."""
    for graph in graphs:
        sparse = list(getattr(graph, "sparse_initializer", ()))
        yield from getattr(graph, "initializer", ())  # a function has none
        for attribute in (attribute for node in graph.node for attribute in node.attribute):
            yield from (attribute.t, *attribute.tensors)
            sparse.append(attribute.sparse_tensor)
        for tensor in sparse:
            yield from (tensor.values, tensor.indices)
