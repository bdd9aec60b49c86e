"""Whether the calibration images can be trusted: how many, how varied, which stand out.

INT8 is only as good as the pictures its ranges come from, and a folder of them is easily too
small, all of one scene, or part of the very data it is later measured on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.evaluation.dataset import list_names
from edgecnn_runtime.types import Pixels

ENOUGH = 100
CELLS = 8
DETAIL = 24
SAME_BITS = 6
"""Bits of 64 by which one picture, stored or scaled differently, may differ from itself."""
SAME_DETAILS = 0.995
"""Correlation of the small copies from which they show the same."""
DARK = 2.0
"""Gray levels of standard deviation under which a picture shows nothing."""
FAR = 4.0
"""Robust standard deviations from the median that make a picture an outlier."""
COVERED = 0.99


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """What stands out about calibration images.

    Attributes:
        count: How many there are.
        different: How many remain when near-duplicates are taken together.
        blank: The names of those that show nothing.
        outliers: The names of those unlike the others in brightness or contrast.
        leaked: The names of those that are in the evaluation data too.
        coverage: The share of layers that stay inside their calibrated range on the evaluation
            data; None where nothing was evaluated.
    """

    count: int
    different: int
    blank: tuple[str, ...] = ()
    outliers: tuple[str, ...] = ()
    leaked: tuple[str, ...] = ()
    coverage: float | None = None

    @property
    def warnings(self) -> list[str]:
        """All this in plain words."""
        warnings = []
        if self.count == 1:
            warnings.append("calibrated on one picture: the ranges are those of one moment")
        elif self.count < ENOUGH:
            warnings.append(
                f"only {self.count} calibration pictures: {ENOUGH} to 300 give ranges to rely on"
            )
        if self.different < 0.5 * self.count:
            warnings.append(
                f"only {self.different} of {self.count} calibration pictures differ from each "
                "other: take them from different times and places"
            )
        for names, what in (
            (self.blank, "one flat color, which shows nothing"),
            (self.outliers, "far darker, brighter or flatter than the rest, which widens ranges"),
            (self.leaked, "in the evaluation data too, which flatters that result"),
        ):
            if names:
                verb = "is" if len(names) == 1 else "are"
                subject = f"{len(names)} of {self.count} calibration pictures {verb}"
                warnings.append(f"{subject} {what}: {list_names(names)}")
        if self.coverage is not None and self.coverage < COVERED:
            warnings.append(
                f"{100 * (1 - self.coverage):.1f} % of the layers leave their calibrated range on "
                "the evaluation data: the calibration pictures do not show what it shows"
            )
        return warnings


@dataclass(frozen=True)
class ImageHashes:
    """What images are recognized by: scaled and recompressed copies have nearly the same.

    Attributes:
        bits: uint64[N], whether each of 8 x 8 cells is brighter than the one to its left (a
            difference hash).
        details: float32[N,D], a small gray copy, centered and of unit length.
    """

    bits: NDArray[np.uint64]
    details: NDArray[np.float32]

    def near(self, index: int, others: "ImageHashes") -> bool:
        """Whether one of these images is among others."""
        differing = (others.bits ^ self.bits[index]).view(np.uint8).reshape(-1, 8)
        close = np.unpackbits(differing, axis=1).sum(1) <= SAME_BITS
        return bool((others.details[close] @ self.details[index] >= SAME_DETAILS).any())

    def some(self, indices: list[int]) -> "ImageHashes":
        """The hashes of some of the images."""
        return ImageHashes(self.bits[indices], self.details[indices])


def image_hashes(images: Iterable[Pixels]) -> ImageHashes:
    """The hashes of any number of images, uint8[H,W,3] BGR, each read once."""
    bits, details = [], []
    for image in images:
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        cells = cv2.resize(gray, (CELLS + 1, CELLS), interpolation=cv2.INTER_AREA).astype(np.int16)
        bits.append(np.packbits(cells[:, 1:] > cells[:, :-1]).view(np.uint64)[0])
        small = cv2.resize(gray, (DETAIL, DETAIL), interpolation=cv2.INTER_AREA).astype(np.float32)
        centered = small.ravel() - small.mean()
        details.append(centered / max(float(np.linalg.norm(centered)), 1e-6))
    return ImageHashes(np.array(bits, np.uint64), np.array(details, np.float32))


def audit_pictures(
    pixels: Pixels, names: Sequence[str], *, evaluation: ImageHashes | None = None
) -> Audit:
    """Look at the images a model is calibrated on.

    Args:
        pixels: uint8[N,H,W,3] BGR at network input.
        names: Of the images.
        evaluation: The hashes of the evaluation data.

    Raises:
        UsageError: Every image is blank: no range can come from that.
    """
    hashes = image_hashes(pixels)
    brightness = pixels.mean((1, 2, 3))
    contrast = np.array([image.std() for image in pixels])
    blank = contrast < DARK
    if blank.all():
        raise UsageError(
            f"all {len(pixels)} calibration pictures are one flat color: no range can be learnt "
            "from them; give --calib pictures like those the camera will see"
        )
    odd = (_distance(brightness) > FAR) | (_distance(contrast) > FAR)
    leaked = [evaluation is not None and hashes.near(i, evaluation) for i in range(len(pixels))]
    return Audit(
        count=len(pixels),
        different=_count_different(hashes),
        blank=tuple(compress(names, blank)),
        outliers=tuple(compress(names, odd & ~blank)),
        leaked=tuple(compress(names, leaked & ~blank)),
    )


def _count_different(hashes: ImageHashes) -> int:
    """How many images remain when each near-duplicate of an earlier one is left out."""
    different: list[int] = []
    for index in range(len(hashes.bits)):
        if not hashes.near(index, hashes.some(different)):
            different.append(index)
    return len(different)


def _distance(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """In robust standard deviations from the median (1.4826 times the median deviation)."""
    deviation = np.abs(values - np.median(values))
    return np.asarray(deviation / max(1.4826 * float(np.median(deviation)), 3.0))
