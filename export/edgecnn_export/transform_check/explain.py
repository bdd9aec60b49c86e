"""What the transform and the bundle disagree about: hypotheses, tried one after the other."""

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import msgspec
import numpy as np

from edgecnn_export.transform_check.hypotheses import (
    Read,
    ResizeHypothesis,
    TensorHypothesis,
    denormalizer,
    manifest_denormalizer,
    mean_std_flags,
    resize_hypotheses,
    resized,
    scale_words,
    tensor_hypotheses,
)
from edgecnn_export.transform_check.synthetic_images import Picture
from edgecnn_runtime.bundle.manifest import Input
from edgecnn_runtime.types import Floats

BETTER, LEAST = 0.75, 0.3
"""A hypothesis counts if at most this share of the drift is left, and this many levels are gone."""
FLAT = 1e-6
"""A tensor whose values vary by no more than this share of them is constant."""
STEPS = 4
MOST_PIXELS, MOST_PICTURES = 1_000_000, 6


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One disagreement.

    Attributes:
        words: What the transform does.
        before: The typical drift in gray levels, without allowing for it.
        after: The same, allowing for it.
        flags: What to export with; "" where no setting of a bundle helps.
        closest: Where the flags only come close: the drift in gray levels that they leave.
    """

    words: str
    before: float
    after: float
    flags: str = ""
    closest: float | None = None

    def __str__(self) -> str:
        text = (
            f"looks like {self.words}: allowing for it brings the drift from {self.before:.1f} to "
            f"{self.after:.1f} gray levels"
        )
        if self.closest is not None:
            return f"{text}; {self.flags} comes closest to it ({self.closest:.1f})"
        remedy = f"export with {self.flags}" if self.flags else "no setting of a bundle does that"
        return f"{text}; {remedy}"


class Sample(NamedTuple):
    """A picture, and the transform's tensor float32[C,H,W] for it.

    Attributes:
        number: Of the picture, among all that are compared.
        picture: The picture.
        planes: The tensor.
    """

    number: int
    picture: Picture
    planes: Floats


def levels(planes: Floats, others: Floats) -> float:
    """The mean absolute difference of two float32[C,H,W], in gray levels."""
    return float(np.abs(planes - others).mean(dtype=np.float64))


def explain_drift(samples: Sequence[Sample], spec: Input) -> list[Finding]:
    """What causes the drift, the most serious first.

    Every step accepts the hypothesis that leaves the least drift; the next ones build on it. Empty
    where no hypothesis explains it, or where the tensors contain no picture.
    """
    if all(np.ptp(sample.planes) <= FLAT * np.abs(sample.planes).max() for sample in samples):
        return []
    small = [sample for sample in samples if sample.picture.pixels.size <= 3 * MOST_PIXELS]
    search = _Search((small or samples)[:MOST_PICTURES], spec)
    return list(islice(iter(search.step, None), STEPS))


class _Search:
    """The state of the search: how tensors are read, and how frames are resized."""

    def __init__(self, samples: Sequence[Sample], spec: Input) -> None:
        self._samples, self._spec = samples, spec
        self._own = spec.normalization
        self._tensor_way: TensorHypothesis | None = None
        self._read: Read = manifest_denormalizer(spec)
        self._canvases = [resized(spec)(sample.picture.pixels) for sample in samples]
        self._drift = self._typical(self._read, self._canvases)

    def step(self) -> Finding | None:
        """Accept the hypothesis that leaves the least drift; None where none counts."""
        finding = self._better_tensor() if self._tensor_way is None else None
        return finding or self._better_resize()

    def _better_tensor(self) -> Finding | None:
        drifts = [
            (self._typical(way.read, self._canvases), way) for way in tensor_hypotheses(self._spec)
        ]
        drift, way = min(drifts, key=lambda pair: pair[0])
        if fitted := self._fitted():
            fit_drift = self._typical(fitted.read, self._canvases)
            if fit_drift < BETTER * drift - LEAST and fit_drift < self._drift / 2:
                drift, way = fit_drift, fitted
        if not self._counts(drift):
            return None
        self._tensor_way, self._read = way, way.read
        return self._finding(way, drift)

    def _better_resize(self) -> Finding | None:
        ways = list(resize_hypotheses(self._spec))
        drifts = [self._typical(self._read, self._resized(way)) for way in ways]
        best = int(np.argmin(drifts))
        if not self._counts(drifts[best]):
            return None
        way, before = ways[best], self._drift
        self._canvases, self._spec = self._resized(way), way.spec
        finding = self._finding(way, drifts[best])
        closest = min((d, w.flags) for d, w in zip(drifts, ways, strict=True) if w.flags)
        if way.flags or closest[0] >= before:
            return finding
        return msgspec.structs.replace(finding, flags=closest[1], closest=closest[0])

    def _resized(self, way: ResizeHypothesis) -> list[Floats]:
        return [way.show(sample.picture.pixels) for sample in self._samples]

    def _counts(self, drift: float) -> bool:
        return drift <= BETTER * self._drift and self._drift - drift >= LEAST

    def _finding(self, way: TensorHypothesis | ResizeHypothesis, drift: float) -> Finding:
        before, self._drift = self._drift, drift
        return Finding(words=way.words, before=before, after=drift, flags=way.flags)

    def _typical(self, read: Read, canvases: Sequence[Floats]) -> float:
        pairs = zip(self._samples, canvases, strict=True)
        return float(np.median([levels(read(sample.planes), canvas) for sample, canvas in pairs]))

    def _fitted(self) -> TensorHypothesis | None:
        """Mean and std of each channel by least squares; None where a channel is constant."""
        mean, std = [], []
        for channel in range(len(self._canvases[0])):
            values = np.concatenate([s.planes[channel].ravel() for s in self._samples])
            grays = np.concatenate([canvas[channel].ravel() for canvas in self._canvases])
            deviation = float(values.std(dtype=np.float64))
            if not deviation:
                return None
            scale = float(np.cov(values, grays)[0, 1]) / deviation**2
            std.append(float(f"{scale:.4g}"))
            mean.append(float(f"{grays.mean() - scale * float(values.mean()):.4g}"))
        return TensorHypothesis(
            f"the transform scales with other values ({mean_std_flags(mean, std)}), the bundle "
            f"{scale_words(self._own)}",
            mean_std_flags(mean, std),
            denormalizer(mean, std),
        )
