"""What an output's numbers mean: logits, probabilities or their logarithm (manifest ``values``)."""

import math

import numpy as np

from edgecnn_runtime.types import Floats

LOGIT_CLIP = 1e30
"""A score beyond which only the sign matters."""


def raw_threshold(values: str, probability: float) -> float:
    """The raw output that stands for ``probability`` where every score is independent."""
    if values == "probabilities":
        return probability
    if probability <= 0.0:
        return -math.inf
    if values == "log_probabilities":
        return math.log(probability)
    return math.log(probability) - math.log1p(-probability) if probability < 1.0 else math.inf


def sigmoid_scores(values: str, raw: Floats, out: Floats | None = None) -> Floats:
    """Raw scores → probabilities, each by itself (sigmoid for logits), within 0..1.

    Args:
        values: What the numbers mean.
        raw: float[…]; read only, unless it is ``out``.
        out: float32[…] to write into; a new array without.

    Returns:
        ``out``. A NaN stays one.
    """
    scores = _copy(raw, out)
    if values == "logits":
        # tanh never overflows; 1 / (1 + exp(-x)) does
        np.multiply(scores, 0.5, out=scores)
        np.tanh(scores, out=scores)
        np.multiply(scores, 0.5, out=scores)
        return np.add(scores, 0.5, out=scores)
    if values == "log_probabilities":
        np.minimum(scores, 0.0, out=scores)
        return np.exp(scores, out=scores)
    return np.clip(scores, 0.0, 1.0, out=scores)


def softmax_scores(values: str, raw: Floats, out: Floats | None = None) -> Floats:
    """Raw scores → probabilities that sum to 1 along the last axis (softmax).

    Args:
        values: What the numbers mean.
        raw: float[…,C]; read only, unless it is ``out``.
        out: float32[…,C] to write into; a new array without.

    Returns:
        ``out``. An infinite score wins, a NaN counts as impossible; a row of nothing else becomes
        zeros.
    """
    scores = _copy(raw, out)
    np.fmax(scores, -LOGIT_CLIP, out=scores)  # of a NaN and a number it takes the number
    if values != "logits":
        return sigmoid_scores(values, scores, scores)
    np.minimum(scores, LOGIT_CLIP, out=scores)
    best = scores.max(axis=-1, keepdims=True)
    np.subtract(scores, best, out=scores)
    np.exp(scores, out=scores)
    total = scores.sum(axis=-1, keepdims=True)
    total[best <= -LOGIT_CLIP] = np.inf  # nothing but impossible scores: zeros
    np.divide(scores, total, out=scores)
    return scores


def _copy(raw: Floats, out: Floats | None) -> Floats:
    """Into ``out``, or into a new array; as float32 either way."""
    if out is None:
        return np.array(raw, np.float32)
    if out is not raw:
        np.copyto(out, raw)
    return out
