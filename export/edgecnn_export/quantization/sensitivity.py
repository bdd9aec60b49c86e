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
PICTURES = 8
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
    board: FakeQuantModel,
    quantizers: QuantizerMap,
    pixels: Pixels,
    compare: Compare,
    *,
    folder: Path,
    key: tuple[str, ...],
    progress: Progress,
) -> LayerSensitivity:
    """One run of ``board`` for every quantizer, on the first PICTURES pictures.

    folder, key: where results are kept as they come, and what they depend on besides the
    quantizers, so that an interrupted measurement goes on where it was.
    """
    key = (*key, quantizers.digest)
    noise = read_entry(folder, KIND, key, LayerSensitivity) or LayerSensitivity({}, {})
    todo = [(noise.tensors, name) for name in board.tensors if name not in noise.tensors]
    todo += [(noise.weights, name) for name in board.weights if name not in noise.weights]
    if not todo:
        return noise
    pixels = pixels[:PICTURES]
    with progress.step(f"sensitivity of {len(todo)} quantizers"):
        reference = board.run(pixels).outputs
        for number, (kept, name) in enumerate(todo, 1):
            tensors, weights = ([name], []) if kept is noise.tensors else ([], [name])
            found = board.run(pixels, tensors=tensors, weights=weights)
            kept[name] = compare(reference, found.outputs)
            progress.update(number, len(todo))
            if number % SAVE_EVERY == 0 or number == len(todo):
                write_entry(folder, KIND, key, noise)
    return noise
