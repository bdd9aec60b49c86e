"""The ranges of a graph's tensors over the calibration pictures, in two passes and little memory.

The first pass finds each tensor's smallest and largest value, the second counts values into bins
between them. No activation outlives the batch it belongs to, whatever the method, while ONNX
Runtime's own percentile and entropy calibraters keep every one of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgecnn_export.config import Method
from edgecnn_export.progress import Progress
from edgecnn_export.quantization.range_estimation import BINS, Histogram, Range, choose_range
from edgecnn_export.quantization.schemes import WEIGHTED
from edgecnn_runtime.backends.onnxruntime_exact import NO_INT8_KERNELS
from edgecnn_runtime.backends.ort_session import open_session
from edgecnn_runtime.errors import UnsupportedModelError
from edgecnn_runtime.types import Pixels

BATCH = 16
RANGE_TOLERANCE = 0.1
MEMORY = 32 << 20
"""Bytes of activations that may exist at once."""


@dataclass(frozen=True)
class Calibration:
    """histograms: by tensor. constant: tensors that were 0 in every picture."""

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
    """Observe ``tensors`` of a float graph.

    pixels: uint8[N,H,W,3] BGR, as the runtime prepares them; at most BATCH of them at a time.
    Raises UnsupportedModelError for NaN or infinity, naming the layer that gave it.
    """
    check_weights(model)
    tap = ActivationCollector(model, tensors)
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    with progress.step(f"calibrate on {len(pixels)} pictures: ranges"):
        for values in tap.run(pixels, progress):
            for name, found in values.items():
                bottom, top = float(found.min(initial=0)), float(found.max(initial=0))
                if not (np.isfinite(bottom) and np.isfinite(top)):
                    raise _not_finite(model, name, found)
                low[name] = min(low.get(name, 0.0), bottom)
                high[name] = max(high.get(name, 0.0), top)
    counts = {name: np.zeros(BINS, np.int64) for name in tensors}
    with progress.step(f"calibrate on {len(pixels)} pictures: histograms"):
        for values in tap.run(pixels, progress):
            for name, found in values.items():
                counts[name] += _count(found, low[name], high[name])
    histograms = {name: Histogram(counts[name], low[name], high[name]) for name in tensors}
    flat = tuple(name for name in tensors if low[name] == high[name] == 0)
    return Calibration(histograms, flat)


def range_coverage(model: onnx.ModelProto, calibration: Calibration, pixels: Pixels) -> float:
    """Share of the calibrated tensors that stay inside their range on other pictures.

    A tenth of the range is allowed beyond either end: extremes of new pictures differ a little.
    """
    names = list(calibration.histograms)
    inside = dict.fromkeys(names, True)
    for values in ActivationCollector(model, names).run(pixels):
        for name, found in values.items():
            known = calibration.histograms[name]
            slack = RANGE_TOLERANCE * (known.high - known.low)
            low, high = float(found.min(initial=0)), float(found.max(initial=0))
            inside[name] &= known.low - slack <= low and high <= known.high + slack
    return sum(inside.values()) / max(len(inside), 1)


class ActivationCollector:
    """A graph with more outputs: inner tensors by name. Sums of INT8 products are exact."""

    def __init__(self, model: onnx.ModelProto, tensors: Sequence[str]) -> None:
        tapped = with_outputs(model, tensors)
        self._session = open_session(
            tapped.SerializeToString(), arena=False, settings=NO_INT8_KERNELS
        )
        self._input = self._session.get_inputs()[0]
        self._tensors = list(tensors)

    def run(
        self, pixels: Pixels, progress: Progress | None = None
    ) -> Iterator[dict[str, NDArray[Any]]]:
        """Values by tensor, batch by batch; as many pictures at once as MEMORY allows."""
        fixed = self._input.shape[0]
        batch = fixed if isinstance(fixed, int) else 1
        at = 0
        while at < len(pixels):
            chunk = pixels[at : at + batch]
            fed = chunk
            if isinstance(fixed, int) and len(chunk) < batch:
                fed = np.concatenate([chunk, chunk[:1].repeat(batch - len(chunk), 0)])
            outputs = self._session.run(self._tensors, {self._input.name: fed})
            kept = [o[: len(chunk)] if o.shape[:1] == (batch,) else o for o in outputs]
            yield dict(zip(self._tensors, kept, strict=True))
            at += batch
            if progress:
                progress.update(min(at, len(pixels)), len(pixels))
            if not isinstance(fixed, int):
                each = sum(output.nbytes for output in outputs) // len(chunk)
                batch = int(np.clip(MEMORY // max(each, 1), 1, BATCH))


def with_outputs(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """A copy of the graph that also gives ``tensors``."""
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    present = {output.name for output in tapped.graph.output}
    tapped.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in tensors if name not in present
    )
    return tapped


def check_weights(model: onnx.ModelProto) -> None:
    """Raise UnsupportedModelError for a weight that is NaN or infinite, naming its layer.

    Constants of other operators may be infinite: masks are, and the floor of a running maximum.
    """
    for initializer in model.graph.initializer:
        if initializer.data_type != onnx.TensorProto.FLOAT:
            continue
        values = onnx.numpy_helper.to_array(initializer)
        layer = next((n for n in model.graph.node if initializer.name in n.input), None)
        strict = layer is None or layer.op_type in WEIGHTED
        if not (np.isfinite(values) if strict else ~np.isnan(values)).all():
            where = f"layer {layer.name!r} ({layer.op_type})" if layer else "no layer"
            bad = "NaN" if np.isnan(values).any() else "infinity"
            raise UnsupportedModelError(
                f"weight {initializer.name!r} of {where} holds {bad}: "
                "the checkpoint is damaged, or its training diverged; take an earlier one"
            )


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
    bad = "NaN" if np.isnan(values).any() else "infinity"
    return UnsupportedModelError(
        f"{where} gives {bad} on the calibration pictures: the float model is broken there, and "
        "no INT8 form can be made of it; look at its weights, and at mean and std"
    )
