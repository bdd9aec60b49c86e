"""How closely outputs follow a reference, after the mean output is subtracted.

With random weights, or with outputs that hardly change, the outputs for two unrelated photographs
have a cosine of 0.99. So the reference's mean output over the pictures is subtracted from both
sides; what is compared is the answer to this picture and not to pictures in general.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.bundle.manifest import Parity

LIMIT_DB = 200.0
NOISE_FLOOR = 1e-3
"""A centered output under this fraction of the mean output is lost in float32 rounding. Below it,
errors are compared with the floor instead."""
ROUNDING = 1e-6
"""Of the last digit that is printed: products of decimal fractions may end just below it."""
FEW_NUMBERS = 2
"""So few numbers per picture, centered, have a cosine of 1 or -1 whatever their error is (two
probabilities are one number). Their cosine is computed from the error."""
PER_IMAGE_FLOOR = 1e-2
"""The same for one picture whose output is close to the mean output, relative to all pictures."""


def parity(
    reference: NDArray[Any], got: NDArray[Any], *, typical: NDArray[Any] | None = None
) -> Parity:
    """Compare two outputs for the same pictures.

    Args:
        reference: [N,…], the outputs of the reference.
        got: [N,…], the outputs to compare.
        typical: [M,…], the reference's outputs for other pictures. Where the N pictures are one,
            or alike, their outputs do not vary, and the SNR is taken to the variation of these.

    Returns:
        The largest difference, the smallest centered cosine over the pictures (of one or two
        numbers per picture no more than ``cosine_of_snr``), and the SNR over all of them. An
        output that is not finite or has another shape gets the worst values.
    """
    if reference.shape != got.shape or not np.isfinite(got).all():
        return Parity(max_abs=float(np.finfo(np.float32).max), cosine=-1.0, snr_db=-LIMIT_DB)
    powers, floor = _powers(reference, got), _floor(reference)
    quiet = max(floor, PER_IMAGE_FLOOR * _variation(powers))
    loudness = floor if typical is None else max(floor, _variation(_powers(typical, typical)))
    snr = _decibels(powers, loudness)
    cosine = min(_cosine(power, quiet) for power in powers)
    if reference[0].size <= FEW_NUMBERS:
        cosine = min(cosine, cosine_of_snr(snr))
    return Parity(max_abs=max(power.max_abs for power in powers), cosine=cosine, snr_db=snr)


def cosine_of_snr(decibels: float) -> float:
    """The cosine that an error of this size leaves where it stands at right angles to the signal.

    0.9999 is 37 dB, 0.99 is 17 dB.
    """
    return float(1 / np.sqrt(1 + 10 ** (-decibels / 10)))


def snr_db(reference: NDArray[Any], got: NDArray[Any]) -> float:
    """Signal-to-noise ratio in dB: 10·log10 of the centered reference's power over the error's.

    Args:
        reference: [N,…], the outputs of the reference for N pictures; the mean over N is
            subtracted from both.
        got: [N,…], the outputs to compare.

    Returns:
        Over all pictures, from -200 to 200.
    """
    if reference.shape != got.shape or not np.isfinite(got).all():
        return -LIMIT_DB
    return _decibels(_powers(reference, got), _floor(reference))


def input_sensitivity(reference: NDArray[Any]) -> float:
    """How much an output changes with the picture.

    Args:
        reference: [N,…], the outputs for N pictures.

    Returns:
        The mean length of the centered outputs over the length of the mean output. Under
        ``NOISE_FLOOR`` the output changes so little that agreement proves nothing.
    """
    centered = float(np.mean([power.signal**0.5 for power in _powers(reference, reference)]))
    length = _floor(reference) / NOISE_FLOOR
    return centered / length if length else float(centered > 0)


def cosine_text(cosine: float, digits: int = 8) -> str:
    """A cosine, never rounded up: of eight digits, at most 0.99999999."""
    scale = 10.0**digits
    return f"{min(np.floor(cosine * scale + ROUNDING), scale - 1) / scale:.{digits}f}"


def percent_text(share: float, digits: int = 0) -> str:
    """A share 0..1 in per cent, never rounded up: 0.9896 is not 99%, and only all is 100%."""
    scale = 10.0**digits
    return f"{np.floor(100 * share * scale + ROUNDING) / scale:.{digits}f}%"


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
    """On this thread: a BLAS that wakes its threads for each product takes ten times as long."""
    return float(np.einsum("i,i->", one, other))


def _cosine(power: _Power, quiet: float) -> float:
    """Cosine of the centered outputs, computed by the sine, which is exact close to one."""
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


def _variation(powers: list[_Power]) -> float:
    """How long a centered output is, as a root mean square over the pictures."""
    return float(np.sqrt(np.mean([power.signal for power in powers])))


def _floor(reference: NDArray[Any]) -> float:
    return NOISE_FLOOR * float(np.linalg.norm(reference.mean(0, dtype=np.float64)))
