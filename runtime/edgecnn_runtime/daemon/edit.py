"""Changes to YAML text that leave the rest of it, comments included, as a person wrote it."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import yaml

Entry: TypeAlias = tuple[yaml.ScalarNode, yaml.Node]
MAP = "tag:yaml.org,2002:map"
WIDTH = 96


def set_value(text: str, key: tuple[str, ...], value: Any) -> str:
    """YAML text with another value at a key.

    Args:
        text: YAML that ``config.parse_document`` takes.
        key: The path of mapping keys; those that are absent are made.
        value: Plain mappings, lists and scalars; None removes the key.

    Returns:
        The new text. Where a parent of the key is written in braces, its entry is written anew;
        otherwise only the lines of the key differ.
    """
    root = yaml.compose(text, Loader=yaml.BaseLoader)
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        node = _assign(root if isinstance(root, yaml.MappingNode) else None, key, value)
        return _render(node) + "\n" if node else ""
    node, depth = root, 0
    while (entry := _entry(node, key[depth])) and depth < len(key) - 1:
        if not isinstance(entry[1], yaml.MappingNode) or entry[1].flow_style:
            break
        node, depth = entry[1], depth + 1
    name, rest = key[depth], key[depth + 1 :]
    new_node = _assign(entry[1] if entry else None, rest, value)
    if new_node is None and entry is None:
        return text
    if new_node is None and entry is not None:
        if len(node.value) == 1 and depth:
            return set_value(text, key[:depth], {})
        return _without(text, entry)
    column = node.value[0][0].start_mark.column
    key_node = entry[0] if entry else _node(name)
    lines = _render(yaml.MappingNode(MAP, [(key_node, new_node)], flow_style=False))
    lines = lines.replace("\n", "\n" + " " * column)
    if entry is not None:
        return text[: entry[0].start_mark.index] + lines + text[_end(text, entry[1]) :]
    end = _line_end(text, _end(text, node))
    return f"{text[:end]}\n{' ' * column}{lines}{text[end:]}"


def _assign(node: yaml.Node | None, key: tuple[str, ...], value: Any) -> yaml.Node | None:
    """A node with a value at a key in it; None where nothing is left of it."""
    if not key:
        return None if value is None else _node(value)
    entries: list[Entry] = list(node.value) if isinstance(node, yaml.MappingNode) else []
    new_node = _assign(next(iter(_values(entries, key[0])), None), key[1:], value)
    if new_node is None:
        entries = [entry for entry in entries if entry[0].value != key[0]]
    elif any(_values(entries, key[0])):
        entries = [(k, new_node if k.value == key[0] else v) for k, v in entries]
    else:
        entries.append((_node(key[0]), new_node))  # type: ignore[arg-type] # text is a ScalarNode
    if node is None and value is None:
        return None
    return yaml.MappingNode(MAP, entries, flow_style=not entries)


def _values(entries: list[Entry], name: str) -> Iterator[yaml.Node]:
    return (value for key, value in entries if key.value == name)


def _entry(node: yaml.MappingNode, name: str) -> Entry | None:
    return next((entry for entry in node.value if entry[0].value == name), None)


def _node(value: Any) -> yaml.Node:
    """A value as a node: mappings as lines, lists in brackets."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False)
    node = yaml.compose(text, Loader=yaml.BaseLoader)
    assert node is not None
    _spread(node)
    return node


def _spread(node: yaml.Node) -> None:
    if isinstance(node, yaml.MappingNode) and node.value:
        node.flow_style = False
        for _, value in node.value:
            _spread(value)


def _render(node: yaml.Node) -> str:
    text: str = yaml.serialize(node, Dumper=yaml.BaseDumper, allow_unicode=True, width=WIDTH)
    return text.removesuffix("\n").removesuffix("\n...")


def _end(text: str, node: yaml.Node) -> int:
    """Where a node ends: a block ends in the marks of YAML only at what follows."""
    start, end = node.start_mark.index, node.end_mark.index
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        last = node.value[-1]
        end = _end(text, last[1] if isinstance(node, yaml.MappingNode) else last)
    return end if node.start_mark.index == end else start + len(text[start:end].rstrip())


def _line_end(text: str, index: int) -> int:
    """The end of the line that a place stands in."""
    end = text.find("\n", index)
    return len(text) if end < 0 else end


def _without(text: str, entry: Entry) -> str:
    start = text.rfind("\n", 0, entry[0].start_mark.index) + 1
    end = _line_end(text, _end(text, entry[1]))
    return text[:start] + text[end + 1 :]
