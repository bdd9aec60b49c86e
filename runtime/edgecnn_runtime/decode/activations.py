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


def sigmoid_scores(values: str, raw: Floats) -> Floats:
    """Raw scores → probabilities, each by itself (sigmoid for logits), within 0..1."""
    if values == "logits":
        # tanh never overflows; 1 / (1 + exp(-x)) does
        return np.asarray(0.5 * np.tanh(0.5 * raw) + 0.5, np.float32)
    probabilities = np.exp(np.minimum(raw, 0.0)) if values == "log_probabilities" else raw
    return np.clip(probabilities, 0.0, 1.0)


def softmax_scores(values: str, raw: Floats) -> Floats:
    """Raw scores float32[…,C] → probabilities that share one along the last axis (softmax).

    An infinite score wins, a NaN counts as impossible; a row of nothing else becomes zeros.
    """
    if values != "logits":
        return np.nan_to_num(sigmoid_scores(values, raw), nan=0.0)
    scores = np.clip(np.nan_to_num(raw, nan=-np.inf), -LOGIT_CLIP, LOGIT_CLIP)
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    powers[scores <= -LOGIT_CLIP] = 0.0
    return np.asarray(powers / np.maximum(powers.sum(axis=-1, keepdims=True), 1e-30), np.float32)
