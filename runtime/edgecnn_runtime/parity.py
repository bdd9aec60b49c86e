"""How closely outputs follow a reference, after what they have in common is taken away.

With random weights, or outputs that hardly change, two unrelated photographs already agree to a
cosine of 0.99. So the reference's mean output over the pictures is subtracted from both sides, and
what is compared is the answer to this picture and not to pictures in general.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import Parity

LIMIT_DB = 200.0
NOISE_FLOOR = 1e-3
"""A centered output under this share of the mean output is drowned by float32 rounding. Below it,
errors are held against the floor instead."""
PER_IMAGE_FLOOR = 1e-2
"""The same for one picture whose output happens to be the mean one, against all pictures."""


def parity(reference: NDArray[Any], got: NDArray[Any]) -> Parity:
    """Compare two [N,…] outputs for the same N pictures; the smallest cosine over the pictures.

    An output that is not finite, or has another shape, is as far off as can be.
    """
    if reference.shape != got.shape or not np.isfinite(got).all():
        return Parity(max_abs=float(np.finfo(np.float32).max), cosine=-1.0, snr_db=-LIMIT_DB)
    powers, floor = _powers(reference, got), _floor(reference)
    quiet = max(
        floor, PER_IMAGE_FLOOR * float(np.sqrt(np.mean([power.signal for power in powers])))
    )
    return Parity(
        max_abs=max(power.max_abs for power in powers),
        cosine=min(_cosine(power, quiet) for power in powers),
        snr_db=_decibels(powers, floor),
    )


def snr_db(reference: NDArray[Any], got: NDArray[Any]) -> float:
    """10·log10 of the reference's centered power over the error's, over all pictures; ±200 at most.

    reference, got: [N,…] for the same N pictures; the mean over N is subtracted from both.
    """
    if reference.shape != got.shape or not np.isfinite(got).all():
        return -LIMIT_DB
    return _decibels(_powers(reference, got), _floor(reference))


def input_sensitivity(reference: NDArray[Any]) -> float:
    """How much an [N,…] output changes with the picture: centered over mean length.

    Under ``NOISE_FLOOR`` it says so little that agreement proves nothing.
    """
    centered = float(np.mean([power.signal**0.5 for power in _powers(reference, reference)]))
    length = _floor(reference) / NOISE_FLOOR
    return centered / length if length else float(centered > 0)


def cosine_text(cosine: float) -> str:
    """A cosine to eight digits, never rounded up: 0.99999999 is the most anyone is told."""
    return f"{min(np.floor(cosine * 1e8) / 1e8, 0.99999999):.8f}"


class _Power(NamedTuple):
    """Of one picture: the centered reference's power, the error's, and their product."""

    signal: float
    error: float
    product: float
    max_abs: float


def _powers(reference: NDArray[Any], got: NDArray[Any]) -> list[_Power]:
    """One picture at a time: sums in double precision, without copies of whole outputs."""
    mean = reference.mean(0, dtype=np.float64).reshape(-1)
    powers = []
    for truth, other in zip(reference, got, strict=True):
        expected = truth.reshape(-1).astype(np.float64)
        error = other.reshape(-1) - expected
        centered = expected - mean
        powers.append(
            _Power(
                signal=_dot(centered, centered),
                error=_dot(error, error),
                product=_dot(centered, error),
                max_abs=float(np.abs(error).max(initial=0)),
            )
        )
    return powers


def _dot(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """On this thread: a BLAS that wakes its workers for each product takes ten times as long."""
    return float(np.einsum("i,i->", one, other))


def _cosine(power: _Power, quiet: float) -> float:
    """Between the centered reference and the centered output, by the sine: exact close to one."""
    signal, error, product, _ = power
    if signal <= quiet**2:
        return 1.0 if error == 0 else max(-1.0, 1 - error / (2 * quiet**2)) if quiet else -1.0
    answer = signal + 2 * product + error
    if answer <= 0:
        return 0.0
    sine = max(0.0, signal * error - product**2) / (signal * answer)
    return float(np.copysign(np.sqrt(max(0.0, 1 - sine)), signal + product))


def _decibels(powers: list[_Power], floor: float) -> float:
    signal = max(sum(power.signal for power in powers), len(powers) * floor**2)
    error = sum(power.error for power in powers)
    if error == 0:
        return LIMIT_DB
    if signal == 0:
        return -LIMIT_DB
    return float(np.clip(10 * np.log10(signal / error), -LIMIT_DB, LIMIT_DB))


def _floor(reference: NDArray[Any]) -> float:
    return NOISE_FLOOR * float(np.linalg.norm(reference.mean(0, dtype=np.float64)))
