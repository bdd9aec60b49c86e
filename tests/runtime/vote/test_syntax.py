"""Doubtful characters become those that a country's syntax expects, and no others."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.config import parse_yaml
from edgecnn_runtime.errors import ConfigError
from edgecnn_runtime.types import Reading
from edgecnn_runtime.vote.syntax import (
    Syntax,
    SyntaxFile,
    country_problem,
    make_syntax,
    read_syntax,
)
from edgecnn_runtime.vote.text import count_texts
from edgecnn_runtime.vote.voter import Ballot, Outcome

TWO = """\
countries:
  D:
    name: Germany
    lists: {first: [A, KA]}
    patterns: {"{first}@###": 2, "{first}@@###": 1}
  F:
    name: France
    patterns: {"@@###@@": 1}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "syntax.yaml"
    path.write_text(TWO)
    return path


@pytest.fixture
def germany(file: Path) -> Syntax:
    return make_syntax(read_syntax(file), ["D"])


def vote(text: str, **alternatives: float) -> Outcome:
    """One reading, with the probabilities of what looks like its characters: ``_0=0.3``."""
    looks = {"0": "O", "8": "B", "1": "I", "O": "0", "I": "1", "B": "8"}
    others = [
        {name.strip("_"): share for name, share in alternatives.items()
         if looks.get(name.strip("_")) == char}
        for char in text
    ]  # fmt: skip
    scores = tuple(0.95 - sum(other.values()) for other in others)
    outcome = count_texts([Ballot(Reading(text, min(scores), scores, tuple(others)), 1.0)])
    assert outcome is not None
    return outcome


def test_a_doubtful_character_becomes_the_one_that_fits(germany: Syntax) -> None:
    outcome = germany(vote("KAX12O", _0=0.3))
    assert outcome.text == "KAX120"
    assert outcome.details["raw"] == "KAX12O"
    assert outcome.score == min(outcome.part_scores)
    assert 0.5 < outcome.score < 0.95, "the prior outweighs it, and it stays the doubtful one"


def test_what_was_not_seen_is_not_invented(germany: Syntax) -> None:
    raw = vote("KAX12O")
    assert germany(raw).text == "KAX12O"
    assert "raw" not in germany(raw).details


def test_a_sure_character_outweighs_the_syntax(germany: Syntax) -> None:
    assert germany(vote("KAX12O", _0=0.02)).text == "KAX12O"


def test_a_text_that_fits_stays(germany: Syntax) -> None:
    """B and 8 both fit at the fourth place."""
    assert germany(vote("KAB812", _B=0.4)).text == "KAB812"


def test_without_countries_no_text_changes(file: Path) -> None:
    every = make_syntax(read_syntax(file))
    assert every(vote("KAX12O", _0=0.4)).text == "KAX12O"


def test_other_readings_are_alternatives(germany: Syntax) -> None:
    """Two readings say O, one says 0."""
    ballots = [Ballot(Reading(t, 0.9, (0.9,) * 6), 1.0) for t in ("KAX12O", "KAX120", "KAX12O")]
    outcome = count_texts(ballots)
    assert outcome is not None
    assert outcome.text == "KAX12O"
    assert germany(outcome).text == "KAX120"


def test_the_text_tells_the_country(file: Path) -> None:
    every = make_syntax(read_syntax(file))
    assert every(vote("AB123CD")).details == {"country": "F", "country_score": 1.0}
    assert every(vote("A1")).details == {}
    assert every.guess("KAX123") == ("D", 1.0)


@given(
    st.text("KAXOI01", min_size=1, max_size=8),
    st.lists(st.dictionaries(st.sampled_from("KAXOI01"), st.floats(0.01, 0.5)), max_size=8),
)
def test_every_character_was_seen_at_its_place(text: str, others: list[dict[str, float]]) -> None:
    syntax = make_syntax(parse_yaml(TWO, SyntaxFile, "two"), ["D"])
    scores = (0.5,) * len(text)
    reading = Reading(text, 0.5, scores, (*others, *({} for _ in text))[: len(text)])
    outcome = count_texts([Ballot(reading, 1.0)])
    assert outcome is not None
    refined = syntax(outcome)
    assert len(refined.text) == len(text) == len(refined.part_scores)
    for char, raw, seen in zip(refined.text, text, reading.alternatives, strict=True):
        assert char == raw or char in seen
    assert 0 < refined.score <= min(refined.part_scores) + 1e-9


@pytest.mark.parametrize(
    ("country", "says"),
    [
        ("patterns: {'@#': 0}", r"3: countries.D.patterns.@#"),
        ("patterns: {'{town}#': 1}", r"3: countries.D.patterns.\{town\}#: there is no list 'town'"),
        ("patterns: {'a{#': 1}", r"3: .*has no partner"),
        ("pattern: {'#': 1}", r"3: countries.D.pattern: no such key; did you mean patterns\?"),
        ("patterns: {}", "3: countries.D.patterns"),
    ],
)
def test_an_error_has_its_line_and_key(tmp_path: Path, country: str, says: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(f"countries:\n  D:\n    {country}\n")
    with pytest.raises(ConfigError, match=says):
        read_syntax(path)


@pytest.mark.parametrize(
    ("name", "near"), [("germany", "D"), ("d", "D"), ("Frankce", "France"), ("XYZ", "D, F")]
)
def test_an_unknown_country_has_a_nearest_name(file: Path, name: str, near: str) -> None:
    assert near in country_problem(name, read_syntax(file))
    assert country_problem("D", read_syntax(file)) == ""
