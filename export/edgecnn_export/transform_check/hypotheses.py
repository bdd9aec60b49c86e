"""Hypotheses about what a transform does: to a tensor's values, and to a frame's size.

If the drift nearly vanishes under one, that is what the transform and the bundle disagree about.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
import numpy as np

from edgecnn_export.planning.normalization import IMAGENET, PRESETS
from edgecnn_export.transform_check.resamplers import SAMPLERS, Resampler
from edgecnn_runtime.bundle.manifest import Input, Normalization
from edgecnn_runtime.preprocess import compute_geometry, prepare
from edgecnn_runtime.types import Floats, Pixels

Read: TypeAlias = Callable[[Floats], Floats]
"""A transform's float32[C,H,W] → gray levels 0..255, channels in the order of the bundle."""
Show: TypeAlias = Callable[[Pixels], Floats]
"""A frame uint8[H,W,3] BGR → what the network gets of it, float32[C,H,W] in gray levels."""

LUMA = (0.114, 0.587, 0.299)
SCALES = {
    "unit": "to 0..1",
    "signed": "to -1..1",
    "raw": "not at all (raw 0..255)",
    "imagenet": "with ImageNet's mean and std",
}
CROPS = (1.0, 0.95, 0.9, 0.875)


@dataclass(frozen=True)
class TensorHypothesis:
    """What the values of a transform's tensor may mean.

    Attributes:
        words: What the transform does, if this is true.
        flags: What exports a bundle that does the same; "" where nothing does.
        read: The tensor's values in gray levels, if this is true.
    """

    words: str
    flags: str
    read: Read


@dataclass(frozen=True)
class ResizeHypothesis:
    """How a transform may bring a frame to the network's size.

    Attributes:
        words: What the transform does, if this is true.
        flags: What exports a bundle that does the same; "" where nothing does.
        spec: The input that further hypotheses build on.
        show: What the network gets of a frame, if this is true.
    """

    words: str
    flags: str
    spec: Input
    show: Show


def manifest_denormalizer(spec: Input) -> Read:
    """Reads a tensor with the manifest's own mean and std."""
    return denormalizer(spec.normalization.mean, spec.normalization.std)


def resized(spec: Input, weights: Sequence[float] = LUMA) -> Show:
    """The runtime's preprocessing, and the color conversion of the artifact."""

    def show(frame: Pixels) -> Floats:
        return model_planes(prepare(spec, [frame])[0], spec, weights)

    return show


def model_planes(pixels: Pixels | Floats, spec: Input, weights: Sequence[float] = LUMA) -> Floats:
    """uint8 or float32[H,W,3] BGR → float32[C,H,W] in the model's own colors, not normalized."""
    values = pixels.astype(np.float32)
    if spec.color == "gray":
        return (values @ np.array(weights, np.float32))[None]
    ordered = values if spec.color == "bgr" else values[..., ::-1]
    return np.ascontiguousarray(ordered.transpose(2, 0, 1))


def tensor_hypotheses(spec: Input) -> Iterator[TensorHypothesis]:
    """Other color orders, scales and orientations than the manifest's."""
    own = spec.normalization
    scales = [("", "", own.mean, own.std), *_scales(spec)]
    for words, flags, mean, std in scales:
        read = denormalizer(mean, std)
        if words:
            yield TensorHypothesis(words, flags, read)
        if spec.color != "gray":
            color = "bgr" if spec.color == "rgb" else "rgb"
            swapped = f"RGB and BGR swapped (the transform feeds {color.upper()})"
            joined = f"{swapped}, and {words}" if words else swapped
            yield TensorHypothesis(joined, f"--color {color} {flags}".strip(), _then_swap(read))
            if len({*mean}) > 1 or len({*std}) > 1:
                joined += ", mean and std in that order too"
                swaps = f"--color {color} {mean_std_flags(mean[::-1], std[::-1])}"
                yield TensorHypothesis(joined, swaps, _swap_first(read))
    read = manifest_denormalizer(spec)
    words = "the transform mirrors the picture"
    yield TensorHypothesis(words, "", lambda planes: read(planes)[..., ::-1])
    words = "the transform turns the picture upside down"
    yield TensorHypothesis(words, "", lambda planes: read(planes)[..., ::-1, :])


def resize_hypotheses(spec: Input) -> Iterator[ResizeHypothesis]:
    """Other ways to resize a frame, those that a bundle offers first."""
    for flags, words, changes in _settings(spec):
        other = msgspec.structs.replace(spec, **changes)
        yield ResizeHypothesis(words, flags, other, resized(other))
    for words, sampler in SAMPLERS.items():
        yield ResizeHypothesis(f"the transform {words}", "", spec, _sampled(spec, sampler))
    if spec.color == "gray":
        weights = {
            "the transform takes its gray from RGB read as BGR": LUMA[::-1],
            "the transform's gray is the plain mean of the channels": (1 / 3, 1 / 3, 1 / 3),
        }
        for words, luma in weights.items():
            yield ResizeHypothesis(words, "", spec, resized(spec, luma))


