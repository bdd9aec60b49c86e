"""YAML that people mistype and YAML that means harm."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from edgecnn_runtime.config import (
    DEPTH_LIMIT,
    SIZE_LIMIT,
    from_plain,
    load_yaml,
    parse_yaml,
    read_yaml,
)
from edgecnn_runtime.errors import ConfigError


class Camera(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    url: str
    fps: Annotated[float, Meta(gt=0, description="frames a second")] = 25.0
    rotate: Literal["none", "left", "right"] = "none"


class Site(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str | None = None
    mean: tuple[float, ...] | None = None
    size: Annotated[str, Meta(pattern=r"^\d+x\d+$", description="WIDTHxHEIGHT")] | None = None
    labels: str | tuple[str, ...] | None = None
    live: bool = False
    cameras: dict[str, Camera] = {}
    extra: dict[str, Any] = {}


def read(text: str) -> Site:
    return parse_yaml(text, Site, "site.yaml")


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return str(caught.value)


def test_reads_what_a_person_writes() -> None:
    site = read("""
        # a comment
        name: gate
        mean: [123.7, 116, 1e2]
        live: true
        cameras:
          north: {url: "rtsp://a", fps: 15}
        """)
    assert site.mean == (123.7, 116.0, 100.0)
    assert site.live is True
    assert site.cameras["north"] == Camera(url="rtsp://a", fps=15.0)


def test_an_empty_file_says_nothing() -> None:
    assert read("") == read("# only a comment\n") == Site()


@pytest.mark.parametrize("word", ["no", "1.50", "0012", "null", "~", "true", "1e3", ".inf"])
def test_text_stays_what_was_written(word: str) -> None:
    assert read(f"labels: [{word}, b]").labels == (word, "b")


def test_null_where_nothing_is_allowed_is_nothing() -> None:
    assert read("name: null").name is None
    assert read("name:").name is None


def test_free_values_follow_the_core_schema() -> None:
    extra = read("extra: {a: 1, b: 1.5, c: yes, d: true, e: 0x10, f: ~, g: .nan, h: '1'}").extra
    assert extra == {
        "a": 1, "b": 1.5, "c": "yes", "d": True, "e": 16, "f": None, "g": ".nan", "h": "1"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\nmaen: [1]", "site.yaml:2: maen: no such key; did you mean mean?"),
        ("zzzz: 1", "known here: name, mean, size"),
        ("cameras:\n  a:\n    ulr: x", "site.yaml:3: cameras.a.ulr: no such key; did you mean url"),
        ("name: a\nname: b", "site.yaml:2: name: set twice, first in line 1"),
        ("mean:\n - 1\n - x", "site.yaml:3: mean[1]: expected a number, got text"),
        ("\nmean: 4", "site.yaml:2: mean: expected a list, got a whole number"),
        ("size: 640", "site.yaml:1: size: cannot be '640' – WIDTHxHEIGHT"),
        ("live: yes", "site.yaml:1: live: expected true or false, got text"),
        ("cameras:\n  b: {fps: 1}", "site.yaml:2: cameras.b: lacks the key url"),
        ("cameras:\n  a: {url: x}\n  b:\n    url: y\n    fps: 0", "site.yaml:5: cameras.b.fps: "),
        ("cameras: {a: {url: x, rotate: rihgt}}", "did you mean right?"),
        ("cameras: {a: {url: x, rotate: 90}}", "cannot be '90'; one of left, none, right"),
        ("- a", "site.yaml:1: expected keys and values, got a list"),
        ("just words", "site.yaml:1: expected keys and values, got text"),
        ("{[a]: b}", "site.yaml:1: a key must be plain text"),
        ("a: [", "site.yaml:1: not YAML: "),
        ("a: b\n\tc: d", "site.yaml:2: not YAML: "),
        ("a: 1\n---\nb: 1", "site.yaml:2: not YAML: "),
        ("name: a\nlabels: [\x00]", "site.yaml:2: character U+0000 is not allowed"),
        ("name: a\n# b\x85 c\nmaen: 1", "site.yaml:2: character U+0085, a line break"),
        ("name: a\r\n# b\r\nmaen: 1", "site.yaml:3: maen: no such key"),
        ("name: a\n\rmaen: 1", "site.yaml:2: character U+000D"),
        ("name: 'a\u2029b'", "site.yaml:1: character U+2029"),
        ('name: a\nlabels: ["\\ud800"]', "site.yaml:2: holds an escape"),
        ('extra: {"\\0": 1}', "site.yaml:1: holds an escape"),
        ("extra: {a: &x [1], b: *x}", "aliases (*name) are not supported"),
        ("extra: !!python/object/apply:os.system ['true']", "tags (!name) are not supported"),
        ("mean: !!float 1", "tags (!name) are not supported"),
        ("[" * 5000, f"nested deeper than {DEPTH_LIMIT}"),
    ],
)  # fmt: skip
def test_an_error_names_file_line_and_key(text: str, expected: str) -> None:
    assert expected in refusal(text)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    with pytest.raises(ConfigError, match=r"site\.yaml: cannot be read: No such file"):
        load_yaml(path, Site)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_yaml(tmp_path, Site)
    path.write_bytes(b"name: a\nlabels: [\xff]")
    with pytest.raises(ConfigError, match=r"site\.yaml:2: not UTF-8"):
        load_yaml(path, Site)
    path.write_bytes(b"#" * (SIZE_LIMIT + 1))
    with pytest.raises(ConfigError, match="over 256 KiB"):
        load_yaml(path, Site)
    path.write_bytes("\ufeffname: übergang".encode())
    assert load_yaml(path, Site).name == "übergang"


def test_plain_values_get_the_same_words() -> None:
    assert from_plain({"name": "a"}, Site, "spec") == Site(name="a")
    with pytest.raises(ConfigError, match=r"^spec: maen: no such key; did you mean mean\?$"):
        from_plain({"maen": 1}, Site, "spec")
    with pytest.raises(ConfigError, match=r"^spec: cameras\.b\.fps: expected a number"):
        from_plain({"cameras": {"a": {"url": "x"}, "b": {"url": "x", "fps": "1"}}}, Site, "spec")


ALPHABET = "{}[]:,-#&*!|>'\"%@`\n\t ~?.x=<0123456789aenmlbscrut\\\x00\x85\ufeff\u2028é"
names = st.text("ab.[]$` é~\x00\n", max_size=6)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | names
trees = st.recursive(
    scalars, lambda t: st.lists(t, max_size=4) | st.dictionaries(names, t, max_size=4)
)


def read_or_refusal(parse: Callable[[], Site]) -> Site | str:
    try:
        return parse()
    except ConfigError as error:
        return str(error)


def is_fine(outcome: Site | str) -> bool:
    return isinstance(outcome, Site) or outcome.startswith("site.yaml:")


@given(st.text(ALPHABET, max_size=200))
def test_any_text_is_read_or_refused_by_name(text: str) -> None:
    assert is_fine(read_or_refusal(lambda: read(text)))


@given(st.dictionaries(st.sampled_from(["name", "mean", "labels", "cameras", "extra", "x"]), trees))
def test_any_tree_is_read_or_refused_by_name(tree: dict[str, Any]) -> None:
    text = msgspec.json.encode(tree).decode()
    assert is_fine(read_or_refusal(lambda: read(text)))
    assert is_fine(read_or_refusal(lambda: from_plain(tree, Site, "site.yaml:")))


def test_what_is_checked_later_names_its_line_too(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("name: a\ncameras:\n  gate: {}\n")
    _, lines = read_yaml(path, dict[str, Any])
    known = str(lines.error(("cameras", "gate"), "there are two"))
    assert known == f"{path}:3: cameras.gate: there are two"
    assert str(lines.error(("cameras", "gate", "zones", 0), "is empty")).startswith(f"{path}:3: ")
    assert str(lines.error(("sinks",), "is missing")) == f"{path}:1: sinks: is missing"
