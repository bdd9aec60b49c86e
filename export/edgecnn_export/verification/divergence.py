"""Where a wrong artifact goes wrong: the first layer whose values are nowhere in it.

Layers are not matched by name, because folding and fusing rename them. A layer is right when some
tensor of the artifact, of the same size, holds its values; the culprit is the first layer after
the last right one. So a convolution that absorbed its BatchNorm is no false alarm: the BatchNorm's
values are in the artifact.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgecnn_export.verification.layers import LayerValues, artifact_layers, onnx_layers
from edgecnn_export.verification.reference import Reference, reference_preprocess
from edgecnn_export.verification.verify import Check, Verifier
from edgecnn_runtime.errors import VerificationError
from edgecnn_runtime.parity import percent_text
from edgecnn_runtime.types import Floats, Pixels

SAME_DB = 30.0
"""A layer is right where the error of the nearest tensor lies this far under its values."""
REPEATED_DB = 50.0
"""A model follows itself where its own results, computed again, differ by less: by rounding."""
WORST_DB = -99.0


def describe_failure(checks: Sequence[Check], verifier: Verifier, reference: Reference) -> str:
    """What failed first, by how much, where it begins, and what to try.

    Args:
        checks: All checks of the artifact; at least one has failed.
        verifier: That made them; its first image is traced through the layers.
        reference: What the artifact was compared with.
    """
    check = next(check for check in checks if check.failed)
    parity = check.comparison.parity
    name = min(check.failed, key=lambda output: parity[output].cosine)
    file, pixels, batch = check.artifact.file, verifier.truth.pixels, verifier.spec.smallest_batch
    passed = [o.backend for o in checks if o.artifact is check.artifact and not o.failed]
    lines = [
        f"{file} does not follow the model on {check.engine} {check.version}: output {name!r} has "
        f"a centered cosine of {parity[name].cosine:.6f} (gate {check.gate.cosine}), "
        f"{parity[name].snr_db:.1f} dB, a largest error of {parity[name].max_abs:.3g}; "
        f"{percent_text(check.comparison.agreement)} of the decoded results agree"
    ]
    if passed:
        expected = artifact_layers(verifier.folder / file, passed[0], pixels, batch)
        lines.append(f"it does on {', '.join(passed)}: the engine is at fault")
        advice = f"--backends {','.join(passed)}, which leaves {check.backend} out"
    elif problem := _own_fault(reference, reference_preprocess(pixels[:2], verifier.spec.input)):
        return "\n  ".join([*lines, problem])
    else:
        expected = reference.layers(reference_preprocess(pixels[:1], verifier.spec.input))
        advice = "--opset 18, and other versions of torch and onnx; then report this message"
    layers = artifact_layers(verifier.folder / file, check.backend, pixels, batch)
    divergence = first_divergence(expected, [layer.values for layer in layers])
    if divergence:
        lines.append(f"first layer that diverges: {divergence.layer}, {divergence.snr_db:.1f} dB")
    return "\n  ".join([*lines, f"try {advice}"])


def _own_fault(reference: Reference, planes: Floats) -> str:
    """Why no artifact could follow the model: it does not follow itself; "" where it does.

    Args:
        reference: The model.
        planes: Two images, float32[2,C,H,W].
    """
    first, again = reference.run(planes), reference.run(planes)
    if not all(_equal(first[name], again[name]) for name in first):
        return (
            "the model's own results change from run to run: it draws random numbers in eval(), "
            "such as F.dropout without training=self.training. Make it repeatable and export again"
        )
    alone = reference.run(planes[:1])
    if not all(_equal(first[name][:1], alone[name]) for name in first):
        return (
            "the model gives a picture other results in a batch than alone, as normalization by "
            "the batch's own statistics does (BatchNorm with track_running_stats=False). Give it "
            "fixed statistics, or export it for one picture at a time: a .pt2 or ONNX file made "
            "with a batch of one"
        )
    return ""


def _equal(values: Floats, expected: Floats) -> bool:
    return _snr(expected, values.reshape(-1).astype(np.float64)) >= REPEATED_DB


def require_finite(
    outputs: Mapping[str, Floats], model: onnx.ModelProto, pixels: Pixels
) -> Mapping[str, Floats]:
    """The reference's outputs, unchanged, if all values are finite.

    Args:
        outputs: float32[N,…] by name, the batch first.
        model: The float graph with the pixels folded in.
        pixels: The images, uint8[N,H,W,3] BGR.

    Raises:
        VerificationError: NaN or infinity; the message names the first layer that gives it.
    """
    for name, values in outputs.items():
        broken = ~np.isfinite(values).reshape(len(values), -1).all(1)
        if broken.any():
            index = int(broken.argmax())
            value = "NaN" if np.isnan(values).any() else "infinity"
            raise VerificationError(
                f"the model itself gives {value} in output {name!r}, before anything was exported"
                f"{_first_broken(model, pixels[index : index + 1])}: look at its weights, and at "
                "its mean and std"
            )
    return outputs


def _first_broken(model: onnx.ModelProto, picture: Pixels) -> str:
    layers = onnx_layers(model, picture)
    name = next((layer.name for layer in layers if not np.isfinite(layer.values).all()), None)
    return f"; the first layer whose values are not finite is {name}" if name else ""


@dataclass(frozen=True)
class Divergence:
    """The first wrong layer, and how far under its values the nearest tensor's error lies."""

    layer: str
    snr_db: float


def first_divergence(
    expected: Sequence[LayerValues], tensors: Iterable[NDArray[Any]]
) -> Divergence | None:
    """The first layer, in the order of execution, from which on nothing is right.

    Args:
        expected: The layers of what is right.
        tensors: All tensors of what is wrong.

    Returns:
        None where every layer's values are in some tensor.
    """
    by_size: dict[int, list[NDArray[np.float64]]] = {}
    for values in tensors:
        by_size.setdefault(values.size, []).append(values.reshape(-1).astype(np.float64))
    nearest = [
        max(
            (_snr(layer.values, tensor) for tensor in by_size.get(layer.values.size, ())),
            default=WORST_DB,
        )
        for layer in expected
    ]
    right = [index for index, snr in enumerate(nearest) if snr >= SAME_DB]
    last = right[-1] if right else -1
    wrong = [index for index in range(len(nearest)) if nearest[index] < SAME_DB]
    culprits = [index for index in wrong if index > last] or wrong
    return Divergence(expected[culprits[0]].name, nearest[culprits[0]]) if culprits else None


def _snr(expected: NDArray[Any], tensor: NDArray[np.float64]) -> float:
    values = expected.reshape(-1).astype(np.float64)
    power = float(((values - values.mean()) ** 2).sum())
    error = float(((tensor - values) ** 2).sum())
    if not np.isfinite(error):
        return WORST_DB
    return float(10 * np.log10((power + 1e-30) / (error + 1e-30)))
