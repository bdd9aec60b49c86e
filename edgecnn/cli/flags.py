"""Flags made from the fields of a Struct, so that flag, YAML key and help cannot drift apart."""

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect

from edgecnn_runtime.errors import UsageError
from edgecnn_runtime.schema_errors import description, explain, without_optional

T = TypeVar("T", bound=msgspec.Struct)
SHORT_LIST = 5


def add_flags(
    parser: argparse.ArgumentParser,
    kind: type[msgspec.Struct],
    *,
    positional: Sequence[str] = (),
    groups: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Add one flag per field: ``crop_pct`` becomes ``--crop-pct``, its description the help.

    Args:
        parser: Where the flags are added.
        kind: The Struct.
        positional: Fields that are given without a flag; one with a default may be left out.
        groups: Heading → fields, in the order of --help; other fields come under "options".
    """
    hints = get_type_hints(kind, include_extras=True)
    headings = {name: heading for heading, names in (groups or {}).items() for name in names}
    sections = {heading: parser.add_argument_group(heading) for heading in groups or {}}
    order = [name for names in (groups or {}).values() for name in names]
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for name in positional:
        optional = "?" if not fields[name].required else None
        about = description([inspect.type_info(hints[name])])
        parser.add_argument(name, metavar=name.upper(), nargs=optional, help=about)
    for name in [*order, *(name for name in fields if name not in order)]:
        if name not in positional:
            target = sections[headings[name]] if name in headings else parser
            _add_flag(target, name, hints[name], required=fields[name].required)


def read_flags(args: argparse.Namespace, kind: type[T]) -> T:
    """Make the Struct from what was typed; other fields have their defaults.

    Args:
        args: What the parser read.
        kind: The Struct.

    Raises:
        UsageError: A value does not fit; the message names its flag.
    """
    hints = get_type_hints(kind, include_extras=True)
    values = {
        field.name: _value(field.name, hints[field.name], typed)
        for field in msgspec.structs.fields(kind)
        if (typed := getattr(args, field.name, None)) is not None
    }
    return kind(**values)


def _add_flag(target: Any, name: str, hint: Any, *, required: bool) -> None:
    about = description([inspect.type_info(hint)]).replace("%", "%%")
    flag = "--" + name.replace("_", "-")
    kinds = without_optional(inspect.type_info(hint))
    if any(isinstance(kind, inspect.BoolType) for kind in kinds):
        target.add_argument(flag, dest=name, action="store_true", default=None, help=about)
        return
    choices = _choices(hint)
    metavar = _explicit_metavar(inspect.type_info(hint)) or _metavar(name, kinds)
    if 0 < len(choices) <= SHORT_LIST and not _is_list(kinds):
        metavar = "|".join(choices)
    elif choices and not _is_list(kinds):
        about = f"{about}: {', '.join(choices)}"
    target.add_argument(flag, dest=name, metavar=metavar, required=required, help=about)


def _value(name: str, hint: Any, typed: Any) -> Any:
    kinds = without_optional(inspect.type_info(hint))
    flag = f"--{name.replace('_', '-')}"
    value = typed
    if isinstance(typed, str) and any(isinstance(kind, inspect.DictType) for kind in kinds):
        try:
            value = json.loads(typed)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{flag} takes JSON, like '{{\"key\": 1}}': {error}") from None
    elif isinstance(typed, str) and _is_list(kinds):
        value = [part.strip() for part in typed.split(",")]
    try:
        return msgspec.convert(value, hint, strict=False)
    except msgspec.ValidationError as error:
        _, words = explain(error, value, hint)
        raise UsageError(f"{flag} {typed}: {words}") from None


def _is_list(kinds: Sequence[inspect.Type]) -> bool:
    """Whether a field only takes lists; one that also takes text gets the text."""
    takes_text = any(isinstance(kind, inspect.StrType) for kind in kinds)
    return not takes_text and any(isinstance(kind, inspect.CollectionType) for kind in kinds)


def _choices(hint: Any) -> list[str]:
    if get_origin(hint) is Literal:
        return [str(value) for value in get_args(hint)]
    return [choice for inner in get_args(hint) for choice in _choices(inner)]


def _explicit_metavar(kind: inspect.Type) -> str:
    """The metavar in ``Meta(extra={"metavar": …})``; empty without one."""
    if isinstance(kind, inspect.Metadata):
        return str((kind.extra or {}).get("metavar", "")) or _explicit_metavar(kind.type)
    return ""


def _metavar(name: str, kinds: Sequence[inspect.Type]) -> str:
    if any(isinstance(kind, inspect.DictType) for kind in kinds):
        return "JSON"
    if _is_list(kinds):
        return f"{name.upper()},…"
    return name.upper()
