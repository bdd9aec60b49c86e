"""The ranges of a graph's tensors over the calibration pictures, in two passes and little memory.

The first pass finds each tensor's smallest and largest value, the second counts values into bins
between them. No activation outlives the batch it belongs to, whatever the method, while ONNX
Runtime's own percentile and entropy calibraters keep every one of them.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgecnn_export.config import Method
from edgecnn_export.progress import NullProgress, Progress
from edgecnn_export.quantization.range_estimation import BINS, Histogram, Range, choose_range
from edgecnn_export.quantization.schemes import WEIGHTED
from edgecnn_runtime.backends.onnxruntime_exact import NO_INT8_KERNELS
from edgecnn_runtime.backends.ort_session import open_session
from edgecnn_runtime.errors import UnsupportedModelError
from edgecnn_runtime.types import Pixels

BATCH = 16
RANGE_TOLERANCE = 0.1
HISTOGRAM_IMAGES = 64
"""Images whose values are counted, about; all of them say how far values reach."""
MEMORY = 32 << 20
"""Bytes of activations that may exist at once."""


@dataclass(frozen=True)
class Calibration:
    """What was observed of a graph's tensors.

    Attributes:
        histograms: By tensor.
        constant: The tensors that were 0 in every image.
    """

    histograms: Mapping[str, Histogram]
    constant: tuple[str, ...] = ()
    _ranges: dict[Method, dict[str, Range]] = field(default_factory=dict, repr=False)

    def ranges(self, method: Method) -> Mapping[str, Range]:
        """Every tensor's range by one method."""
        if method not in self._ranges:
            self._ranges[method] = {
                name: choose_range(histogram, method) for name, histogram in self.histograms.items()
            }
        return self._ranges[method]


