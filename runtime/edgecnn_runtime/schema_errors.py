"""What a msgspec type expects at a key, and errors in plain words where a value differs."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import msgspec
from msgspec import inspect

from edgecnn_runtime.redaction import redact

Key: TypeAlias = tuple[str | int, ...]
"""The place of a value: mapping keys and list indices from the root."""

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
    """The types allowed at ``part`` of values of these types, with their metadata."""
    types: list[inspect.Type] = []
    for kind in (inner for outer in kinds for inner in without_optional(outer)):
        if isinstance(kind, inspect.StructType):
            types += [f.type for f in kind.fields if f.encode_name == part]
            if part == kind.tag_field and isinstance(kind.tag, str):
                types.append(inspect.LiteralType((kind.tag,)))
        elif isinstance(kind, inspect.DictType):
            types.append(kind.value_type)
        elif isinstance(kind, inspect.TupleType):
            types += kind.item_types[part : part + 1] if isinstance(part, int) else ()
        elif isinstance(kind, inspect.CollectionType):
            types.append(kind.item_type)
        elif isinstance(kind, inspect.AnyType):
            types.append(kind)
    return types


def allowed_keys(kinds: Iterable[inspect.Type]) -> list[str]:
    """Every key that a mapping may have; empty where any key is allowed or none is known."""
    names: list[str] = []
    for kind in (inner for outer in kinds for inner in without_optional(outer)):
        if isinstance(kind, inspect.DictType | inspect.AnyType):
            return []
        if isinstance(kind, inspect.StructType) and kind.forbid_unknown_fields:
            names += [kind.tag_field] if kind.tag_field else []
            names += [f.encode_name for f in kind.fields]
    return list(dict.fromkeys(names))


def of_tag(kinds: Iterable[inspect.Type], values: Mapping[str, object]) -> list[inspect.Type]:
    """Those of several Structs that a mapping is one of, by its tag; all where it has none."""
    members = [inner for outer in kinds for inner in without_optional(outer)]
    tagged: list[inspect.Type] = [
        each
        for each in members
        if isinstance(each, inspect.StructType)
        and each.tag_field is not None
        and values.get(each.tag_field) == each.tag
    ]
    return tagged or members


def unknown_key_message(name: str, known: list[str]) -> str:
    """``no such key; did you mean mean?``, or with all keys where none is similar."""
    return "no such key" + (suggestion(name, known) or f"; known here: {', '.join(known)}")


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean X?``; empty where none is similar."""
    import difflib

    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def dotted_path(key: Key) -> str:
    """``a.b[0]: ``; empty at the root."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return f"{redact(text.lstrip('.'))}: " if text else ""


def explain(error: msgspec.ValidationError, value: Any, kind: Any) -> tuple[Key, str]:
    """Say where and why a value does not fit a type.

    Args:
        error: What msgspec raised.
        value: The value.
        kind: The type.

    Returns:
        The place of the part that does not fit, and the reason in plain words.
    """
    message, _, path = str(error).partition(" - at ")
    key = _locate(path.strip("`"), value, kind)
    kinds: list[inspect.Type] = [inspect.type_info(kind)]
    for part in key:
        kinds = types_at(kinds, part)
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", message, re.DOTALL):
        return (*key, unknown[1]), unknown_key_message(unknown[1], allowed_keys(kinds))
    about = description(kinds)
    words = _plain_words(message, value_at(value, key), kinds)
    return key, f"{words} – {about}" if about else words


def value_at(value: Any, key: Key) -> Any:
    """The value at ``key``."""
    for part in key:
        value = value[part]
    return value


def description(kinds: Iterable[inspect.Type]) -> str:
    """The first ``Meta(description=…)`` among types; empty without one."""
    for kind in kinds:
        if isinstance(kind, inspect.Metadata):
            about = (kind.extra_json_schema or {}).get("description") or description([kind.type])
        else:
            about = description(kind.types) if isinstance(kind, inspect.UnionType) else ""
        if about:
            return str(about)
    return ""


def _plain_words(message: str, value: Any, kinds: list[inspect.Type]) -> str:
    inner = [member for kind in kinds for member in without_optional(kind)]
    literals = [str(v) for k in inner if isinstance(k, inspect.LiteralType) for v in k.values]
    choices = list(dict.fromkeys(literals))  # members of a union may offer the same
    if choices and not isinstance(value, dict | list):
        names = ", ".join(choice or '""' for choice in choices)
        return f"cannot be {_shown(value)}; one of {names}{suggestion(str(value), choices)}"
    if "matching regex" in message and not isinstance(value, dict | list):
        return f"cannot be {_shown(value)}"
    if missing := re.fullmatch(r"Object missing required field `(.*)`", message):
        return f"lacks the key {missing[1]}"
    return re.sub(r"`([a-z |]+)`", _type_words, message.replace("Expected", "expected"))


def _type_words(match: re.Match[str]) -> str:
    words = [TYPE_NAMES.get(word, word) for word in match[1].split(" | ") if word != "null"]
    return " or ".join(words or ["nothing"])


def _locate(path: str, value: Any, kind: Any) -> Key:
    """``$.a[0][...].b`` → ("a", 0, "name", "b"); msgspec does not name the key behind ``...``."""
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
    """Whether the value is still refused when the mapping at ``key`` has only ``name``."""
    try:
        msgspec.convert(_keep_only(value, key, name), kind)
    except msgspec.ValidationError:
        return True
    return False


def _keep_only(value: Any, key: Key, name: str) -> Any:
    if not key:
        return {name: value[name]}
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key[0]] = _keep_only(value[key[0]], key[1:], name)  # type: ignore[index] # plain JSON
    return copy


def _shown(value: Any) -> str:
    """As it is written, but for a password: a value may be in the place of another one."""
    return repr(redact(value) if isinstance(value, str) else value)
