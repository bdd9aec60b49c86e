"""Many classifications of one object, and its class."""

import numpy as np
import pytest

from edgecnn_runtime.types import Classification
from edgecnn_runtime.vote.label import count_labels
from edgecnn_runtime.vote.voter import Ballot

NAMES = ("car", "bus", "van")


def ballots(*scores: tuple[float, ...], weights: tuple[float, ...] = ()) -> list[Ballot]:
    entries = []
    for number, row in enumerate(scores):
        values = np.array(row, np.float32)
        index = int(values.argmax())
        result = Classification(NAMES[index], index, float(values[index]), values)
        entries.append(Ballot(result, weights[number] if weights else 1.0))
    return entries


def test_one_sure_answer_outvotes_two_doubtful_ones() -> None:
    outcome = count_labels(ballots((0.4, 0.35, 0.25), (0.4, 0.35, 0.25), (0.02, 0.97, 0.01)))
    assert outcome is not None
    assert outcome.text == "bus"
    assert outcome.score == pytest.approx((0.35 + 0.35 + 0.97) / 3)


def test_a_good_crop_counts_more() -> None:
    sides = (0.9, 0.1, 0.0), (0.1, 0.9, 0.0)
    for weights, name in (((1.0, 0.1), "car"), ((0.1, 1.0), "bus")):
        outcome = count_labels(ballots(*sides, weights=weights))
        assert outcome is not None
        assert outcome.text == name
        assert outcome.score == pytest.approx((0.9 + 0.1 * 0.1) / 1.1)


def test_a_class_that_was_never_the_best_is_not_chosen() -> None:
    """Van has the highest mean, and nobody ever said so."""
    outcome = count_labels(ballots((0.51, 0.0, 0.49), (0.0, 0.51, 0.49)))
    assert outcome is not None
    assert outcome.text in {"car", "bus"}
    assert outcome.score == pytest.approx(0.255)


def test_no_answer_is_none() -> None:
    assert count_labels([]) is None