def calibrate(
    model: onnx.ModelProto, tensors: Sequence[str], pixels: Pixels, progress: Progress
) -> Calibration:
    """Observe tensors of a float graph.

    Args:
        model: The graph.
        tensors: Their names.
        pixels: uint8[N,H,W,3] BGR, as the runtime prepares them; at most BATCH of them are run at a
            time.
        progress: Shows both passes.

    Raises:
        UnsupportedModelError: A weight or a tensor holds NaN or infinity; the message names its
            layer.
    """
    check_weights(model)
    collector = ActivationCollector(model, tensors)
    with progress.step(f"calibrate on {len(pixels)} pictures: ranges"):
        ranges = _observe_ranges(model, collector, pixels, progress)
    counts = {name: np.zeros(BINS, np.int64) for name in tensors}
    counted = pixels[:: max(1, -(-len(pixels) // HISTOGRAM_IMAGES))]
    with progress.step(f"calibrate on {len(counted)} pictures: histograms"):
        for activations in collector.run(counted, progress):
            for name, values in activations.items():
                counts[name] += _count(values, *ranges[name])
    histograms = {name: Histogram(counts[name], *ranges[name]) for name in tensors}
    return Calibration(histograms, tuple(name for name in tensors if ranges[name] == (0.0, 0.0)))


def observe_ranges(
    model: onnx.ModelProto, tensors: Sequence[str], pixels: Pixels
) -> dict[str, Range]:
    """The smallest and the largest value of tensors of a float graph, and 0 between them.

    Raises:
        UnsupportedModelError: A tensor holds NaN or infinity; the message names its layer.
    """
    collector = ActivationCollector(model, tensors)
    return _observe_ranges(model, collector, pixels, NullProgress())


def _observe_ranges(
    model: onnx.ModelProto, collector: "ActivationCollector", pixels: Pixels, progress: Progress
) -> dict[str, Range]:
    ranges: dict[str, Range] = {}
    for activations in collector.run(pixels, progress):
        for name, values in activations.items():
            bottom, top = _ends(values)
            if not (np.isfinite(bottom) and np.isfinite(top)):
                raise _not_finite(model, name, values)
            low, high = ranges.get(name, (0.0, 0.0))
            ranges[name] = min(low, bottom), max(high, top)
    return ranges


def range_coverage(model: onnx.ModelProto, calibration: Calibration, pixels: Pixels) -> float:
    """The share of the calibrated tensors that stay inside their range on other images.

    A tenth of the range is allowed beyond either end: extremes of new images differ a little.

    Args:
        model: The float graph.
        calibration: Its ranges.
        pixels: uint8[N,H,W,3] BGR.

    Returns:
        0..1.
    """
    outside: set[str] = set()
    for activations in ActivationCollector(model, list(calibration.histograms)).run(pixels):
        for name, values in activations.items():
            histogram = calibration.histograms[name]
            slack = RANGE_TOLERANCE * (histogram.high - histogram.low)
            low, high = _ends(values)
            if not (histogram.low - slack <= low and high <= histogram.high + slack):
                outside.add(name)
    count = len(calibration.histograms)
    return (count - len(outside)) / max(count, 1)


class ActivationCollector:
    """A graph whose inner tensors can be read. Sums of INT8 products are exact."""

    def __init__(self, model: onnx.ModelProto, tensors: Sequence[str]) -> None:
        """Open a session on a copy of the graph.

        Args:
            model: The graph.
            tensors: The names of the tensors to read.
        """
        tapped = copy.deepcopy(model)
        outputs = {output.name for output in tapped.graph.output}
        added = (onnx.ValueInfoProto(name=name) for name in tensors if name not in outputs)
        tapped.graph.output.extend(added)
        self._session = open_session(
            tapped.SerializeToString(), arena=False, settings=NO_INT8_KERNELS
        )
        self._input = self._session.get_inputs()[0]
        self._tensors = list(tensors)

    def run(
        self, pixels: Pixels, progress: Progress | None = None
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """Run the graph, on as many images at once as MEMORY allows.

        Args:
            pixels: uint8[N,H,W,3] BGR.
            progress: Shows how many images are done.

        Yields:
            The tensors' values by name, batch by batch; new arrays.
        """
        fixed = self._input.shape[0] if isinstance(self._input.shape[0], int) else 0
        batch = fixed or 1
        start = 0
        while start < len(pixels):
            chunk = pixels[start : start + batch]
            feed = {self._input.name: fill_batch(chunk, fixed)}
            outputs = self._session.run(self._tensors, feed)
            values = [o[: len(chunk)] if o.shape[:1] == (batch,) else o for o in outputs]
            yield dict(zip(self._tensors, values, strict=True))
            start += batch
            if progress:
                progress.update(min(start, len(pixels)), len(pixels))
            if not fixed:
                each = sum(output.nbytes for output in outputs) // len(chunk)
                batch = int(np.clip(MEMORY // max(each, 1), 1, BATCH))


def fill_batch(pixels: Pixels, size: int) -> Pixels:
    """Images for a graph of a fixed batch: too few are filled up with copies of the first."""
    missing = size - len(pixels)
    return np.concatenate([pixels, pixels[:1].repeat(missing, 0)]) if missing > 0 else pixels


def evenly(pixels: Pixels, count: int) -> Pixels:
    """Up to ``count`` of the images, from everywhere in their order."""
    return pixels[:: max(1, len(pixels) // count)][:count]


def check_weights(model: onnx.ModelProto) -> None:
    """Look for weights that are NaN or infinite.

    Constants of other operators may be infinite: masks are, and the floor of a running maximum.

    Raises:
        UnsupportedModelError: There is one; the message names its layer.
    """
    for initializer in model.graph.initializer:
        if initializer.data_type != onnx.TensorProto.FLOAT:
            continue
        values = onnx.numpy_helper.to_array(initializer)
        layer = next((n for n in model.graph.node if initializer.name in n.input), None)
        strict = layer is None or layer.op_type in WEIGHTED
        if not (np.isfinite(values) if strict else ~np.isnan(values)).all():
            where = f"layer {layer.name!r} ({layer.op_type})" if layer else "no layer"
            raise UnsupportedModelError(
                f"weight {initializer.name!r} of {where} holds {_flaw(values)}: "
                "the checkpoint is damaged, or its training diverged; take an earlier one"
            )


def _ends(values: NDArray[Any]) -> Range:
    return float(values.min(initial=0)), float(values.max(initial=0))


def _flaw(values: NDArray[Any]) -> str:
    return "NaN" if np.isnan(values).any() else "infinity"


def _count(values: NDArray[Any], low: float, high: float) -> NDArray[np.int64]:
    if high <= low:
        return np.bincount([0], [values.size], BINS).astype(np.int64)
    scale = BINS / (high - low)
    kind = np.float32 if scale < float(np.finfo(np.float32).max) else np.float64
    scaled = (values.ravel() - kind(low)) * kind(scale)
    bins = np.minimum(scaled.astype(np.int32), BINS - 1)
    return np.bincount(np.maximum(bins, 0, out=bins), minlength=BINS)


def _not_finite(model: onnx.ModelProto, name: str, values: NDArray[Any]) -> UnsupportedModelError:
    layer = next((node for node in model.graph.node if name in node.output), None)
    where = f"layer {layer.name!r} ({layer.op_type})" if layer else f"tensor {name!r}"
    return UnsupportedModelError(
        f"{where} gives {_flaw(values)} on the calibration pictures: the float model is broken "
        "there, and no INT8 form can be made of it; look at its weights, and at mean and std"
    )
