"""How closely outputs follow a reference, after what they have in common is taken away.

With random weights, or outputs that hardly change, two unrelated photographs already agree to a
cosine of 0.99. So the reference's mean output over the pictures is subtracted from both sides, and
what is compared is the answer to this picture and not to pictures in general.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn_runtime.manifest import Parity

LIMIT_DB = 200.0
FLOOR = 1e-3
"""A centred output under this share of the mean output is drowned by float32 rounding. Below it,
errors are held against the floor instead."""
QUIET = 1e-2
"""The same for one picture whose output happens to be the mean one, against all pictures."""


def parity(reference: NDArray[Any], got: NDArray[Any]) -> Parity:
    """Compare two [N,…] outputs for the same N pictures; the smallest cosine over the pictures.

    An output that is not finite, or has another shape, is as far off as can be.
    """
    truth, other = _flat(reference), _flat(got)
    if truth.shape != other.shape or not np.isfinite(other).all():
        return Parity(max_abs=float(np.finfo(np.float32).max), cosine=-1.0, snr_db=-LIMIT_DB)
    mean = truth.mean(0)
    error = other - truth
    centred, floor = truth - mean, _floor(truth)
    length = np.linalg.norm(centred, axis=1)
    quiet = max(floor, QUIET * float(np.sqrt(np.mean(length**2))))
    answer = centred + error
    product = length * np.linalg.norm(answer, axis=1)
    cosine = (centred * answer).sum(1) / np.where(product == 0, 1, product)
    off = np.linalg.norm(error, axis=1) / (quiet or 1)
    cosine = np.where(length < max(quiet, 1e-30), np.maximum(1 - off**2 / 2, -1), cosine)
    return Parity(
        max_abs=float(np.abs(error).max(initial=0)),
        cosine=float(cosine.min()),
        snr_db=snr_db(reference, got),
    )


def snr_db(reference: NDArray[Any], got: NDArray[Any]) -> float:
    """10·log10 of the reference's centred power over the error's, over all pictures; ±200 at most.

    reference, got: [N,…] for the same N pictures; the mean over N is subtracted from both.
    """
    truth, other = _flat(reference), _flat(got)
    if truth.shape != other.shape or not np.isfinite(other).all():
        return -LIMIT_DB
    signal = max(float(((truth - truth.mean(0)) ** 2).sum()), len(truth) * _floor(truth) ** 2)
    noise = float(((other - truth) ** 2).sum())
    if noise == 0:
        return LIMIT_DB
    if signal == 0:
        return -LIMIT_DB
    return float(np.clip(10 * np.log10(signal / noise), -LIMIT_DB, LIMIT_DB))


def distinctness(reference: NDArray[Any]) -> float:
    """How much an [N,…] output changes with the picture: centred over mean length.

    Under ``FLOOR`` it says so little that agreement proves nothing.
    """
    truth = _flat(reference)
    centred = float(np.linalg.norm(truth - truth.mean(0), axis=1).mean())
    length = float(np.linalg.norm(truth.mean(0)))
    return centred / length if length else float(centred > 0)


def cosine_text(cosine: float) -> str:
    """A cosine to eight digits, never rounded up: 0.99999999 is the most anyone is told."""
    return f"{min(np.floor(cosine * 1e8) / 1e8, 0.99999999):.8f}"


def _floor(truth: NDArray[np.float64]) -> float:
    return FLOOR * float(np.linalg.norm(truth.mean(0)))


def _flat(values: NDArray[Any]) -> NDArray[np.float64]:
    return values.reshape(len(values), -1).astype(np.float64)