def scale_words(normalization: Normalization) -> str:
    """The scale in words: ``to 0..1``, or mean and std."""
    own = (normalization.mean, normalization.std)
    for name, mean, std in _presets(len(normalization.mean)):
        if np.allclose(mean, own[0], atol=0.5) and np.allclose(std, own[1], rtol=0.01):
            return SCALES[name]
    return "with " + mean_std_flags(*own).replace("--", "").replace(" std", " and std")


def mean_std_flags(mean: Sequence[float], std: Sequence[float]) -> str:
    """Mean and std as flags of export."""
    texts = [",".join(f"{value:.6g}" for value in values) for values in (mean, std)]
    return f"--mean {texts[0]} --std {texts[1]}"


def _presets(channels: int) -> Iterator[tuple[str, tuple[float, ...], tuple[float, ...]]]:
    for name, (mean, std) in PRESETS.items():
        yield name, (mean,) * channels, (std,) * channels
    if channels == 3:
        yield "imagenet", *IMAGENET


def _scales(spec: Input) -> Iterator[tuple[str, str, tuple[float, ...], tuple[float, ...]]]:
    own = spec.normalization
    bundle = f"the bundle scales {scale_words(own)}"
    for name, mean, std in _presets(len(own.mean)):
        if SCALES[name] not in bundle:
            values = (mean[::-1], std[::-1]) if spec.color == "bgr" else (mean, std)
            yield f"the transform scales {SCALES[name]}, {bundle}", f"--preset {name}", *values
    zeros, ones = (0.0,) * len(own.mean), (1.0,) * len(own.mean)
    fractions = tuple(value / 255 for value in own.mean), tuple(value / 255 for value in own.std)
    mistakes = {
        "subtracts no mean": (zeros, own.std),
        "divides by no std": (own.mean, ones),
        "applies a mean and std for 0..1 to pixels in 0..255": fractions,
    }
    for words, values in mistakes.items():
        if values != (own.mean, own.std):
            yield f"the transform {words}, {bundle}", mean_std_flags(*values), *values


def _settings(spec: Input) -> Iterator[tuple[str, str, dict[str, Any]]]:
    other = "area" if spec.interpolation == "linear" else "linear"
    does = "averages all pixels" if other == "area" else "reads only the nearest four pixels"
    words = f"the transform {does} when it shrinks"
    yield f"--interpolation {other}", words, {"interpolation": other}
    if spec.resize != "stretch":
        words = f"the transform stretches the picture, the bundle's setting is {spec.resize}"
        yield "--resize stretch", words, {"resize": "stretch"}
    setting = f"{spec.crop_pct:.1%}" if spec.resize == "crop" else spec.resize
    for share in CROPS:
        if spec.resize != "crop" or abs(spec.crop_pct - share) > 1e-6:
            words = (
                f"the transform keeps {share:.1%} of the short side and cuts out the center, the "
                f"bundle's setting is {setting}"
            )
            changes: dict[str, Any] = {"resize": "crop", "crop_pct": share}
            yield f"--resize crop --crop-pct {share:g}", words, changes
    for position in ("center", "corner"):
        for pad in (114, 0, 128):
            changes = {"resize": "letterbox", "pad": (pad,) * 3, "pad_position": position}
            if any(getattr(spec, key) != value for key, value in changes.items()):
                at = "around" if position == "center" else "right of and below"
                flags = f"--resize letterbox --pad {pad} --pad-position {position}"
                words = f"the transform fills with {pad} {at} the picture"
                yield flags, words, changes


def _sampled(spec: Input, sampler: Resampler) -> Show:
    """The bundle's own geometry with another resampler."""

    def show(frame: Pixels) -> Floats:
        geometry = compute_geometry(spec, frame.shape[1], frame.shape[0])
        x1, y1, x2, y2 = geometry.source
        left, top, right, bottom = geometry.target
        canvas = np.empty((spec.height, spec.width, 3), np.float32)
        canvas[:] = spec.pad
        part = np.ascontiguousarray(frame[y1:y2, x1:x2])
        canvas[top:bottom, left:right] = sampler(part, right - left, bottom - top)
        return model_planes(canvas.clip(0, 255), spec)

    return show


def denormalizer(mean: Sequence[float], std: Sequence[float]) -> Read:
    """Reads a tensor with a mean and a std in gray levels, one per channel."""
    shift = np.array(mean, np.float32)[:, None, None]
    scale = np.array(std, np.float32)[:, None, None]
    return lambda planes: planes * scale + shift


def _then_swap(read: Read) -> Read:
    return lambda planes: read(planes)[::-1]


def _swap_first(read: Read) -> Read:
    return lambda planes: read(planes[::-1])
