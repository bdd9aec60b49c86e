"""Grammar files say what plates look like, and what is wrong with them."""

from pathlib import Path

import numpy as np
import pytest

from edgecnn.train.plates.grammar import CHARSET, choose_grammars, grammars, read_grammar
from edgecnn.train.plates.texts import read_back, write
from edgecnn_runtime.errors import ConfigError, UsageError

GOOD = """\
country: XX
name: Nowhere
letters: ABC
lists:
  town: [A, BB]
kinds:
  - name: white
    patterns: {"{town}-##@?": 1}
    size: [520, 110]
    height: [70, 80]
    fonts: [din]
"""


@pytest.mark.parametrize("country", grammars())
def test_what_a_country_writes_can_be_read(country: str) -> None:
    grammar, random = grammars()[country], np.random.default_rng(0)
    for kind in grammar.kinds:
        for pattern in kind.patterns:
            text = read_back(write(pattern, grammar, random))
            assert 4 <= len(text) <= 9, pattern
            assert set(text) <= set(CHARSET), pattern


def test_the_classes_of_a_pattern(tmp_path: Path) -> None:
    path = tmp_path / "xx.yaml"
    path.write_text(GOOD)
    grammar, random = read_grammar(path), np.random.default_rng(0)
    for _ in range(50):
        town, rest = write("{town}-##@?", grammar, random).split("-")
        assert town in ("A", "BB")
        assert rest[:2].isdigit()
        assert rest[2] in "ABC"
        assert rest[3] in "0123456789ABC"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("letters: ABC", "letters: ABc", "xx.yaml:3: letters: 'c' is no character of a plate"),
        ("[A, BB]", "[A, B-B]", "xx.yaml:5: lists.town[1]: 'B-B' is no text of a plate"),
        ('"{town}-##@?"', '"{city}-##"', "xx.yaml:8: kinds[0].patterns"),
        ('"{town}-##@?"', '"{city}-##"', "there is no list 'city'"),
        ('"{town}-##@?"', '"@@/##/@@"', "more than two lines"),
        ('"{town}-##@?"', '"@@/ -"', "a line without a character"),
        ('"{town}-##@?"', '"@@_##"', "'_' is no character of a plate"),
        ('{"{town}-##@?": 1}', "{}", "xx.yaml:8: kinds[0].patterns: is empty"),
        ("fonts: [din]", "fonts: [gothic]", "xx.yaml:11: kinds[0].fonts[0]"),
        ("fonts: [din]", "font: [din]", "xx.yaml:11: kinds[0].font: no such key"),
        ("size: [520, 110]", "size: [520, 0]", "xx.yaml:9: kinds[0].size[1]"),
    ],
)
def test_a_mistake_has_its_line_and_its_key(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = tmp_path / "xx.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        read_grammar(path)
    assert message in str(caught.value)


def test_a_country_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match=r"no plate grammar of the country 'DE'.*SK"):
        choose_grammars(["SK", "DE"])
