"""The story of a differential test: pictures → both preprocessings → drift → what explains it.

A reference that shares a wrong mean, color order or crop verifies perfectly. Only the transform
that the network was trained with can tell, so it is run beside the bundle on pictures of awkward
sizes: how far apart are the pixels that both show the network, and what does it answer to each?
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

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
"""Gray levels of 255, of the median picture. Rounding to bytes makes 0.25; a crop that lies half a
network pixel beside ours up to 5; linear against antialiased shrinking 7 on 1080p photographs, area
against it 2. A wrong color order, scale or crop makes 20 and more."""


class ImageDrift(msgspec.Struct, frozen=True, kw_only=True):
    """One picture. mean, most: absolute difference in gray levels of what the network is shown.

    normalized: the mean in units of the network's own input. ordinary: whether it decides
    anything. same: whether both decode to the same result. problem: why there is no figure.
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

    typical: the median of the ordinary pictures' means, in gray levels; limit: what it may be.
    random: by how many gray levels two calls with one picture differ. findings: what explains it,
    the gravest first. problems: ordinary pictures that the transform did not take.
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
        """Ordinary pictures without a figure."""
        return tuple(one for one in self.pictures if one.problem and one.ordinary)

    @property
    def passed(self) -> bool:
        """Whether both show the network the same picture, as far as 8-bit resizing can."""
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

    transform: "package.module:callable" (whose code is run), or the callable: a picture's path →
    a tensor C,H,W or H,W,C. images: a folder of real pictures besides the generated ones, and
    count: how many of them. limit: the typical drift allowed, in gray levels. backend: the
    engine that answers (default: the first one here).
    progress: told how many pictures are done, and of how many.
    Raises UsageError where transform or images cannot be meant, BackendMissingError where there is
    no engine.
    """
    name = transform if isinstance(transform, str) else getattr(transform, "__name__", "transform")
    call = load_transform(transform) if isinstance(transform, str) else transform
    spec = bundle.manifest.model.input
    files = list_pictures(images)
    with tempfile.TemporaryDirectory() as folder:
        pictures = synthetic_test_images(Path(folder), spec.width, spec.height)
        if images:
            pictures += user_test_images(images, files, count)
        found: list[ImageDrift] = []
        planes: list[Floats | None] = []
        for picture in pictures:
            drift, got = _compare(picture, call, spec)
            found.append(drift)
            planes.append(got)
            progress(len(found), len(pictures))
        decisive = [
            _Taken(place, picture, got)
            for place, (picture, got) in enumerate(zip(pictures, planes, strict=True))
            if got is not None and picture.ordinary
        ]
        random, refused = _second_call(decisive, call, spec)
        for place, problem in refused.items():
            found[place] = msgspec.structs.replace(found[place], problem=problem)
    outputs = None
    if decisive:
        shown = prepare(spec, [taken.picture.pixels for taken in decisive])
        told = [_pixels(taken.planes, spec) for taken in decisive]
        outputs, same = output_drift(bundle, shown, told, backend)
        for taken, equal in zip(decisive, same, strict=True):
            found[taken.place] = msgspec.structs.replace(found[taken.place], same=equal)
    samples = [Sample(taken.picture.pixels, taken.planes) for taken in decisive]
    return Drift(
        transform=name,
        pictures=tuple(found),
        typical=float(np.median([found[taken.place].mean for taken in decisive] or [0.0])),
        limit=limit,
        random=random,
        outputs=outputs,
        findings=tuple(explain_drift(samples, spec)) if samples else (),
    )


class _Taken(NamedTuple):
    """An ordinary picture that the transform took: its place in the table, and the tensor."""

    place: int
    picture: Picture
    planes: Floats


def _compare(
    picture: Picture, transform: Transform, spec: Input
) -> tuple[ImageDrift, Floats | None]:
    height, width = picture.pixels.shape[:2]
    drift = ImageDrift(name=picture.name, width=width, height=height, ordinary=picture.ordinary)
    try:
        got = tensor(transform, picture.path, spec)
    except TensorError as error:
        return msgspec.structs.replace(drift, problem=str(error)), None
    shown = model_planes(prepare(spec, [picture.pixels])[0], spec)
    apart = np.abs(manifest_denormalizer(spec)(got) - shown)
    std = np.array(spec.normalization.std, np.float32)[:, None, None]
    drift = msgspec.structs.replace(
        drift,
        mean=levels(manifest_denormalizer(spec)(got), shown),
        most=float(apart.max()),
        normalized=float((apart / std).mean()),
    )
    return drift, got


def _second_call(
    taken: Sequence[_Taken], transform: Transform, spec: Input
) -> tuple[float, dict[int, str]]:
    """By how much it differs from the first, and what it did not take again, by place.

    Training transforms often augment; those have nothing to say about deployment.
    """
    refused: dict[int, str] = {}
    for one in taken[:3]:
        try:
            again = tensor(transform, one.picture.path, spec)
        except TensorError as error:
            refused[one.place] = f"called again with the same picture, {error}"
            continue
        if not np.array_equal(one.planes, again):
            return levels(
                manifest_denormalizer(spec)(one.planes), manifest_denormalizer(spec)(again)
            ), refused
    return 0.0, refused


def _pixels(planes: Floats, spec: Input) -> Floats:
    """The transform's tensor as the bundle would have to be fed: float32[H,W,3] BGR, 0..255."""
    values = manifest_denormalizer(spec)(planes).transpose(1, 2, 0)
    if spec.color == "gray":
        values = np.repeat(values, 3, axis=2)
    ordered = values[..., ::-1] if spec.color == "rgb" else values
    return np.ascontiguousarray(ordered)
