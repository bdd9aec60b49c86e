"""YAML and JSON → typed values; an error names the file, the line and the key.

The text is not trusted until it is validated: its size and depth are limited, aliases and tags are
refused, and only text, numbers, true/false, null, lists and mappings are constructed. Scalars
follow the YAML 1.2 core schema, read by what the key expects: where the key expects text, ``no``,
``1.50`` and ``640`` stay text.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml
from msgspec import inspect

from edgecnn_runtime.errors import ConfigError
from edgecnn_runtime.schema_errors import (
    Key,
    allowed_keys,
    description,
    dotted_path,
    explain,
    of_tag,
    types_at,
    unknown_key_message,
    without_optional,
)

SUFFIXES = (".yaml", ".yml")
SIZE_LIMIT = 1 << 18
DEPTH_LIMIT = 24
PLAIN_TAGS = {None, "!", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))}

ODD_BREAK = re.compile("[\x85\u2028\u2029]|\r(?!\n)")
NULL = re.compile(r"~|null|Null|NULL|")
BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
SCALARS = (
    inspect.StrType, inspect.LiteralType, inspect.IntType, inspect.FloatType, inspect.BoolType,
)  # fmt: skip
NO_TEXT = re.compile("[\x00\ud800-\udfff]")
"""What an escape such as "\\0" can make, and no file name, message or database takes."""
INT = re.compile(r"[-+]?[0-9]{1,18}|0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")

T = TypeVar("T")


@dataclass(frozen=True)
class KeyLines:
    """Where the keys of a file stand, for errors that are found after it was read.

    Attributes:
        where: The name of the file.
        lines: The line of each key.
    """

    where: str
    lines: Mapping[Key, int]

    def error(self, key: Key, problem: str) -> ConfigError:
        """``FILE:LINE: KEY: problem``, with the line of what is around a key that is not there."""
        known = next(key[:n] for n in range(len(key), -1, -1) if key[:n] in self.lines)
        return ConfigError(f"{self.where}:{self.lines[known]}: {dotted_path(key)}{problem}")


def is_yaml(path: Path) -> bool:
    """Whether a path names a YAML file, be it there or not, and no folder."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def load_yaml(path: str | Path, kind: type[T]) -> T:
    """Read a YAML file.

    Args:
        path: The file.
        kind: The msgspec Struct that it must fit.

    Raises:
        ConfigError: It cannot be read, is not YAML, or does not fit ``kind``; the message begins
            ``FILE:LINE: KEY``.
    """
    return read_yaml(path, kind)[0]


def read_yaml(path: str | Path, kind: type[T]) -> tuple[T, KeyLines]:
    """Read a YAML file whose values are checked further.

    Args:
        path: The file.
        kind: The msgspec Struct that it must fit.

    Returns:
        The value, and where its keys stand.

    Raises:
        ConfigError: As in ``load_yaml``.
    """
    return parse_keys(read_text(path), kind, str(path))


def read_text(path: str | Path) -> str:
    """The text of a settings file.

    Args:
        path: The file.

    Raises:
        ConfigError: It cannot be read, is too large, or is not UTF-8.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(raw) > SIZE_LIMIT:
        raise ConfigError(f"{path}: over {SIZE_LIMIT >> 10} KiB: this is not a settings file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text") from None


def parse_yaml(text: str, kind: type[T], where: str) -> T:
    """Validate YAML text.

    Args:
        text: The YAML.
        kind: The msgspec Struct that it must fit.
        where: Names the text in errors.

    Raises:
        ConfigError: It is not YAML or does not fit ``kind``.
    """
    return parse_keys(text, kind, where)[0]


def parse_keys(
    text: str, kind: type[T], where: str, *, look_up: Callable[[str], str] | None = None
) -> tuple[T, KeyLines]:
    """Validate YAML text whose values are checked further.

    Args:
        text: The YAML.
        kind: The msgspec Struct that it must fit.
        where: Names the text in errors.
        look_up: Gives the text of a file by its name, where a value may be ``{file: NAME}``. No
            message shows what it gives.

    Returns:
        The value, and where its keys stand.

    Raises:
        ConfigError: It is not YAML or does not fit ``kind``.
    """
    reader = _Reader(where, look_up)
    plain = reader.read(text, inspect.type_info(kind))
    try:
        value = msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        key, words = explain(error, plain, kind)
        raise reader.refusal(key, words, kind) from None
    return value, KeyLines(where, reader.lines)


def from_plain(value: Any, kind: Any, where: str) -> Any:
    """Validate plain values, such as parsed JSON or a checkpoint's spec.

    Args:
        value: Mappings, lists and scalars.
        kind: The type that they must fit.
        where: Names the value in errors.

    Raises:
        ConfigError: It does not fit ``kind``.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        key, words = explain(error, value, kind)
        raise ConfigError(f"{where}: {dotted_path(key)}{words}") from None


