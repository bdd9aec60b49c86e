"""What plates of a country say and look like: one YAML file each in ``grammars/``.

A pattern is what is written on a plate. ``@`` is one of the country's letters, ``#`` a digit, ``?``
either, ``{name}`` an entry of its list of that name; A to Z, 0 to 9 and Chinese characters stand
for themselves. The rest is no part of the text: a space, ``-`` and ``.`` are printed, ``*`` is a
seal, a sticker or an emblem, and ``/`` begins the second line.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from edgecnn_runtime.config import KeyLines, read_yaml
from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.schema_errors import Key

FOLDER = Path(__file__).parent / "grammars"
PROVINCES = "京津冀晋蒙辽吉黑沪苏浙皖闽赣鲁豫鄂湘粤桂琼渝川贵云藏陕甘青宁新"
MARKS = "学警港澳使领挂"
CHARSET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ" + PROVINCES + MARKS
"""Every character that a plate's text has; the order of a reader's classes."""
SEPARATORS = " -.*/"
TOKEN = re.compile(r"\{(\w+)\}|(.)")

Positive: TypeAlias = Annotated[float, Meta(gt=0)]
Color: TypeAlias = Annotated[str, Meta(pattern="^#[0-9a-f]{6}$")]
Font: TypeAlias = Literal["din", "wide", "narrow", "square", "us", "cjk"]
Seal: TypeAlias = Literal["none", "dot", "round", "two", "shield", "sticker", "emblem"]


class Band(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A colored stripe at an end of a plate, with the country's letters.

    Attributes:
        text: The letters; empty for none.
        side: Where it is.
        color: Of the stripe.
        width: In millimeters.
        share: How many plates have it.
    """

    text: str = ""
    side: Literal["left", "right", "both", "top"] = "left"
    color: Color = "#1a3a9c"
    width: Positive = 42
    share: Annotated[float, Meta(ge=0, le=1)] = 1.0


class PlateKind(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One design of a country's plates.

    Attributes:
        name: For people.
        weight: How often it is drawn, beside the country's other kinds.
        patterns: Pattern → weight.
        size: Width and height in millimeters.
        height: The height of the characters in millimeters: the smallest and the largest.
        fonts: The families of letterforms.
        paper: Colors of the plate, one of which is chosen.
        ink: Colors of the characters: that of the chosen paper where there are as many of both,
            else any of them.
        box: Where the characters may be: left, right and the middle of the line (of both lines),
            in shares of the plate's width, width and height.
        band: A stripe at an end.
        seal: What ``*`` is.
        header: Texts above the characters, one of which is chosen; none are written without any.
        footer: Texts below them.
        header_style: Letterforms of both.
        header_ink: Their colors.
        picture: How many plates have a landscape printed on them.
        border: How many plates have a line around them.
        stickers: How many plates have stickers in their upper corners.
        frame: How many plates are in a frame that hides their edge, with a dealer's text.
        corner: The radius of the corners in millimeters.
    """

    name: str
    patterns: Mapping[str, Positive]
    weight: Positive = 1.0
    size: tuple[Positive, Positive]
    height: tuple[Positive, Positive]
    fonts: tuple[Font, ...]
    paper: tuple[Color, ...] = ("#f0f0ee",)
    ink: tuple[Color, ...] = ("#151515",)
    box: tuple[float, float, float] = (0.03, 0.97, 0.5)
    band: Band | None = None
    seal: Seal = "none"
    header: tuple[str, ...] = ()
    footer: tuple[str, ...] = ()
    header_style: Literal["sans", "script", "serif"] = "sans"
    header_ink: tuple[Color, ...] = ("#202020",)
    picture: float = 0.0
    border: float = 0.5
    stickers: float = 0.0
    frame: float = 0.3
    corner: float = 8.0


class Grammar(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The plates of a country.

    Attributes:
        country: Its letters in road traffic.
        name: For people.
        weight: How often it is drawn, beside other countries.
        letters: What ``@`` stands for.
        lists: What ``{name}`` stands for.
        kinds: The designs.
    """

    country: str
    name: str
    weight: Positive = 1.0
    letters: str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    lists: Mapping[str, tuple[str, ...]] = {}
    kinds: tuple[PlateKind, ...]


def read_grammar(path: str | Path) -> Grammar:
    """Read a grammar file.

    Args:
        path: The YAML file.

    Raises:
        ConfigError: It is not one; the message begins ``FILE:LINE: KEY``.
    """
    grammar, lines = read_yaml(path, Grammar)
    _check(grammar, lines)
    return grammar


@cache
def grammars() -> Mapping[str, Grammar]:
    """Country → grammar, of every file that ships."""
    read = (read_grammar(path) for path in sorted(FOLDER.glob("*.yaml")))
    return {grammar.country: grammar for grammar in read}


def choose_grammars(countries: Sequence[str]) -> list[Grammar]:
    """The grammars of countries.

    Args:
        countries: Their letters; all of them when empty.

    Raises:
        UsageError: There is no grammar of one.
    """
    known = grammars()
    for country in countries:
        if country not in known:
            names = ", ".join(known)
            raise UsageError(f"there is no plate grammar of the country {country!r}: try {names}")
    return [known[country] for country in countries or known]


def tokens(pattern: str) -> Iterator[str]:
    """The parts of a pattern: single characters, and ``{name}``."""
    for match in TOKEN.finditer(pattern):
        yield match.group()


def _check(grammar: Grammar, lines: KeyLines) -> None:
    """Refuse what no type can."""
    for letter in grammar.letters:
        if letter not in CHARSET:
            raise lines.error(("letters",), f"{letter!r} is no character of a plate")
    for name, entries in grammar.lists.items():
        for index, entry in enumerate(entries):
            if not entry or set(entry) - set(CHARSET):
                raise lines.error(("lists", name, index), f"{entry!r} is no text of a plate")
    if not grammar.kinds:
        raise lines.error(("kinds",), "is empty")
    for index, kind in enumerate(grammar.kinds):
        _check_kind(kind, grammar, ("kinds", index), lines)


def _check_kind(kind: PlateKind, grammar: Grammar, key: Key, lines: KeyLines) -> None:
    for name in ("patterns", "fonts", "paper", "ink", "header_ink"):
        if not getattr(kind, name):
            raise lines.error((*key, name), "is empty")
    for pattern in kind.patterns:
        if problem := _problem(pattern, grammar.lists):
            raise lines.error((*key, "patterns", pattern), problem)


def _problem(pattern: str, lists: Mapping[str, tuple[str, ...]]) -> str:
    """What is wrong with a pattern; empty where nothing is."""
    if pattern.count("/") > 1:
        return "more than two lines"
    if not all(set(line) - set(SEPARATORS) for line in pattern.split("/")):
        return "a line without a character"
    for token in tokens(pattern):
        if len(token) > 1 and token[1:-1] not in lists:
            return f"there is no list {token[1:-1]!r}"
        if len(token) == 1 and token not in CHARSET + SEPARATORS + "@#?":
            return f"{token!r} is no character of a plate, no class and no separator"
    return ""
