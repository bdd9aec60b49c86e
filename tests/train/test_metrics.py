import numpy as np
import pytest

from edgecnn.train.metrics import measure


def test_a_case_worked_out_by_hand() -> None:
    #             truth:  a  a  a  a  b  b  b  c  c  c
    targets = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    predicted = np.array([0, 0, 1, 2, 1, 1, 0, 2, 2, 2])
    metrics = measure(targets, predicted, 3)
    assert metrics.confusion.tolist() == [[2, 1, 1], [1, 2, 0], [0, 0, 3]]
    assert metrics.accuracy == pytest.approx(7 / 10)
    assert metrics.precision == pytest.approx([2 / 3, 2 / 3, 3 / 4])
    assert metrics.recall == pytest.approx([2 / 4, 2 / 3, 1])
    # harmonic means: 2·(2/3)(1/2)/(7/6), 2/3, 2·(3/4)/(7/4)
    assert metrics.f1 == pytest.approx([4 / 7, 2 / 3, 6 / 7])


def test_a_class_never_there_or_never_said_counts_as_zero() -> None:
    metrics = measure(np.array([0, 0, 1]), np.array([0, 0, 0]), 3)
    assert metrics.precision == pytest.approx([2 / 3, 0, 0])
    assert metrics.recall == pytest.approx([1, 0, 0])
    assert metrics.f1 == pytest.approx([0.8, 0, 0])
    assert metrics.confusion.shape == (3, 3)


def test_accuracy_is_above_chance_only_where_guessing_would_not_reach_it() -> None:
    """Guessing the most frequent class is right in 90 of these 100."""
    targets = np.repeat([0, 1], [90, 10])
    always = measure(targets, np.zeros(100, np.int64), 2)
    assert (always.chance, always.above_chance) == (0.9, False)
    assert measure(targets, targets, 2).above_chance
    few = np.array([0, 1, 0, 1])
    assert not measure(few, np.array([0, 1, 0, 0]), 2).above_chance  # 3 of 4 prove nothing
