"""Whether the calibration pictures can be trusted: how many, how varied, which stand out.

INT8 is only as good as the pictures its ranges come from, and a folder of them is easily too
small, all of one scene, or part of the very data it is later measured on.
"""

from collections.abc import Sequence

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.types import Pixels

ENOUGH = 100
HASH_SIZE = 8
SAME_PICTURE = 4
"""Bits of 64 by which two hashes of one picture, stored or scaled differently, may differ."""
DARK = 2.0
"""Grey levels of standard deviation under which a picture shows nothing."""
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


def audit_pictures(
    pixels: Pixels,
    names: Sequence[str],
    *,
    evaluation: NDArray[np.uint64] | None = None,
    coverage: float | None = None,
) -> Audit:
    """Look at the pictures a model is calibrated on.

    pixels: uint8[N,H,W,3] BGR at network input. evaluation: ``hashes`` of the evaluation data.
    Raises UsageError where every picture is blank: no range can come from that.
    """
    fingerprints = hashes(pixels)
    brightness = pixels.mean((1, 2, 3))
    contrast = np.array([picture.std() for picture in pixels])
    blank = contrast < DARK
    if blank.all():
        raise UsageError(
            f"all {len(pixels)} calibration pictures are one flat colour: no range can be learnt "
            "from them; give --calib pictures like those the camera will see"
        )
    odd = (_distance(brightness) > FAR) | (_distance(contrast) > FAR)
    leaked = np.zeros(len(pixels), bool) if evaluation is None else _near(fingerprints, evaluation)
    found = Audit(
        count=len(pixels),
        different=_clusters(fingerprints),
        blank=_named(names, blank),
        outliers=_named(names, odd & ~blank),
        leaked=_named(names, leaked & ~blank),
        coverage=coverage,
    )
    return msgspec.structs.replace(found, warnings=tuple(_warnings(found)))


def hashes(pixels: Pixels) -> NDArray[np.uint64]:
    """uint64[N]: a difference hash of each picture, the same for scaled and recompressed copies.

    Each bit says whether one of 8 x 8 cells is brighter than the one to its left.
    """
    size = (HASH_SIZE + 1, HASH_SIZE)
    small = [
        cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), size, interpolation=cv2.INTER_AREA)
        for picture in pixels
    ]
    grey = np.stack(small).astype(np.int16)
    bits = (grey[:, :, 1:] > grey[:, :, :-1]).reshape(len(grey), -1)
    return np.packbits(bits, axis=1).view(np.uint64).ravel()


def _warnings(audit: Audit) -> list[str]:
    warnings = []
    if audit.count == 1:
        warnings.append("calibrated on one picture: its ranges are those of one moment")
    elif audit.count < ENOUGH:
        warnings.append(
            f"calibrated on {audit.count} pictures: {ENOUGH} to 300 give ranges to rely on"
        )
    if audit.different < 0.5 * audit.count:
        warnings.append(
            f"only {audit.different} of {audit.count} calibration pictures differ from each "
            "other: take them from different times and places"
        )
    for names, what in (
        (audit.blank, "show nothing (one flat colour)"),
        (
            audit.outliers,
            "are far darker, brighter or flatter than the rest; their ranges count too",
        ),
        (audit.leaked, "are in the evaluation data too: its result is flattered by that"),
    ):
        if names:
            listed = ", ".join(names[:LISTED]) + (" …" if len(names) > LISTED else "")
            warnings.append(f"{len(names)} of {audit.count} calibration pictures {what}: {listed}")
    if audit.coverage is not None and audit.coverage < COVERED:
        warnings.append(
            f"{100 * (1 - audit.coverage):.1f} % of the layers leave their calibrated range on "
            "the evaluation data: the calibration pictures do not show what it shows"
        )
    return warnings


def _clusters(fingerprints: NDArray[np.uint64]) -> int:
    """How many pictures remain when each near-duplicate of an earlier one is left out."""
    kept = np.empty(0, np.uint64)
    for fingerprint in fingerprints:
        if not len(kept) or not _near(np.array([fingerprint]), kept)[0]:
            kept = np.append(kept, fingerprint)
    return len(kept)


def _near(some: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """bool[N]: whether each of ``some`` has a near-duplicate among ``others``."""
    found = np.zeros(len(some), bool)
    for index, fingerprint in enumerate(some):
        differing = np.unpackbits((others ^ fingerprint).view(np.uint8).reshape(-1, 8), axis=1)
        found[index] = bool((differing.sum(1) <= SAME_PICTURE).any())
    return found


def _distance(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """In robust standard deviations from the median (1.4826 times the median deviation)."""
    off = np.abs(values - np.median(values))
    return np.asarray(off / max(1.4826 * float(np.median(off)), 3.0))


def _named(names: Sequence[str], which: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(name for name, chosen in zip(names, which, strict=True) if chosen)
