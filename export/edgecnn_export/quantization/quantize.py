"""The story of INT8: calibrate once → choose ranges → correct biases → gate → repair → emit.

One set of pictures and one calibration serve every target. Nothing is emitted that was not
measured, on every engine it is for, to do the float model's work.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgecnn_export.config import Method, Target
from edgecnn_export.progress import NullProgress, Progress
from edgecnn_export.quantization.accuracy_gate import AccuracyGate
from edgecnn_export.quantization.calibrate import Calibration, calibrate, check_weights
from edgecnn_export.quantization.cross_layer_equalization import equalize_cross_layer
from edgecnn_export.quantization.fake_quant import FakeQuantModel
from edgecnn_export.quantization.ignored_scope import shared_quantizers
from edgecnn_export.quantization.insert_qdq import insert_qdq
from edgecnn_export.quantization.layers import read_quantizers
from edgecnn_export.quantization.schemes import SCHEMES, QuantScheme
from edgecnn_export.quantization.search import MixedPrecisionSearch, TargetResult
from edgecnn_export.quantization.uint8_input import find_stem
from edgecnn_export.verification.verify import engines_for
from edgecnn_runtime.errors import UnsupportedModelError
from edgecnn_runtime.types import Pixels

DISTINCT_FORM_RATIO = 0.9
"""OpenVINO's own form is another where it rounds no more than this share of the tensors."""
TRIAL_IMAGES = 16
"""Pictures on which two forms of the graph are compared."""


@dataclass(frozen=True)
class Quantized:
    """What INT8 was made of, and what came of it.

    Attributes:
        results: One per target.
        model: The float graph they were made from: every node named, its channels equalized where
            that helps.
        calibration: The histograms of its tensors.
    """

    results: tuple[TargetResult, ...]
    model: onnx.ModelProto
    calibration: Calibration


def quantize(
    model: onnx.ModelProto,
    pixels: Pixels,
    gate: AccuracyGate,
    *,
    targets: Sequence[Target] = ("cpu",),
    method: Method | None = None,
    folder: Path,
    progress: Progress,
) -> Quantized:
    """Make an INT8 graph for every target.

    Args:
        model: The float graph, folded and optimized; it is not changed.
        pixels: uint8[N,H,W,3] BGR to calibrate on, as the runtime prepares them.
        gate: What every graph has to pass.
        targets: ``openvino`` is left out where it would be all but the same as ``cpu``.
        method: How ranges are estimated; None compares all methods.
        folder: Where an interrupted search is resumed from.
        progress: Told of every step.

    Raises:
        UnsupportedModelError: For NaN or infinity in weights or activations, and where there is
            nothing to quantize.
    """
    model = _named(model)
    check_weights(model)
    with progress.step("equalize channels"):
        equalized = equalize_cross_layer(model, pixels)
        model = _easier(model, equalized, SCHEMES[targets[0]], pixels, gate)
    stem = find_stem(model)
    quantized = _quantized_tensors(model, targets)
    tensors = dict.fromkeys(name for names in quantized.values() for name in names)
    calibration = calibrate(model, list(tensors), pixels, progress)
    results = []
    for target in quantized:
        search = MixedPrecisionSearch(
            model=model,
            scheme=SCHEMES[target],
            stem=stem if SCHEMES[target].quantize_outputs else None,
            calibration=calibration,
            pixels=pixels,
            gate=gate,
            engines=engines_for(target, gate.engines),
            folder=folder,
            progress=progress,
        )
        results.append(search.run(method))
    return Quantized(tuple(results), model, calibration)


def _quantized_tensors(
    model: onnx.ModelProto, targets: Sequence[Target]
) -> dict[Target, list[str]]:
    """The tensors that each target quantizes."""
    tensors: dict[Target, list[str]] = {}
    for target in targets:
        tensors[target] = list(read_quantizers(insert_qdq(model, SCHEMES[target])).activations)
        if not tensors[target]:
            raise UnsupportedModelError(
                f"int8-{target}: nothing in this model can be quantized "
                f"({_operators(model)}): leave --int8 out"
            )
    roundings = len(set(tensors.get("cpu", ())) - set(shared_quantizers(model, SCHEMES["cpu"])))
    if "cpu" in tensors and len(tensors.get("openvino", ())) > DISTINCT_FORM_RATIO * roundings:
        del tensors["openvino"]
    return tensors


def _easier(
    model: onnx.ModelProto,
    other: onnx.ModelProto,
    scheme: QuantScheme,
    pixels: Pixels,
    gate: AccuracyGate,
) -> onnx.ModelProto:
    """The one of two equal graphs that loses less when everything in it is INT8."""
    if other is model:
        return model
    few = pixels[:: max(1, len(pixels) // TRIAL_IMAGES)][:TRIAL_IMAGES]

    def error(graph: onnx.ModelProto) -> float:
        template = read_quantizers(insert_qdq(graph, scheme))
        ranges = calibrate(graph, list(template.activations), few, NullProgress()).ranges("minmax")
        quantizers = read_quantizers(insert_qdq(graph, scheme, ranges))
        fake_quant = FakeQuantModel(graph, quantizers, batch_axes=gate.batch_axes)
        reference = fake_quant.run(gate.pixels[:TRIAL_IMAGES])
        rounded = fake_quant.run(
            gate.pixels[:TRIAL_IMAGES], tensors=fake_quant.tensors, weights=fake_quant.weights
        )
        return gate.compare(reference.outputs, rounded.outputs)

    return min((model, other), key=error)


def _operators(model: onnx.ModelProto) -> str:
    return ", ".join(dict.fromkeys(node.op_type for node in model.graph.node))


def _named(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every node has a name of its own."""
    named = onnx.ModelProto()
    named.CopyFrom(model)
    taken: set[str] = set()
    for index, node in enumerate(named.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{index}"
        taken.add(node.name)
    return named
