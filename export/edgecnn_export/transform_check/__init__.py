"""The story of a differential test: pictures → both preprocessings → drift → its explanation.

A reference that shares a wrong mean, color order or crop verifies perfectly. Only the transform
that the network was trained with shows the error, so it runs beside the bundle on pictures of
difficult sizes: how different are the pixels that both feed the network, and its results?
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from edgecnn_export.transform_check.explain import Finding, Sample, explain_drift, levels
from edgecnn_export.transform_check.hypotheses import manifest_denormalizer, model_planes
from edgecnn_export.transform_check.outputs import OutputDrift, output_drift
from edgecnn_export.transform_check.synthetic_images import (
    Picture,
    synthetic_test_images,
    user_test_images,
)
from edgecnn_export.transform_check.transform import TensorError, Transform, load_transform, tensor
from edgecnn_export.verification.images import list_pictures
from edgecnn_runtime.bundle.bundle import Bundle
from edgecnn_runtime.bundle.manifest import Input
from edgecnn_runtime.preprocess import prepare
from edgecnn_runtime.types import Floats

__all__ = ["Drift", "Finding", "ImageDrift", "OutputDrift", "compare_transform", "load_transform"]

LIMIT = 6.0
"""Gray levels of 255, of the median picture. Rounding to bytes costs 0.25; a crop that is half a
network pixel off up to 5; linear against antialiased shrinking 7 on 1080p photographs, area
against it 2. A wrong color order, scale or crop costs 20 and more."""


class ImageDrift(msgspec.Struct, frozen=True, kw_only=True):
    """How much one picture differs.

    Attributes:
        name: Of the picture.
        width: Of the picture.
        height: Of the picture.
        ordinary: Whether it counts; degenerate sizes do not.
        mean: Mean absolute difference of the network's input, in gray levels.
        most: The largest.
        normalized: The mean in units of the network's own input.
        same: Whether both give the same result; None where the network did not run.
        problem: Why there are no figures.
    """

    name: str
    width: int
    height: int
    ordinary: bool
    mean: float = 0.0
    most: float = 0.0
    normalized: float = 0.0
    same: bool | None = None
    problem: str = ""


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """What the transform and the bundle disagree about.

    Attributes:
        transform: Its name.
        pictures: One entry per picture.
        typical: The median of the ordinary pictures' means, in gray levels.
        limit: The largest allowed.
        random: By how many gray levels two calls with one picture differ.
        outputs: The network's outputs for both; None where no picture could be compared.
        findings: What explains the drift, the most serious first.
    """

    transform: str
    pictures: tuple[ImageDrift, ...]
    typical: float
    limit: float
    random: float
    outputs: OutputDrift | None
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[ImageDrift, ...]:
        """Ordinary pictures that could not be compared."""
        return tuple(image for image in self.pictures if image.problem and image.ordinary)

    @property
    def passed(self) -> bool:
        """Whether both feed the network the same picture, as far as 8-bit resizing can."""
        return self.typical <= self.limit and not self.random and not self.problems


def compare_transform(
    bundle: Bundle,
    transform: str | Transform,
    *,
    images: str = "",
    count: int = 64,
    limit: float = LIMIT,
    backend: str = "",
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Drift:
    """Run a transform and a bundle beside each other.

    Args:
        bundle: The bundle.
        transform: ``package.module:callable`` (whose code is run), or the callable: a picture's
            path → a tensor C,H,W or H,W,C.
        images: A folder of real pictures, used besides the generated ones.
        count: How many of them at most.
        limit: The typical drift allowed, in gray levels.
        backend: The engine the network runs on; "" means the first one installed.
        progress: Called with how many pictures are done, and how many there are.

    Raises:
        UsageError: The transform cannot be imported, or the folder has no readable picture.
        BackendMissingError: No engine is installed.
    """
    name = transform if isinstance(transform, str) else getattr(transform, "__name__", "transform")
    call = load_transform(transform) if isinstance(transform, str) else transform
    spec = bundle.manifest.model.input
    files = list_pictures(images)
    with tempfile.TemporaryDirectory() as folder:
        pictures = synthetic_test_images(Path(folder), spec.width, spec.height)
        if images:
            pictures += user_test_images(images, files, count)
        drifts: list[ImageDrift] = []
        tensors: list[Floats | None] = []
        for picture in pictures:
            drift, planes = _compare(picture, call, spec)
            drifts.append(drift)
            tensors.append(planes)
            progress(len(drifts), len(pictures))
        decisive = [  # the ordinary pictures that the transform accepts
            Sample(index, picture, planes)
            for index, (picture, planes) in enumerate(zip(pictures, tensors, strict=True))
            if planes is not None and picture.ordinary
        ]
        random, problems = _second_call(decisive, call, spec)
        for index, problem in problems.items():
            drifts[index] = msgspec.structs.replace(drifts[index], problem=problem)
    outputs = None
    if decisive:
        own = prepare(spec, [each.picture.pixels for each in decisive])
        transformed = [_pixels(each.planes, spec) for each in decisive]
        outputs, equal = output_drift(bundle, own, transformed, backend)
        for each, same in zip(decisive, equal, strict=True):
            drifts[each.number] = msgspec.structs.replace(drifts[each.number], same=same)
    return Drift(
        transform=name,
        pictures=tuple(drifts),
        typical=float(np.median([drifts[each.number].mean for each in decisive] or [0.0])),
        limit=limit,
        random=random,
        outputs=outputs,
        findings=tuple(explain_drift(decisive, spec)) if decisive else (),
    )


def _compare(
    picture: Picture, transform: Transform, spec: Input
) -> tuple[ImageDrift, Floats | None]:
    height, width = picture.pixels.shape[:2]
    drift = ImageDrift(name=picture.name, width=width, height=height, ordinary=picture.ordinary)
    try:
        planes = tensor(transform, picture.path, spec)
    except TensorError as error:
        return msgspec.structs.replace(drift, problem=str(error)), None
    own = model_planes(prepare(spec, [picture.pixels])[0], spec)
    difference = np.abs(manifest_denormalizer(spec)(planes) - own)
    std = np.array(spec.normalization.std, np.float32)[:, None, None]
    drift = msgspec.structs.replace(
        drift,
        mean=float(difference.mean(dtype=np.float64)),
        most=float(difference.max()),
        normalized=float((difference / std).mean()),
    )
    return drift, planes


def _second_call(
    decisive: Sequence[Sample], transform: Transform, spec: Input
) -> tuple[float, dict[int, str]]:
    """By how much a second call differs from the first, and its problems by number.

    Transforms for training often augment; those prove nothing about deployment.
    """
    problems: dict[int, str] = {}
    for each in decisive[:3]:
        try:
            again = tensor(transform, each.picture.path, spec)
        except TensorError as error:
            problems[each.number] = f"called again with the same picture, {error}"
            continue
        if not np.array_equal(each.planes, again):
            read = manifest_denormalizer(spec)
            return levels(read(each.planes), read(again)), problems
    return 0.0, problems


def _pixels(planes: Floats, spec: Input) -> Floats:
    """The transform's tensor as an image for the bundle: float32[H,W,3] BGR, 0..255."""
    values = manifest_denormalizer(spec)(planes).transpose(1, 2, 0)
    if spec.color == "gray":
        values = np.repeat(values, 3, axis=2)
    ordered = values[..., ::-1] if spec.color == "rgb" else values
    return np.ascontiguousarray(ordered)
