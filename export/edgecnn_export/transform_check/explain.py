"""What the transform and the bundle disagree about: hypotheses, tried one upon the other."""

from collections.abc import Sequence
from dataclasses import dataclass

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
from edgecnn_runtime.bundle.manifest import Input
from edgecnn_runtime.types import Floats, Pixels

BETTER, LEAST = 0.75, 0.3
"""A hypothesis counts where it leaves at most so much of the drift, and takes so many levels."""
FLAT = 1e-6
"""A tensor that varies by so little of its values is the same everywhere."""
STEPS = 4
MOST_PIXELS, MOST_PICTURES = 1_000_000, 6


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One disagreement. before, after: the typical drift in gray levels, without and with it.

    flags: what to export with. closest: whether those do not do the same, but come closest, and
    leave ``closest`` gray levels. flags is "" where no setting of a bundle comes any closer.
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


@dataclass(frozen=True)
class Sample:
    """One picture, as a frame and as the transform's tensor."""

    frame: Pixels
    planes: Floats


def levels(read: Floats, show: Floats) -> float:
    """The mean absolute difference of two float32[C,H,W], in gray levels."""
    return float(np.abs(read - show).mean(dtype=np.float64))


def explain_drift(samples: Sequence[Sample], spec: Input) -> list[Finding]:
    """What makes the drift, the gravest first; empty where nothing known does, or where the
    tensors hold no picture at all.

    Every step takes the hypothesis that leaves the least; the next ones are tried on top of it.
    """
    if all(np.ptp(sample.planes) <= FLAT * np.abs(sample.planes).max() for sample in samples):
        return []
    small = [sample for sample in samples if sample.frame.size <= 3 * MOST_PIXELS] or samples
    search = _Search(small[:MOST_PICTURES], spec)
    found: list[Finding] = []
    for _ in range(STEPS):
        finding = search.step()
        if finding is None:
            break
        found.append(finding)
    return found


class _Search:
    """Where the search stands: how tensors are read, and what frames are shown as."""

    def __init__(self, samples: Sequence[Sample], spec: Input) -> None:
        self._samples, self._spec = samples, spec
        self._own = spec.normalization
        self._reading: TensorHypothesis | None = None
        self._read: Read = manifest_denormalizer(spec)
        self._canvases = [resized(spec)(sample.frame) for sample in samples]
        self._drift = self._typical(self._read, self._canvases)

    def step(self) -> Finding | None:
        """The hypothesis that leaves the least drift, if it is worth a word; taken for granted."""
        found = self._better_reading() if self._reading is None else None
        return found or self._better_showing()

    def _better_reading(self) -> Finding | None:
        named = [
            (self._typical(way.read, self._canvases), way) for way in tensor_hypotheses(self._spec)
        ]
        drift, way = min(named, key=lambda pair: pair[0])
        if fitted := self._fitted():
            fit_drift = self._typical(fitted.read, self._canvases)
            if fit_drift < BETTER * drift - LEAST and fit_drift < self._drift / 2:
                drift, way = fit_drift, fitted
        if not self._counts(drift):
            return None
        self._reading, self._read = way, way.read
        return self._finding(way, drift)

    def _better_showing(self) -> Finding | None:
        ways = list(resize_hypotheses(self._spec))
        drifts = [self._typical(self._read, self._shown(way)) for way in ways]
        best = int(np.argmin(drifts))
        if not self._counts(drifts[best]):
            return None
        way, before = ways[best], self._drift
        self._canvases, self._spec = self._shown(way), way.spec
        found = self._finding(way, drifts[best])
        closest = min((d, w.flags) for d, w in zip(drifts, ways, strict=True) if w.flags)
        if way.flags or closest[0] >= before:
            return found
        return msgspec.structs.replace(found, flags=closest[1], closest=closest[0])

    def _shown(self, way: ResizeHypothesis) -> list[Floats]:
        return [way.show(sample.frame) for sample in self._samples]

    def _counts(self, drift: float) -> bool:
        return drift <= BETTER * self._drift and self._drift - drift >= LEAST

    def _finding(self, way: TensorHypothesis | ResizeHypothesis, drift: float) -> Finding:
        before, self._drift = self._drift, drift
        return Finding(words=way.words, before=before, after=drift, flags=way.flags)

    def _typical(self, read: Read, canvases: Sequence[Floats]) -> float:
        pairs = zip(self._samples, canvases, strict=True)
        return float(np.median([levels(read(sample.planes), canvas) for sample, canvas in pairs]))

    def _fitted(self) -> TensorHypothesis | None:
        """Mean and std by least squares, a channel at a time; None where one holds no picture."""
        mean, std = [], []
        for channel in range(len(self._canvases[0])):
            given = np.concatenate([s.planes[channel].ravel() for s in self._samples])
            wanted = np.concatenate([canvas[channel].ravel() for canvas in self._canvases])
            spread = float(given.std(dtype=np.float64))
            if not spread:
                return None
            scale = float(np.cov(given, wanted)[0, 1]) / spread**2
            std.append(float(f"{scale:.4g}"))
            mean.append(float(f"{wanted.mean() - scale * float(given.mean()):.4g}"))
        says = scale_words(self._own)
        return TensorHypothesis(
            f"the transform scales with other numbers ({mean_std_flags(mean, std)}), "
            f"the bundle {says}",
            mean_std_flags(mean, std),
            denormalizer(mean, std),
        )
