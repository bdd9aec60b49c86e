"""How much of the error at the outputs each quantizer is to blame for."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from edgecnn_export.progress import Progress
from edgecnn_export.quantization.downstream import DownstreamModel
from edgecnn_export.quantization.fake_quant import FakeQuantModel
from edgecnn_export.quantization.layers import Layer, QuantizerMap
from edgecnn_runtime.device.cache import read_entry, write_entry
from edgecnn_runtime.types import Floats, Pixels

Compare = Callable[[Mapping[str, Floats], Mapping[str, Floats]], float]
"""Reference and other outputs → error power as a share of the reference's centered power."""

KIND = "sensitivity"
SCOUTED, IMAGES = 2, 4
"""Images for every quantizer, and for those that matter."""
MATTERS = 0.01
"""Of the error of all quantizers: those that add less are in no hurry to return to float."""
SAVE_EVERY = 10


class LayerSensitivity(msgspec.Struct, frozen=True):
    """What each quantizer does to the outputs while it is the only one that is on.

    While errors are small they add up, so a sum over quantizers predicts what a set of them does.

    Attributes:
        errors: Error power at the outputs, as a share of the signal's, by the quantized tensor or
            initializer.
    """

    errors: dict[str, float]

    def error_of(self, layer: Layer) -> float:
        """The error of a layer's weights and of the tensors it touches."""
        return sum(self.errors.get(name, 0.0) for name in layer.quantizers)


def measure_sensitivity(
    fake_quant: FakeQuantModel | DownstreamModel,
    quantizers: QuantizerMap,
    pixels: Pixels,
    compare: Compare,
    *,
    folder: Path,
    key: tuple[str, ...],
    progress: Progress,
) -> LayerSensitivity:
    """Run once for every quantizer on a few images, and on more for those that matter.

    What another target's quantizer did, or the same one before an interruption, is not measured
    again: where it rounds alike, it does the same.

    Args:
        fake_quant: The float graph with a switch on every quantizer.
        quantizers: The scales, zero-points and rounded weights to measure.
        pixels: uint8[N,H,W,3] BGR.
        compare: The error of outputs against reference outputs.
        folder: Where results are stored as they come.
        key: What they depend on besides the quantizers: the float graph, images and comparison.
        progress: Shows every quantizer.
    """
    digests = {name: f"{name} {quantizers.digest_of(name)}" for name in fake_quant.switches}

    def measure(names: Sequence[str], count: int) -> dict[str, float]:
        """The error of each of them on the first images, by name."""
        counted = (*key, f"{count} images")
        known = read_entry(folder, KIND, counted, dict[str, float]) or {}
        missing = [name for name in names if digests[name] not in known]
        if missing:
            with progress.step(f"sensitivity of {len(missing)} quantizers, {count} pictures"):
                reference = fake_quant.run(pixels[:count]).outputs
                for number, name in enumerate(missing, 1):
                    rounded = fake_quant.run(
                        pixels[:count], [name], activations=quantizers.activations
                    )
                    known[digests[name]] = compare(reference, rounded.outputs)
                    progress.update(number, len(missing))
                    if number % SAVE_EVERY == 0 or number == len(missing):
                        write_entry(folder, KIND, counted, known)
        return {name: known[digests[name]] for name in names}

    errors = measure(fake_quant.switches, SCOUTED)
    least = MATTERS * sum(errors.values())
    errors |= measure([name for name, error in errors.items() if error > least], IMAGES)
    return LayerSensitivity(errors)
