"""How much of the error at the output each quantizer is to blame for."""

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from edgecnn_export.progress import Progress
from edgecnn_export.quantization.fake_quant import FakeQuantModel
from edgecnn_export.quantization.layers import Layer, QuantizerMap
from edgecnn_runtime.device.cache import read_entry, write_entry
from edgecnn_runtime.types import Floats, Pixels

Compare = Callable[[Mapping[str, Floats], Mapping[str, Floats]], float]
"""Reference and other outputs → error power as a share of the reference's centered power."""

KIND = "sensitivity"
IMAGES = 8
SAVE_EVERY = 10


class LayerSensitivity(msgspec.Struct, frozen=True):
    """Error power at the output, as a share of the signal's, with one quantizer on at a time.

    While errors are small they add up, so a sum over quantizers predicts what a set of them does.
    """

    tensors: dict[str, float] = {}
    weights: dict[str, float] = {}

    def sqnr_of(self, layer: Layer) -> float:
        """What a layer and the tensors it touches are to blame for."""
        tensors = sum(self.tensors.get(name, 0.0) for name in layer.tensors)
        return tensors + sum(self.weights.get(name, 0.0) for name in layer.weights)


def measure_sensitivity(
    fake_quant: FakeQuantModel,
    quantizers: QuantizerMap,
    pixels: Pixels,
    compare: Compare,
    *,
    folder: Path,
    key: tuple[str, ...],
    progress: Progress,
) -> LayerSensitivity:
    """Run once for every quantizer, on the first IMAGES images.

    Args:
        fake_quant: The float graph with a switch on every quantizer.
        quantizers: The scales, zero-points and rounded weights to measure.
        pixels: uint8[N,H,W,3] BGR.
        compare: The error of outputs against reference outputs.
        folder: Where results are stored as they come.
        key: What they depend on besides the quantizers: an interrupted measurement is resumed.
        progress: Told of every quantizer.
    """
    key = (*key, quantizers.digest)
    noise = read_entry(folder, KIND, key, LayerSensitivity) or LayerSensitivity({}, {})
    todo = [(noise.tensors, name) for name in fake_quant.tensors if name not in noise.tensors]
    todo += [(noise.weights, name) for name in fake_quant.weights if name not in noise.weights]
    if not todo:
        return noise
    pixels = pixels[:IMAGES]
    with progress.step(f"sensitivity of {len(todo)} quantizers"):
        reference = fake_quant.run(pixels).outputs
        for number, (powers, name) in enumerate(todo, 1):
            tensors, weights = ([name], []) if powers is noise.tensors else ([], [name])
            rounded = fake_quant.run(
                pixels, tensors=tensors, weights=weights, activations=quantizers.activations
            )
            powers[name] = compare(reference, rounded.outputs)
            progress.update(number, len(todo))
            if number % SAVE_EVERY == 0 or number == len(todo):
                write_entry(folder, KIND, key, noise)
    return noise
