"""Many readings of one text, and what they agree on."""

from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.edit_distance import edit_distance
from edgecnn_runtime.types import Reading
from edgecnn_runtime.vote.text import count_texts
from edgecnn_runtime.vote.voter import Ballot

texts = st.text("AB01", max_size=8)


def ballots(*readings: tuple[str, float] | tuple[str, float, float]) -> list[Ballot]:
    made = []
    for text, score, *weight in readings:
        made.append(Ballot(Reading(text, score, (score,) * len(text)), weight[0] if weight else 1))
    return sorted(made, key=lambda ballot: -ballot.weight)


def text_of(*readings: tuple[str, float] | tuple[str, float, float]) -> str:
    outcome = count_texts(ballots(*readings))
    return outcome.text if outcome else ""


def test_each_character_is_voted_on_by_itself() -> None:
    """No reading is right, all of them together are."""
    assert text_of(("KA128AB", 0.9), ("XA123AB", 0.9), ("KA123A8", 0.9)) == "KA123AB"


def test_a_missing_and_an_extra_character_are_outvoted() -> None:
    assert text_of(("A123AB", 0.9), ("KA123AB", 0.9), ("KA1123AB", 0.9)) == "KA123AB"


def test_a_cut_off_reading_does_not_shift_the_others() -> None:
    assert text_of(("KA123AB", 0.9), ("23AB", 0.9), ("KA123AB", 0.9)) == "KA123AB"


def test_one_confident_reading_outvotes_two_doubtful_ones() -> None:
    assert text_of(("KA8", 0.4), ("KA8", 0.4), ("KAB", 0.95)) == "KAB"


def test_the_score_is_that_of_the_weakest_character() -> None:
    outcome = count_texts(
        [Ballot(Reading("AB", 0.5, (0.9, 0.5)), 1.4), Ballot(Reading("AB", 0.7, (0.9, 0.7)), 1.0)]
    )  # of equal weights, 1.4 · 0.5 and 1.0 · 0.7
    assert outcome is not None
    assert [round(score, 6) for score in outcome.part_scores] == [0.9, 0.6]
    assert outcome.score == min(outcome.part_scores)


def test_a_contested_extra_character_makes_it_less_sure() -> None:
    sure, contested = (count_texts(ballots(*pair)) for pair in (
        [("AB", 0.9), ("AB", 0.9), ("AB", 0.9)], [("AB", 0.9), ("AB", 0.9), ("AXB", 0.9)],
    ))  # fmt: skip
    assert sure is not None
    assert contested is not None
    assert contested.text == "AB"
    assert contested.score < sure.score


def test_readings_of_nothing_vote_for_nothing() -> None:
    assert text_of(("", 1.0), ("", 1.0), ("7", 0.9)) == ""
    assert text_of(("", 1.0, 0.1), ("", 1.0, 0.1), ("7", 0.9, 0.8)) == "7"


@given(st.lists(st.tuples(texts, st.floats(0.01, 1), st.floats(0.01, 1)), min_size=1, max_size=8))
def test_any_readings_give_a_text_of_theirs(readings: list[tuple[str, float, float]]) -> None:
    outcome = count_texts(ballots(*readings))
    if outcome is None:
        return
    assert set(outcome.text) <= set("".join(text for text, *_ in readings))
    assert len(outcome.text) == len(outcome.part_scores)
    assert 0 < outcome.score <= min(outcome.part_scores) <= 1 + 1e-9


@given(texts.filter(bool), st.integers(1, 8), st.floats(0.01, 1))
def test_readings_that_agree_give_their_text(text: str, count: int, score: float) -> None:
    outcome = count_texts(ballots(*[(text, score)] * count))
    assert outcome is not None
    assert outcome.text == text
    assert abs(outcome.score - score) < 1e-9


@given(texts, texts)
def test_the_edit_distance_is_a_distance(one: str, other: str) -> None:
    apart = edit_distance(one, other)
    assert apart == edit_distance(other, one)
    assert (apart == 0) == (one == other)
    assert abs(len(one) - len(other)) <= apart <= max(len(one), len(other))
    for limit in range(4):
        assert edit_distance(one, other, limit) == min(apart, limit + 1)


@given(texts, texts, texts)
def test_the_way_round_is_never_shorter(one: str, other: str, third: str) -> None:
    assert edit_distance(one, third) <= edit_distance(one, other) + edit_distance(other, third)
