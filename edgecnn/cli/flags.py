"""Flags made from the fields of a Struct, so that flag, YAML key and help cannot drift apart."""

import argparse
import json
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from edgecnn_runtime.config import from_plain
from edgecnn_runtime.errors import ConfigError, UsageError


def add_flags(
    parser: argparse.ArgumentParser, kind: type[msgspec.Struct], groups: dict[str, tuple[str, ...]]
) -> None:
    """Add one flag a field: ``crop_pct`` becomes ``--crop-pct``, its description the help.

    groups: heading → field names; a field in no group becomes no flag.
    """
    hints = get_type_hints(kind, include_extras=True)
    for heading, names in groups.items():
        group = parser.add_argument_group(heading)
        for name in names:
            flag = "--" + name.replace("_", "-")
            help_text = description(hints[name]).replace("%", "%%")
            parts = set(_parts(hints[name]))
            if parts == {bool}:
                group.add_argument(flag, action="store_true", default=None, help=help_text)
                continue
            choices = [str(value) for part in parts for value in _choices(part)]
            ordered = [c for c in _literals(hints[name]) if c in choices]
            metavar = "|".join(ordered) if 0 < len(ordered) < 6 else _metavar(name, parts)
            if len(ordered) >= 6:
                help_text += ": " + ", ".join(ordered)
            group.add_argument(flag, metavar=metavar, dest=name, help=help_text)


def from_flags[T: msgspec.Struct](args: argparse.Namespace, kind: type[T]) -> T:
    raise NotImplementedError
