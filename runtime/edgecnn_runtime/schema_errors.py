"""What a msgspec type wants at a key, and saying in plain words that something else was found."""

import difflib
import re
from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec
from msgspec import inspect

Key: TypeAlias = tuple[str | int, ...]
"""Where a value is: mapping keys and list indices from the root."""

TYPE_NAMES = {
    "object": "keys and values",
    "array": "a list",
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "nothing",
}


def without_optional(kind: inspect.Type) -> list[inspect.Type]:
    """The alternatives a type allows, without the metadata around them."""
    if isinstance(kind, inspect.Metadata):
        return without_optional(kind.type)
    if isinstance(kind, inspect.UnionType):
        return [inner for member in kind.types for inner in without_optional(member)]
    return [kind]


def types_at(kinds: Iterable[inspect.Type], part: str | int) -> list[inspect.Type]:
    """The types allowed under ``part``, with their metadata."""
    found: list[inspect.Type] = []
    for kind in (inner for outer in kinds for inner in without_optional(outer)):
        if isinstance(kind, inspect.StructType):
            found += [f.type for f in kind.fields if f.encode_name == part]
        elif isinstance(kind, inspect.DictType):
            found.append(kind.value_type)
        elif isinstance(kind, inspect.TupleType):
            found += kind.item_types[part : part + 1] if isinstance(part, int) else ()
        elif isinstance(kind, inspect.CollectionType):
            found.append(kind.item_type)
        elif isinstance(kind, inspect.AnyType):
            found.append(kind)
    return found


def allowed_keys(kinds: Iterable[inspect.Type]) -> list[str]:
    """Every key a mapping may have; empty where any key is allowed, or none is known."""
    names: list[str] = []
    for kind in (inner for outer in kinds for inner in without_optional(outer)):
        if isinstance(kind, inspect.DictType | inspect.AnyType):
            return []
        if isinstance(kind, inspect.StructType) and kind.forbid_unknown_fields:
            names += [kind.tag_field] if kind.tag_field else []
            names += [f.encode_name for f in kind.fields]
    return list(dict.fromkeys(names))


def unknown_key_message(name: str, known: list[str]) -> str:
    """``no such key; did you mean mean?``, or the whole list where nothing is near."""
    return "no such key" + (suggestion(name, known) or f"; known here: {', '.join(known)}")


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean X?``, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def dotted_path(key: Key) -> str:
    """``a.b[0]: ``; empty at the root."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return f"{text.lstrip('.')}: " if text else ""


def explain(error: msgspec.ValidationError, value: Any, kind: Any) -> tuple[Key, str]:
    """Where ``value`` does not fit ``kind``, and why, in plain words."""
    message, _, path = str(error).partition(" - at ")
    key = _locate(path.strip("`"), value, kind)
    kinds: list[inspect.Type] = [inspect.type_info(kind)]
    for part in key:
        kinds = types_at(kinds, part)
    about = description(kinds)
    words = _plain_words(message, value_at(value, key), kinds)
    return key, f"{words} – {about}" if about else words


def value_at(value: Any, key: Key) -> Any:
    """The value at ``key``."""
    for part in key:
        value = value[part]
    return value


def description(kinds: Iterable[inspect.Type]) -> str:
    """The first ``Meta(description=…)`` among types, or nothing."""
    for kind in kinds:
        if isinstance(kind, inspect.Metadata):
            about = (kind.extra_json_schema or {}).get("description") or description([kind.type])
        else:
            about = description(kind.types) if isinstance(kind, inspect.UnionType) else ""
        if about:
            return str(about)
    return ""


def _plain_words(message: str, said: Any, kinds: list[inspect.Type]) -> str:
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", message, re.DOTALL):
        return f"{unknown[1]}: {unknown_key_message(unknown[1], allowed_keys(kinds))}"
    inner = [member for kind in kinds for member in without_optional(kind)]
    choices = [str(v) for k in inner if isinstance(k, inspect.LiteralType) for v in k.values]
    if choices and not isinstance(said, dict | list):
        return f"cannot be {said!r}; one of {', '.join(choices)}{suggestion(str(said), choices)}"
    if "matching regex" in message:
        return f"cannot be {said!r}"
    if missing := re.fullmatch(r"Object missing required field `(.*)`", message):
        return f"lacks the key {missing[1]}"
    return re.sub(r"`([a-z |]+)`", _type_words, message.replace("Expected", "expected"))


def _type_words(match: re.Match[str]) -> str:
    words = [TYPE_NAMES.get(word, word) for word in match[1].split(" | ") if word != "null"]
    return " or ".join(words or ["nothing"])


def _locate(path: str, value: Any, kind: Any) -> Key:
    """``$.a[0][...].b`` → ("a", 0, "name", "b"): msgspec does not say which key ``...`` is."""
    key: Key = ()
    for name, index in re.findall(r"\.([^.\[\]`]+)|\[(\d+|\.\.\.)\]", path):
        part: str | int = name
        if index == "...":
            part = next((k for k in value_at(value, key) if _fails(value, key, k, kind)), "")
        elif index:
            part = int(index)
        try:
            value_at(value, (*key, part))
        except (KeyError, IndexError, TypeError):
            break
        key = (*key, part)
    return key


def _fails(value: Any, key: Key, name: str, kind: Any) -> bool:
    """Whether the value is still refused when the mapping at ``key`` holds only ``name``."""
    try:
        msgspec.convert(_keep_only(value, key, name), kind)
    except msgspec.ValidationError:
        return True
    return False


def _keep_only(value: Any, key: Key, name: str) -> Any:
    if not key:
        return {name: value[name]}
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key[0]] = _keep_only(value[key[0]], key[1:], name)  # type: ignore[index]
    return copy
