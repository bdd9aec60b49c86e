"""Many feature vectors of one object, and the one that stands for it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.types import Embedding
from edgecnn_runtime.vote.embedding import BEST, count_embeddings
from edgecnn_runtime.vote.voter import Ballot


def ballot(*values: float, weight: float = 1.0) -> Ballot:
    return Ballot(Embedding(np.array(values, np.float32)), weight)


def test_only_the_best_few_count() -> None:
    """Whatever the bad crops of a track say, after five good ones it moves nothing."""
    good = [ballot(1, 0, weight=0.9) for _ in range(BEST)]
    bad = [ballot(0, 1, weight=0.8) for _ in range(50)]
    outcome = count_embeddings([*good, *bad])
    assert outcome is not None
    assert outcome.vector is not None
    assert outcome.vector.tolist() == [1, 0]
    assert outcome.score == 1


def test_the_better_crop_counts_more_and_the_length_of_a_vector_does_not() -> None:
    outcome = count_embeddings([ballot(1, 0, weight=0.9), ballot(0, 1000, weight=0.3)])
    assert outcome is not None
    assert outcome.vector is not None
    assert outcome.vector == pytest.approx(np.array([3, 1]) / np.sqrt(10))


def test_opposite_vectors_and_zeros_agree_on_nothing() -> None:
    assert count_embeddings([ballot(1, 0), ballot(-1, 0)]) is None
    assert count_embeddings([ballot(0, 0)]) is None
    assert count_embeddings([]) is None


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=1, max_size=9))
def test_it_is_of_unit_length_and_the_score_says_how_much_they_agree(
    vectors: list[tuple[float, float]],
) -> None:
    outcome = count_embeddings([ballot(*each) for each in vectors])
    if outcome is not None:
        assert outcome.vector is not None
        assert np.linalg.norm(outcome.vector) == pytest.approx(1, abs=1e-5)
        assert 0 <= outcome.score <= 1
