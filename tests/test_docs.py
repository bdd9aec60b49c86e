"""What a person can type or write is documented: commands, flags, config and manifest keys."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from edgecnn.cli import COMMANDS
from edgecnn_runtime.bundle.manifest import Manifest


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


@pytest.fixture(scope="module")
def commands(root: Path) -> Any:
    """docs/commands.py, which writes the page."""
    spec = importlib.util.spec_from_file_location("commands", root / "docs" / "commands.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_commands_is_what_the_commands_say(root: Path, commands: Any) -> None:
    assert (root / "docs" / "commands.md").read_text() == commands.page(), "type `make docs`"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_has_words(commands: Any, command: str) -> None:
    rows = commands.section(command).split("| --- | --- |\n")[1].splitlines()
    assert rows
    assert [row for row in rows if row.rstrip(" |").endswith("`")] == []


def test_every_export_key_is_a_flag_on_the_page(root: Path) -> None:
    from edgecnn_export.config import ExportConfig

    text = (root / "docs" / "commands.md").read_text().split("## edgecnn export")[1]
    for field in msgspec.structs.fields(ExportConfig):
        flag = f"`--{field.name.replace('_', '-')}"
        assert flag in text or f"`{field.name.upper()}`" in text, field.name


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
