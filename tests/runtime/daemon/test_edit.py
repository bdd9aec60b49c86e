"""Changes to site.yaml leave the rest of it as it was written."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edgecnn_runtime.daemon.edit import set_value

SITE = """\
# my site
cameras:
  gate:            # the front
    source: rtsp://a/1   # sub stream
    zones:
      lane: [[0.1, 0.4], [0.9, 0.4], [0.9, 1.0]]
    # nothing more here
  yard: {source: b.mp4, pipeline: "no"}  # the back

# the end
keep: {days: 30}
"""


def plain(text: str) -> Any:
    return yaml.load(text, Loader=yaml.BaseLoader) or {}


def changed(value: Any, key: tuple[str, ...], new: Any) -> Any:
    value = dict(value) if isinstance(value, dict) else {}
    if key[1:]:
        value[key[0]] = changed(value.get(key[0]), key[1:], new)
    else:
        value[key[0]] = new
    return value


ZONES = {"door": [[0.0, 0.0], [0.5, 0.0], [0.5, 0.5]]}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (("cameras", "gate", "zones"), ZONES),
        (("cameras", "gate", "lines"), ZONES),
        (("cameras", "gate", "rate"), 5),
        (("cameras", "yard", "zones"), ZONES),
        (("cameras", "new"), {"source": "rtsp://c", "pipeline": "a.edge", "mask": [[[0, 1]]]}),
        (("keep", "days"), 3),
        (("http", "listen"), "127.0.0.1:1"),
        (("logging",), {}),
    ],
)
def test_a_key_is_set(key: tuple[str, ...], value: Any) -> None:
    text = set_value(SITE, key, value)
    assert plain(text) == changed(plain(SITE), key, plain(yaml.safe_dump(value)))
    for comment in ("# my site", "# the front", "# sub stream", "# nothing more", "# the end"):
        assert comment in text
    gone = set(SITE.splitlines()) - set(text.splitlines())
    assert len(gone) <= 1


def test_a_key_is_removed() -> None:
    text = set_value(SITE, ("cameras", "yard"), None)
    assert plain(text) == {
        "cameras": {"gate": plain(SITE)["cameras"]["gate"]},
        "keep": {"days": "30"},
    }
    assert plain(set_value(text, ("cameras", "gate"), None)) == {
        "cameras": {},
        "keep": {"days": "30"},
    }
    assert set_value(SITE, ("cameras", "gone"), None) == SITE


def test_an_empty_file_gets_its_first_key() -> None:
    assert plain(set_value("", ("cameras", "a", "source"), "0")) == {
        "cameras": {"a": {"source": "0"}}
    }
    assert plain(set_value("cameras:\n", ("cameras", "a"), {"source": "x"})) == {
        "cameras": {"a": {"source": "x"}}
    }


WORDS = st.text("abc #:'\"-{}[]é\n", min_size=1, max_size=6) | st.sampled_from(["no", "1", "~", ""])
KEYS = st.text("abc #:'\"-{}[]é", min_size=1, max_size=6) | st.sampled_from(["no", "1", "~"])
VALUES = st.recursive(
    WORDS | st.integers(-9, 9) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
TREES = st.dictionaries(KEYS, VALUES, max_size=4)


@given(tree=TREES, key=st.lists(KEYS, min_size=1, max_size=3), value=VALUES, data=st.data())
def test_any_key_of_any_tree_is_set(
    tree: Any, key: list[str], value: Any, data: st.DataObject
) -> None:
    flow = data.draw(st.sampled_from([True, False, None]))
    text = yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True) if tree else ""
    names = list(plain(text))
    if names and data.draw(st.booleans()):
        key = [data.draw(st.sampled_from(names)), *key[1:]]
    new = set_value(text, tuple(key), value)
    dumped = yaml.safe_dump({"value": value}, allow_unicode=True)
    assert plain(new) == changed(plain(text), tuple(key), plain(dumped)["value"])
