"""From a pattern to what is written on one plate."""

from bisect import bisect
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TypeVar

from edgecnn.train.plates.grammar import SEPARATORS, Grammar, tokens
from edgecnn.train.renders.noise import Random

T = TypeVar("T")
DIGITS = "0123456789"


def choose(options: Mapping[T, float] | Sequence[tuple[T, float]], random: Random) -> T:
    """One of the options, as often as its weight says."""
    pairs = list(options.items() if isinstance(options, Mapping) else options)
    sums = list(accumulate(weight for _, weight in pairs))
    return pairs[min(bisect(sums, random.random() * sums[-1]), len(pairs) - 1)][0]


def pick(options: Sequence[T], random: Random) -> T:
    """One of the options, each as often as the others."""
    return options[int(random.integers(len(options)))]


def write(pattern: str, grammar: Grammar, random: Random) -> str:
    """What is printed: the pattern's separators, and characters where it has classes."""
    classes = {"@": grammar.letters, "#": DIGITS, "?": DIGITS + grammar.letters}
    parts = []
    for token in tokens(pattern):
        if len(token) > 1:
            parts.append(pick(grammar.lists[token[1:-1]], random))
        else:
            parts.append(pick(classes[token], random) if token in classes else token)
    return "".join(parts)


def read_back(printed: str) -> str:
    """The text of what is printed: without its separators."""
    return "".join(char for char in printed if char not in SEPARATORS)
