"""Whether the calibration pictures can be trusted: how many, how varied, which stand out.

INT8 is only as good as the pictures its ranges come from, and a folder of them is easily too
small, all of one scene, or part of the very data it is later measured on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.errors import UsageError
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
LISTED = 5
COVERED = 0.99


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """count: pictures used. different: of them, after near-duplicates are taken together.

    blank: names of pictures that show nothing. outliers: names of those unlike the others in
    brightness or contrast. leaked: names that are in the evaluation data too. coverage: share of
    evaluation activations inside the calibrated ranges; None where nothing was evaluated.
    warnings: in plain words.
    """

    count: int
    different: int
    blank: tuple[str, ...] = ()
    outliers: tuple[str, ...] = ()
    leaked: tuple[str, ...] = ()
    coverage: float | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageHashes:
    """What pictures are recognized by: scaled and recompressed copies have nearly the same.

    bits: uint64[N], whether each of 8 x 8 cells is brighter than the one to its left (a difference
    hash). details: float32[N,D], a small gray copy, centered and of unit length.
    """

    bits: NDArray[np.uint64]
    details: NDArray[np.float32]

    def near(self, others: "ImageHashes") -> NDArray[np.bool_]:
        """bool[N]: whether each of these pictures is among the others."""
        found = np.zeros(len(self.bits), bool)
        for index, bits in enumerate(self.bits):
            differing = np.unpackbits((others.bits ^ bits).view(np.uint8).reshape(-1, 8), axis=1)
            close = np.flatnonzero(differing.sum(1) <= SAME_BITS)
            alike = others.details[close] @ self.details[index]
            found[index] = bool((alike >= SAME_DETAILS).any())
        return found


def image_hashes(pictures: Iterable[Pixels]) -> ImageHashes:
    """Of any number of pictures, uint8[H,W,3] BGR, each looked at once."""
    bits, details = [], []
    for picture in pictures:
        gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        cells = cv2.resize(gray, (CELLS + 1, CELLS), interpolation=cv2.INTER_AREA).astype(np.int16)
        bits.append(np.packbits(cells[:, 1:] > cells[:, :-1]).view(np.uint64)[0])
        small = cv2.resize(gray, (DETAIL, DETAIL), interpolation=cv2.INTER_AREA).astype(np.float32)
        centered = small.ravel() - small.mean()
        details.append(centered / max(float(np.linalg.norm(centered)), 1e-6))
    return ImageHashes(np.array(bits, np.uint64), np.array(details, np.float32))


def audit_pictures(
    pixels: Pixels,
    names: Sequence[str],
    *,
    evaluation: ImageHashes | None = None,
) -> Audit:
    """Look at the pictures a model is calibrated on.

    pixels: uint8[N,H,W,3] BGR at network input. evaluation: ``image_hashes`` of that data.
    Raises UsageError where every picture is blank: no range can come from that.
    """
    seen = image_hashes(pixels)
    brightness = pixels.mean((1, 2, 3))
    contrast = np.array([picture.std() for picture in pixels])
    blank = contrast < DARK
    if blank.all():
        raise UsageError(
            f"all {len(pixels)} calibration pictures are one flat color: no range can be learnt "
            "from them; give --calib pictures like those the camera will see"
        )
    odd = (_distance(brightness) > FAR) | (_distance(contrast) > FAR)
    leaked = np.zeros(len(pixels), bool) if evaluation is None else seen.near(evaluation)
    found = Audit(
        count=len(pixels),
        different=_clusters(seen),
        blank=_named(names, blank),
        outliers=_named(names, odd & ~blank),
        leaked=_named(names, leaked & ~blank),
    )
    return msgspec.structs.replace(found, warnings=tuple(_warnings(found)))


def with_coverage(audit: Audit, coverage: float) -> Audit:
    """The audit with how far the calibrated ranges cover the evaluation data."""
    found = msgspec.structs.replace(audit, coverage=coverage)
    return msgspec.structs.replace(found, warnings=tuple(_warnings(found)))


def _warnings(audit: Audit) -> list[str]:
    warnings = []
    if audit.count == 1:
        warnings.append("calibrated on one picture: its ranges are those of one moment")
    elif audit.count < ENOUGH:
        warnings.append(
            f"only {audit.count} calibration pictures: {ENOUGH} to 300 give ranges to rely on"
        )
    if audit.different < 0.5 * audit.count:
        warnings.append(
            f"only {audit.different} of {audit.count} calibration pictures differ from each "
            "other: take them from different times and places"
        )
    for names, one, many in (
        (audit.blank, "shows nothing (one flat color)", "show nothing (one flat color)"),
        (
            audit.outliers,
            "is far darker, brighter or flatter than the rest; its range counts too",
            "are far darker, brighter or flatter than the rest; their ranges count too",
        ),
        (
            audit.leaked,
            "is in the evaluation data too: that result is flattered by it",
            "are in the evaluation data too: that result is flattered by them",
        ),
    ):
        if names:
            listed = ", ".join(names[:LISTED]) + (" …" if len(names) > LISTED else "")
            what = one if len(names) == 1 else many
            warnings.append(f"{len(names)} of {audit.count} calibration pictures {what}: {listed}")
    if audit.coverage is not None and audit.coverage < COVERED:
        warnings.append(
            f"{100 * (1 - audit.coverage):.1f} % of the layers leave their calibrated range on "
            "the evaluation data: the calibration pictures do not show what it shows"
        )
    return warnings


def _clusters(found: ImageHashes) -> int:
    """How many pictures remain when each near-duplicate of an earlier one is left out."""
    kept: list[int] = []
    for index in range(len(found.bits)):
        one = ImageHashes(found.bits[index : index + 1], found.details[index : index + 1])
        if not kept or not one.near(ImageHashes(found.bits[kept], found.details[kept]))[0]:
            kept.append(index)
    return len(kept)


def _distance(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """In robust standard deviations from the median (1.4826 times the median deviation)."""
    off = np.abs(values - np.median(values))
    return np.asarray(off / max(1.4826 * float(np.median(off)), 3.0))


def _named(names: Sequence[str], which: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(name for name, chosen in zip(names, which, strict=True) if chosen)
