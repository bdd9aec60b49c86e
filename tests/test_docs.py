"""What a person can type or write is documented: commands, flags, config and manifest keys."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from edgecnn.cli import COMMANDS, Parser
from edgecnn_runtime.manifest import Manifest


def struct_keys(kind: Any, seen: set[Any] | None = None) -> Iterator[str]:
    """Every key of a Struct and of the Structs inside it."""
    seen = set() if seen is None else seen
    for inner in get_args(kind):
        yield from struct_keys(inner, seen)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in seen:
        seen.add(kind)
        for field in msgspec.structs.fields(kind):
            yield field.encode_name
            yield from struct_keys(field.type, seen)


def test_every_manifest_key_is_documented(root: Path) -> None:
    text = (root / "docs" / "bundle.md").read_text()
    keys = set(struct_keys(Manifest))
    assert {"artifacts", "snr_db", "crop_pct", "charset"} <= keys
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_flag_is_documented(root: Path, command: str) -> None:
    text = (root / "docs" / "commands.md").read_text()
    assert f"## edgecnn {command}\n" in text
    section = text.split(f"## edgecnn {command}\n")[1].split("\n## ")[0]
    module = importlib.import_module(f"edgecnn.cli.{command}")
    parser = Parser(prog=command)
    module.add_arguments(parser)
    flags = [flag for action in parser._actions for flag in action.option_strings]
    assert [flag for flag in flags if flag.startswith("--") and f"`{flag}" not in section] == [
        "--help"
    ]


def test_every_export_key_is_documented(root: Path) -> None:
    pytest.importorskip("torch")
    from edgecnn_export.config import ExportConfig

    text = (root / "docs" / "commands.md").read_text()
    for field in msgspec.structs.fields(ExportConfig):
        assert f"`{field.name}`" in text, field.name


def test_every_exit_code_is_documented(root: Path) -> None:
    from edgecnn_runtime import errors

    text = (root / "docs" / "commands.md").read_text()
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    for code in {kind.exit_code for kind in kinds if issubclass(kind, errors.EdgecnnError)}:
        assert f"| {code} |" in text


def test_links_between_documents_lead_somewhere(root: Path) -> None:
    import re

    for page in [*root.glob("*.md"), *(root / "docs").glob("*.md"), root / "runtime" / "README.md"]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if not target.startswith(("http://", "https://")):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
