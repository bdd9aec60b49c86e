"""The story of INT8: calibrate once → choose ranges → correct biases → gate → repair → emit.

One set of pictures and one calibration serve every target. Nothing is emitted that was not
measured, on every engine it is for, to do the float model's work.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgecnn_export.config import Method
from edgecnn_export.progress import Progress
from edgecnn_export.quantization.accuracy_gate import AccuracyGate
from edgecnn_export.quantization.calibrate import (
    Calibration,
    calibrate,
    check_weights,
    evenly,
    observe_ranges,
)
from edgecnn_export.quantization.cross_layer_equalization import equalize_cross_layer
from edgecnn_export.quantization.fake_quant import FakeQuantModel
from edgecnn_export.quantization.ignored_scope import shared_quantizers
from edgecnn_export.quantization.insert_qdq import insert_qdq
from edgecnn_export.quantization.layers import read_quantizers
from edgecnn_export.quantization.report import TargetResult
from edgecnn_export.quantization.schemes import SCHEMES, QuantScheme
from edgecnn_export.quantization.search import MixedPrecisionSearch
from edgecnn_export.quantization.uint8_input import find_stem
from edgecnn_export.verification.verify import engines_for
from edgecnn_runtime.bundle.manifest import Int8Target
from edgecnn_runtime.errors import UnsupportedModelError
from edgecnn_runtime.types import Pixels

DISTINCT_FORM_RATIO = 0.9
"""A variant is a form of its own where it rounds no more than this share of the tensors."""
TRIAL_IMAGES = 8
"""Images on which two forms of the graph are compared."""


@dataclass(frozen=True)
class Quantized:
    """What INT8 was made of, and what came of it.

    Attributes:
        results: One per target.
        graphs: Those that passed the gate, by target.
        model: The float graph they were made from: every node named, its channels equalized where
            that helps.
        calibration: The histograms of its tensors.
    """

    results: tuple[TargetResult, ...]
    graphs: Mapping[Int8Target, onnx.ModelProto]
    model: onnx.ModelProto
    calibration: Calibration


def quantize(
    model: onnx.ModelProto,
    pixels: Pixels,
    gate: AccuracyGate,
    *,
    targets: Sequence[Int8Target] = ("cpu",),
    method: Method | None = None,
    folder: Path,
    progress: Progress,
) -> Quantized:
    """Make an INT8 graph for every target.

    Args:
        model: The float graph, folded and optimized; it is not changed.
        pixels: uint8[N,H,W,3] BGR to calibrate on, as the runtime prepares them.
        gate: What every graph has to pass.
        targets: A variant of another one of them is left out where it would be nearly the same.
        method: How ranges are estimated; None compares all methods.
        folder: Where an interrupted search is resumed from.
        progress: Shows every step.

    Raises:
        UnsupportedModelError: Weights or activations hold NaN or infinity, or there is nothing to
            quantize.
    """
    model = with_node_names(model)
    check_weights(model)
    with progress.step("equalize channels"):
        equalized, scheme = equalize_cross_layer(model, pixels), SCHEMES[targets[0]]
        if equalized is not model:
            forms = model, equalized
            model = min(forms, key=lambda form: _rounding_error(form, scheme, pixels, gate))
    stem = find_stem(model)
    tensors = _quantized_tensors(model, targets)
    names = dict.fromkeys(name for names in tensors.values() for name in names)
    calibration = calibrate(model, list(names), pixels, progress)
    results: list[TargetResult] = []
    graphs: dict[Int8Target, onnx.ModelProto] = {}
    for number, target in enumerate(tensors, 1):
        search = MixedPrecisionSearch(
            model=model,
            target=target,
            stem=stem if SCHEMES[target].quantize_outputs else None,
            calibration=calibration,
            pixels=pixels,
            gate=gate,
            engines=engines_for(target, gate.engines),
            folder=folder,
            progress=progress,
            number=f"{number} of {len(tensors)}" if len(tensors) > 1 else "",
        )
        result, graph = search.run(method, results[-1].method if results else None)
        results.append(result)
        if result.passed:
            graphs[target] = graph
    return Quantized(tuple(results), graphs, model, calibration)


def _quantized_tensors(
    model: onnx.ModelProto, targets: Sequence[Int8Target]
) -> dict[Int8Target, list[str]]:
    """The tensors that each target quantizes, without variants that are nearly the same."""
    tensors: dict[Int8Target, list[str]] = {}
    for target in targets:
        places = insert_qdq(model, SCHEMES[target], per_channel=False)
        tensors[target] = list(read_quantizers(places).activations)
        if not tensors[target]:
            operators = ", ".join(dict.fromkeys(node.op_type for node in model.graph.node))
            raise UnsupportedModelError(
                f"int8-{target}: nothing in this model can be quantized ({operators}): "
                "leave --int8 out"
            )
    for target in list(tensors):
        base = SCHEMES[target].variant_of
        if base in tensors:
            own = set(tensors[base]) - set(shared_quantizers(model, SCHEMES[base]))
            if len(tensors[target]) > DISTINCT_FORM_RATIO * len(own):
                del tensors[target]
    return tensors


def _rounding_error(
    model: onnx.ModelProto, scheme: QuantScheme, pixels: Pixels, gate: AccuracyGate
) -> float:
    """The error at a float graph's outputs when everything in it is INT8, on a few images."""
    tensors = list(read_quantizers(insert_qdq(model, scheme, per_channel=False)).activations)
    ranges = observe_ranges(model, tensors, evenly(pixels, TRIAL_IMAGES))
    quantizers = read_quantizers(insert_qdq(model, scheme, ranges))
    fake_quant = FakeQuantModel(model, quantizers, batch_axes=gate.batch_axes)
    reference = fake_quant.run(gate.pixels[:TRIAL_IMAGES])
    rounded = fake_quant.run(gate.pixels[:TRIAL_IMAGES], fake_quant.switches)
    return gate.compare(reference.outputs, rounded.outputs)


def with_node_names(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every node has a name of its own."""
    model = copy.deepcopy(model)
    names: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in names:
            node.name = f"{node.op_type}_{index}"
        names.add(node.name)
    return model
