"""What texts look like, country by country: which of a reader's doubtful characters fits.

    # syntax.yaml
    countries:
      D:
        name: Germany
        lists: {first: [A, B, K]}           # what {first} stands for
        patterns: {"{first}@####": 3, "{first}@@###": 1}

In a pattern ``@`` is one of the country's letters, ``#`` a digit, ``?`` either, ``{name}`` an entry
of its list of that name, and any other character stands for itself. The number behind a pattern
says how common it is.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from operator import contains
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from edgecnn_runtime.config import KeyLines, read_yaml
from edgecnn_runtime.schema_errors import suggestion
from edgecnn_runtime.vote.voter import Outcome

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGITS = "0123456789"
TOKEN = re.compile(r"\{([^{}]*)\}|(.)")
CONFORMING = 0.95
"""How many texts have the syntax of a configured country; the others are foreign or custom-made."""
LIKELY = 0.5
"""A country is named from this probability on."""

Weight: TypeAlias = Annotated[float, Meta(gt=0)]
Pattern: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
Entry: TypeAlias = Annotated[str, Meta(min_length=1, max_length=16)]
Place: TypeAlias = Mapping[str, float]
"""The characters that may stand at one place of a text, with how sure each is."""
Token: TypeAlias = tuple[str, ...]
"""What may stand at one point of a pattern: single characters, or the entries of a list."""


class CountrySyntax(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The texts of a country.

    Attributes:
        name: For people.
        weight: How common its texts are beside those of other countries.
        letters: What ``@`` stands for.
        lists: What ``{name}`` stands for.
        patterns: Pattern → how common it is beside the country's others.
    """

    name: str = ""
    weight: Weight = 1.0
    letters: Annotated[str, Meta(min_length=1, max_length=256)] = LETTERS
    lists: dict[str, tuple[Entry, ...]] = {}
    patterns: Annotated[dict[Pattern, Weight], Meta(min_length=1)]


class SyntaxFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of syntaxes.

    Attributes:
        countries: Name → syntax.
    """

    countries: Annotated[dict[str, CountrySyntax], Meta(min_length=1)]


@dataclass(frozen=True, slots=True)
class Syntax:
    """Refines what readings of a text agree on; shared by threads.

    Attributes:
        patterns: Country → its patterns, each with its share of all texts.
        configured: The countries whose texts are expected; empty changes no text.
    """

    patterns: Mapping[str, Sequence[tuple[float, Sequence[Token]]]]
    configured: Sequence[str] = ()

    def __call__(self, outcome: Outcome) -> Outcome:
        """The outcome with the text that is the likeliest, and the country that it is of.

        A text that has no configured country's syntax is compared with the likeliest one that has
        it, made of characters that the readings hold possible at the same places. By Bayes' rule
        it is taken where ``CONFORMING`` · its probability is the greater. The score of a character
        that changed is the probability of the new text against the old one.

        Args:
            outcome: Of ``count_texts``.

        Returns:
            In ``details`` are ``raw``, the text as it was, where it changed, and ``country`` with
            ``country_score``, where the text alone tells it.
        """
        outcome = self._conforming(outcome)
        country, score = self.guess(outcome.text)
        if score < LIKELY:
            return outcome
        details = {"country": country, "country_score": round(score, 4)}
        return outcome._replace(details={**outcome.details, **details})

    def guess(self, text: str) -> tuple[str, float]:
        """The country that a text is of, and how probable that is; ``("", 0.0)`` without one.

        Args:
            text: With no separators.
        """
        names = self.configured or self.patterns
        shares = {
            name: sum(share * _likelihood(tokens, text) for share, tokens in self.patterns[name])
            for name in names
        }
        total = sum(shares.values())
        if not total:
            return "", 0.0
        best = max(shares, key=shares.__getitem__)
        return best, shares[best] / total

    def _conforming(self, outcome: Outcome) -> Outcome:
        raw, places = outcome.text, outcome.candidates
        if len(places) != len(raw):
            return outcome
        texts = [fit for tokens in self._expected() if (fit := _likeliest(tokens, places))]
        share, text = max(texts, default=(0.0, raw))
        if text == raw or any(_likelihood(tokens, raw) for tokens in self._expected()):
            return outcome
        other = prod(place[char] for place, char in zip(places, raw, strict=True))
        sure = CONFORMING * share / (CONFORMING * share + (1 - CONFORMING) * other)
        if sure <= LIKELY:
            return outcome
        parts = tuple(
            score if char == before else sure
            for score, char, before in zip(outcome.part_scores, text, raw, strict=True)
        )
        weakest = min(outcome.part_scores)  # the score may be that of a character left out
        score = min(*parts, outcome.score if outcome.score < weakest else 1.0)
        details = {**outcome.details, "raw": raw}
        return outcome._replace(text=text, score=score, part_scores=parts, details=details)

    def _expected(self) -> Iterator[Sequence[Token]]:
        for name in self.configured:
            for _, tokens in self.patterns[name]:
                yield tokens


def read_syntax(path: str | Path) -> SyntaxFile:
    """Read a file of syntaxes.

    Args:
        path: The YAML file.

    Raises:
        ConfigError: It is not one; the message begins ``FILE:LINE: KEY``.
    """
    file, lines = read_yaml(path, SyntaxFile)
    for name, country in file.countries.items():
        _check(name, country, lines)
    return file


def make_syntax(file: SyntaxFile, countries: Sequence[str] = ()) -> Syntax:
    """Prepare a file's syntaxes.

    Args:
        file: What ``read_syntax`` gives.
        countries: Those whose texts are expected.

    Raises:
        KeyError: There is no such country.
    """
    patterns = {name: _prepare(country) for name, country in file.countries.items()}
    return Syntax(patterns, tuple(name for name in countries if patterns[name]))


def country_problem(name: str, file: SyntaxFile) -> str:
    """Why a country cannot be configured, with the nearest name; empty where it can be."""
    if name in file.countries:
        return ""
    names = {country.name.casefold(): code for code, country in file.countries.items()}
    if code := names.get(name.casefold()) or next(
        (code for code in file.countries if code.casefold() == name.casefold()), ""
    ):
        return f"there is no country {name!r}; did you mean {code}?"
    near = suggestion(name, [*file.countries, *(each.name for each in file.countries.values())])
    known = ", ".join(file.countries)
    return f"there is no country {name!r}{near}; known here: {known}"


def _prepare(country: CountrySyntax) -> list[tuple[float, Sequence[Token]]]:
    total = sum(country.patterns.values()) / country.weight
    return [
        (weight / total, [*_tokens(pattern, country)])
        for pattern, weight in country.patterns.items()
    ]


def _tokens(pattern: str, country: CountrySyntax) -> Iterator[Token]:
    classes = {"@": country.letters, "#": DIGITS, "?": DIGITS + country.letters}
    for name, char in TOKEN.findall(pattern):
        yield tuple(classes.get(char, char)) if char else country.lists[name]


def _check(name: str, country: CountrySyntax, lines: KeyLines) -> None:
    """Refuse what no type can."""
    for pattern in country.patterns:
        key = ("countries", name, "patterns", pattern)
        for list_name, char in TOKEN.findall(pattern):
            if char in {"{", "}"}:
                raise lines.error(key, f"{char} has no partner")
            if not char and not country.lists.get(list_name):
                known = suggestion(list_name, country.lists)
                raise lines.error(key, f"there is no list {list_name!r} of any entry{known}")


def _fitting(token: Token, places: Sequence[Place], at: int) -> Iterator[str]:
    """What a token allows of what may stand at a place, and at those behind it."""
    for chars in token:
        here = places[at : at + len(chars)]
        if len(here) == len(chars) and all(map(contains, here, chars)):
            yield chars


def _likeliest(tokens: Sequence[Token], places: Sequence[Place]) -> tuple[float, str] | None:
    """The probability and text of the likeliest way to fill a pattern; None where none is."""
    ways: dict[int, tuple[float, str]] = {0: (1.0, "")}
    for token in tokens:
        ends: dict[int, tuple[float, str]] = {}
        for at, (share, text) in ways.items():
            for chars in _fitting(token, places, at):
                end = at + len(chars)
                shares = (place[char] for place, char in zip(places[at:end], chars, strict=True))
                ends[end] = max(ends.get(end, (0.0, "")), (share * prod(shares), text + chars))
        ways = ends
    return ways.get(len(places))


def _likelihood(tokens: Sequence[Token], text: str) -> float:
    """How probable a text is by a pattern whose every choice is as probable as the others."""
    ways = {0: 1.0}
    for token in tokens:
        ends: dict[int, float] = {}
        for at, share in ways.items():
            for chars in token:
                if text.startswith(chars, at):
                    end = at + len(chars)
                    ends[end] = ends.get(end, 0.0) + share / len(token)
        ways = ends
    return ways.get(len(text), 0.0)
