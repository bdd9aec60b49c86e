"""Readings of one text → the text, character by character.

Readings of different length are aligned one after the other with what the readings before them
voted for, and each place is then voted on by confidence: J. G. Fiscus, "A post-processing system to
yield reduced word error rates: Recognizer Output Voting Error Reduction (ROVER)", ASRU 1997, with
characters for words.
"""

from collections.abc import Sequence
from operator import itemgetter
from typing import TypeAlias

from edgecnn_runtime.edit_distance import edit_distance
from edgecnn_runtime.types import Reading
from edgecnn_runtime.vote.voter import Ballot, Outcome, VoteKind

GAP = 0.75
"""Cost of a character that the other side lacks, where a wrong one costs 1: ROVER's 3 to 4."""
MIN_SCORE = 0.01
"""Even a reading with an impossible character counts a little."""

Place: TypeAlias = dict[str, float]
"""Votes for the characters at one place of the text; "" stands for none."""


def count_texts(ballots: Sequence[Ballot]) -> Outcome | None:
    """The text that readings agree on.

    A character has the votes of the readings that have it at its place, each vote being the
    weight of the reading times the character's probability. A reading without a character there
    votes for none, with the mean probability of its characters (an empty reading: with its score).
    The weight of a reading is that of its ballot times its score: where one character is doubtful,
    the others may stand at wrong places.

    Args:
        ballots: Of ``Reading``, the heaviest first.

    Returns:
        The text; ``part_scores`` are its characters' votes over all weights, and the score is the
        smallest of them and of those for the characters that were left out. None where the text
        is empty.
    """
    places: list[Place] = []
    hints: list[Place] = []
    total = 0.0
    silence = 0.0
    for reading, quality in ballots:
        weight = quality * max(MIN_SCORE, reading.score)
        places, hints = _merge(places, hints, reading, weight, silence)
        total += weight
        silence += weight * _confidence(reading)
    winners = [max(place.items(), key=itemgetter(1))[0] for place in places]
    shares = [place[char] / total for place, char in zip(places, winners, strict=True)]
    text = "".join(winners)
    if not text:
        return None
    parts = tuple(share for share, char in zip(shares, winners, strict=True) if char)
    candidates = [
        _candidates(place, hint, total)
        for place, hint, char in zip(places, hints, winners, strict=True)
        if char
    ]
    return Outcome(text, min(shares), parts, candidates=candidates)


KIND = VoteKind("ocr", lambda reading: str(reading.text), count_texts, edit_distance)


def _merge(
    places: list[Place], hints: list[Place], reading: Reading, weight: float, silence: float
) -> tuple[list[Place], list[Place]]:
    """Add the votes of a reading, and its hints: the characters that it takes for less likely.

    Args:
        places: The votes of those before it.
        hints: Their hints, which count nothing for the text itself.
        reading: The next one.
        weight: Its own.
        silence: What those before it vote for no character.
    """
    none = weight * _confidence(reading)
    merged, merged_hints = [], []
    for place, index in _align(places, reading.text):
        votes = {"": silence} if place is None else dict(places[place])
        hint = {} if place is None else dict(hints[place])
        if index is None:
            char, vote = "", none
        else:
            char, vote = reading.text[index], weight * _probability(reading, index)
            if index < len(reading.alternatives):
                for other, probability in reading.alternatives[index].items():
                    hint[other] = hint.get(other, 0.0) + weight * probability
        votes[char] = votes.get(char, 0.0) + vote
        merged.append(votes)
        merged_hints.append(hint)
    return merged, merged_hints


def _candidates(place: Place, hint: Place, total: float) -> Place:
    """Everything that may stand at a place, with its share."""
    chars = {*place, *hint} - {""}
    return {char: (place.get(char, 0.0) + hint.get(char, 0.0)) / total for char in chars}


def _align(places: Sequence[Place], text: str) -> list[tuple[int | None, int | None]]:
    """Pairs of indices in ``places`` and ``text``, in order; None where a side has nothing.

    The cheapest way by dynamic programming. A character costs what share of the votes at its
    place it lacks.
    """
    rows, columns = len(places) + 1, len(text) + 1
    skip = [GAP * (1 - _share(place, "")) for place in places]
    cost = [[0.0] * columns for _ in range(rows)]
    for i in range(1, rows):
        cost[i][0] = cost[i - 1][0] + skip[i - 1]
    for j in range(1, columns):
        cost[0][j] = GAP * j
    for i in range(1, rows):
        for j in range(1, columns):
            cost[i][j] = min(
                cost[i - 1][j - 1] + 1 - _share(places[i - 1], text[j - 1]),
                cost[i - 1][j] + skip[i - 1],
                cost[i][j - 1] + GAP,
            )
    pairs: list[tuple[int | None, int | None]] = []
    i, j = rows - 1, columns - 1
    while i or j:
        if i and j and cost[i][j] == cost[i - 1][j - 1] + 1 - _share(places[i - 1], text[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif i and cost[i][j] == cost[i - 1][j] + skip[i - 1]:
            i -= 1
            pairs.append((i, None))
        else:
            j -= 1
            pairs.append((None, j))
    return pairs[::-1]


def _share(place: Place, char: str) -> float:
    votes = sum(place.values())
    return place.get(char, 0.0) / votes if votes else 0.0


def _probability(reading: Reading, index: int) -> float:
    return reading.char_scores[index] if index < len(reading.char_scores) else reading.score


def _confidence(reading: Reading) -> float:
    scores = reading.char_scores
    return sum(scores) / len(scores) if scores else reading.score