@dataclass
class _Reader:
    """Builds plain values.

    Attributes:
        look_up: Gives the text of a file by its name; None where values may not come from files.
        lines: The line of each key.
        files: The name of the file that the value of a key came from.
    """

    where: str
    look_up: Callable[[str], str] | None = None
    lines: dict[Key, int] = field(default_factory=lambda: {(): 1})
    files: dict[Key, str] = field(default_factory=dict)

    def refusal(self, key: Key, words: str, kind: Any) -> ConfigError:
        """What cannot be right at a key, without a value that came from a file."""
        if key in self.files:
            kinds: list[inspect.Type] = [inspect.type_info(kind)]
            for part in key:
                kinds = types_at(kinds, part)
            about = description(kinds)
            words = f"what the file {self.files[key]} holds cannot be right"
            words += f" – {about}" if about else ""
        return KeyLines(self.where, self.lines).error(key, words)

    def read(self, text: str, kind: inspect.Type) -> Any:
        if odd := ODD_BREAK.search(text):  # YAML 1.1 begins a new line there, editors do not
            line = text.count("\n", 0, odd.start()) + 1
            problem = f"character U+{ord(odd[0]):04X}, a line break that is not seen: delete it"
            raise ConfigError(f"{self.where}:{line}: {problem}")
        try:
            self._check(text)
            node = yaml.compose(text, Loader=yaml.BaseLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._error(mark, f"not YAML: {error.problem or error.context}") from None
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            problem = f"character U+{ord(text[error.position]):04X} is not allowed in YAML"
            raise ConfigError(f"{self.where}:{line}: {problem}") from None
        return {} if node is None else self._build(node, (), [kind])

    def _check(self, text: str) -> None:
        """Refuse aliases, tags and deep nesting before a tree is made of the text."""
        depth = 0
        for event in yaml.parse(text, Loader=yaml.BaseLoader):
            if isinstance(event, yaml.AliasEvent):
                raise self._error(event.start_mark, "aliases (*name) are not supported")
            if getattr(event, "tag", None) not in PLAIN_TAGS:
                raise self._error(event.start_mark, "tags (!name) are not supported")
            if NO_TEXT.search(getattr(event, "value", "")):
                raise self._error(event.start_mark, "holds an escape that stands for no character")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > DEPTH_LIMIT:
                raise self._error(event.start_mark, f"nested deeper than {DEPTH_LIMIT}")

    def _build(self, node: yaml.Node, key: Key, kinds: list[inspect.Type]) -> Any:
        self.lines[key] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            file = self._file_name(node, kinds)
            return self._mapping(node, key, kinds) if file is None else self._file(file, key, kinds)
        if isinstance(node, yaml.SequenceNode):
            return [
                self._build(item, (*key, index), types_at(kinds, index))
                for index, item in enumerate(node.value)
            ]
        assert isinstance(node, yaml.ScalarNode)
        return node.value if node.style else _scalar(node.value, kinds)

    def _mapping(self, node: yaml.MappingNode, key: Key, kinds: list[inspect.Type]) -> Any:
        kinds = of_tag(kinds, {str(name.value): value.value for name, value in node.value})
        known = allowed_keys(kinds)
        built: dict[str, Any] = {}
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                raise self._error(name.start_mark, f"{dotted_path(key)}a key must be plain text")
            child = (*key, name.value)
            if name.value in built:
                problem = f"{dotted_path(child)}set twice, first in line {self.lines[child]}"
                raise self._error(name.start_mark, problem)
            if known and name.value not in known:
                problem = dotted_path(child) + unknown_key_message(name.value, known)
                raise self._error(name.start_mark, problem)
            built[name.value] = self._build(value, child, types_at(kinds, name.value))
            self.lines[child] = name.start_mark.line + 1
        return built

    def _file_name(self, node: yaml.MappingNode, kinds: list[inspect.Type]) -> yaml.Node | None:
        """The name in ``{file: NAME}``, where a scalar is expected."""
        expected = [inner for kind in kinds for inner in without_optional(kind)]
        if self.look_up is None or not any(isinstance(kind, SCALARS) for kind in expected):
            return None
        names = [value for name, value in node.value if name.value == "file"]
        single = len(node.value) == 1 and names and isinstance(names[0], yaml.ScalarNode)
        return names[0] if single else None

    def _file(self, name: yaml.Node, key: Key, kinds: list[inspect.Type]) -> Any:
        """What a file holds, as the value of a key."""
        assert self.look_up is not None
        self.files[key] = str(name.value)
        try:
            text = self.look_up(str(name.value))
        except ConfigError as error:
            raise self._error(name.start_mark, f"{dotted_path(key)}{error}") from None
        return _scalar(text, kinds)

    def _error(self, mark: Any, problem: str) -> ConfigError:
        return ConfigError(f"{self.where}:{mark.line + 1 if mark else 1}: {problem}")


def _scalar(text: str, kinds: list[inspect.Type]) -> Any:
    """The value of a plain scalar; text if the key expects text and no value of that type."""
    value = _core(text)
    accepting: dict[type, tuple[type, ...]] = {
        bool: (inspect.BoolType,),
        int: (inspect.IntType, inspect.FloatType),
        float: (inspect.FloatType,),
        type(None): (inspect.NoneType,),
        str: (),
    }
    alternatives = [inner for kind in kinds for inner in without_optional(kind)]
    choices = [
        each
        for kind in alternatives
        if isinstance(kind, inspect.LiteralType)
        for each in kind.values
    ]
    if (type(value), value) in [(type(each), each) for each in choices]:
        return value
    if any(isinstance(kind, (inspect.AnyType, *accepting[type(value)])) for kind in alternatives):
        return value
    text_types = (inspect.StrType, inspect.LiteralType)
    return text if any(isinstance(kind, text_types) for kind in alternatives) else value


def _core(text: str) -> Any:
    """A scalar by YAML 1.2's core schema; numbers that are not finite stay text."""
    if NULL.fullmatch(text):
        return None
    if BOOL.fullmatch(text):
        return text[0] in "tT"
    if INT.fullmatch(text):
        return int(text, 0 if text[:2] in {"0x", "0o"} else 10)
    if FLOAT.fullmatch(text) and abs(number := float(text)) != float("inf"):
        return number
    return text
