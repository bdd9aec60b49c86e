"""What a person can type or write is documented, and the pages are a site without dead ends."""

import ast
import importlib.util
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from edgecnn.cli import COMMANDS
from edgecnn_runtime.bundle.manifest import Manifest
from edgecnn_runtime.recipe import ANSWERS, Recipe
from edgecnn_runtime.rules import RuleConfig
from edgecnn_runtime.sinks.events import EVENT_SINKS
from edgecnn_runtime.sinks.serialize import event_record
from edgecnn_runtime.track import TRACKERS
from edgecnn_runtime.types import Event

PACKAGES = (
    "edgecnn", "export/edgecnn_export", "runtime/edgecnn_runtime", "bench/edgecnn_bench"
)  # fmt: skip


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


def test_every_key_of_rules_is_documented(root: Path) -> None:
    from edgecnn_runtime.rules import RuleConfig
    from edgecnn_runtime.rules.privacy import PrivacyConfig

    text = (root / "docs" / "rules.md").read_text()
    keys = {*struct_keys(RuleConfig), *struct_keys(PrivacyConfig)}
    assert {"timezone", "distance", "min_score", "blur"} <= keys
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []


def test_every_key_of_a_sink_and_an_event_is_documented(root: Path) -> None:
    text = (root / "docs" / "events.md").read_text()
    keys = {key for kind in EVENT_SINKS.values() for key in struct_keys(kind.settings)}
    assert {"file", "discovery", "secret", "ca", "before"} <= keys
    assert "{ca: …, certificate: …, key: …}" in text
    undocumented = {key for key in keys | set(EVENT_SINKS) if f"`{key}`" not in text}
    assert undocumented == {"ca", "certificate", "key"}
    record = event_record(Event(id="", type="left", camera="", time=0.0))
    assert [key for key in record if f'"{key}": ' not in text] == []


def test_every_key_of_a_site_is_documented(root: Path) -> None:
    """In a table of the page on the daemon; those of rules, privacy and sinks on theirs."""
    from edgecnn_runtime.daemon import site

    text = (root / "docs" / "daemon.md").read_text()
    kinds = (
        site.Site, site.CameraConfig, site.ModelConfig, site.HttpConfig, site.KeepConfig,
        site.LoggingConfig,
    )  # fmt: skip
    keys = {field.encode_name for kind in kinds for field in msgspec.structs.fields(kind)}
    assert {"cameras", "idle_rate", "digest", "listen", "evidence_days", "format"} <= keys
    assert [key for key in sorted(keys) if f"| `{key}` |" not in text] == []


def test_every_key_of_a_pipeline_is_documented(root: Path) -> None:
    text = (root / "docs" / "pipelines.md").read_text()
    kinds = [kind.settings for kind in (*TRACKERS.values(), *ANSWERS.values())]
    keys = {key for kind in (Recipe, *kinds) for key in struct_keys(kind)}
    keys -= set(struct_keys(RuleConfig))  # which docs/rules.md documents
    assert {"detect", "present_every", "max_gap", "settle", "min_quality"} <= keys
    keys.remove("confident")  # it is the score of detect
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
    assert [row for row in rows if row.rstrip(" |").endswith(("`", "</code>"))] == []


def test_every_export_key_is_a_flag_on_the_page(root: Path) -> None:
    from edgecnn_export.config import ExportConfig

    text = (root / "docs" / "commands.md").read_text().split("## edgecnn export")[1]
    for field in msgspec.structs.fields(ExportConfig):
        flag = f"--{field.name.replace('_', '-')}"
        written = f"`{flag}" in text or f"<code>{flag}" in text
        assert written or f"`{field.name.upper()}`" in text, field.name


def test_every_exit_code_is_documented(root: Path) -> None:
    from edgecnn_runtime import errors

    text = (root / "docs" / "commands.md").read_text()
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    for code in {kind.exit_code for kind in kinds if issubclass(kind, errors.EdgecnnError)}:
        assert f"| {code} |" in text


def test_every_error_is_in_the_troubleshooting_page(root: Path) -> None:
    from edgecnn_runtime import errors

    text = (root / "docs" / "troubleshooting.md").read_text()
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    for kind in kinds:
        assert f"| [`{kind.__name__}`]" in text, kind
        assert f"| {kind.exit_code} |" in text, kind


def pages(root: Path) -> list[Path]:
    """Every page that a person reads, on the site or in the repository."""
    documents = [root / "README.md", root / "CONTRIBUTING.md", root / "runtime" / "README.md"]
    return [*documents, *(root / "docs").rglob("*.md")]


def test_links_between_documents_lead_somewhere(root: Path) -> None:
    for page in pages(root):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if not target.startswith(("http://", "https://")):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


INDEX = re.compile(
    r"pip3? (?:install|download)\b(?:\\\n|[^\n`])*?"
    r"(?<![\w./-])edgecnn(?:-runtime)?(?:\[[\w,-]+\])?(?=['\"`\s]|$)"
)
"""An install line that takes this project from an index."""


def test_nothing_tells_to_install_edgecnn_from_an_index(root: Path) -> None:
    """It is on none, and whoever put something of that name there would be installed instead."""
    assert INDEX.search("`pip install -U 'edgecnn-runtime[cpu]'`")
    assert INDEX.search("pip install numpy edgecnn\n")
    assert not INDEX.search("pip install './runtime[cpu]' dist/edgecnn-0.2.0-py3-none-any.whl")
    sources = [path for name in PACKAGES for path in (root / name).rglob("*.py")]
    for page in [*pages(root), root / "SECURITY.md", root / "Makefile", *sources]:
        lines = [match[0] for match in INDEX.finditer(page.read_text())]
        assert not [line for line in lines if "--no-index" not in line], page


def names_in(text: str) -> Iterator[str]:
    """Dotted names of this project in a page: in its prose, and what its examples import."""
    yield from re.findall(r"`(edgecnn(?:_\w+)?(?:\.\w+)+)", text)
    for example in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        for node in ast.walk(ast.parse(example)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("edgecnn"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_name_in_the_pages_exists(root: Path) -> None:
    names = {name for page in pages(root) for name in names_in(page.read_text())}
    assert {"edgecnn.save_checkpoint", "edgecnn_runtime.load"} <= names
    for name in sorted(names):
        if not name.endswith(".edge"):
            pkgutil.resolve_name(name)  # AttributeError or ImportError names what is missing


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. Strict: a dead link or anchor, or a page in no menu, fails the build."""
    pytest.importorskip("mkdocs", reason="needs the docs extra")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loads = re.compile(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"?(?:https?:)?//[^\" >]+")
    found = [(page.name, loads.findall(page.read_text())) for page in site.rglob("*.html")]
    assert len(found) > 15
    assert [entry for entry in found if entry[1]] == []


def test_the_site_documents_what_programs_import(site: Path) -> None:
    text = "".join(page.read_text() for page in (site / "api").glob("*.html"))
    for name in (
        "edgecnn_runtime.model.load", "edgecnn_runtime.types.Detection",
        "edgecnn_runtime.errors.SelfTestError", "edgecnn_runtime.backends.base.Backend.run",
        "edgecnn_runtime.sinks.base.FrameSink.write", "edgecnn_runtime.tasks.base.Task.draw",
        "edgecnn_runtime.scheduler.Scheduler.add", "edgecnn_export.pipeline.export",
        "edgecnn_export.config.ExportConfig.calib", "edgecnn_export.checkpoint.save_checkpoint",
        "edgecnn_bench.bench.bench", "edgecnn_bench.autotune.select",
        "edgecnn_bench.compare.compare", "edgecnn_runtime.assembly.load_pipeline",
        "edgecnn_runtime.pipeline.Pipeline.follow", "edgecnn_runtime.recipe.Recipe",
    ):  # fmt: skip
        assert f'id="{name}"' in text, name


def test_the_search_works_without_a_server(site: Path) -> None:
    index = (site / "search" / "search_index.js").read_text()
    assert "letterbox" in index
    scripts = re.findall(
        r'<script src="?([^" >]*iframe-worker[^" >]*)', (site / "index.html").read_text()
    )
    assert [(site / script).is_file() for script in scripts] == [True]


def public_docstrings(root: Path) -> Iterator[tuple[str, str, set[str]]]:
    """Place, text, and the names of arguments or fields of every public class and function."""
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ClassDef):
                    fields = (f.target for f in node.body if isinstance(f, ast.AnnAssign))
                    names = {ast.unparse(field) for field in fields}
                elif isinstance(node, ast.FunctionDef):
                    names = {arg.arg for arg in [*node.args.args, *node.args.kwonlyargs]}
                else:
                    continue
                if not node.name.startswith("_"):
                    yield f"{file.name}: {node.name}", ast.get_docstring(node) or "", names


def test_arguments_fields_and_errors_stand_in_sections(root: Path) -> None:
    """What the site shows as tables; ruff checks that each section is complete."""
    outside = []
    for place, text, names in public_docstrings(root):
        prose = re.split(r"^(?:Args|Attributes|Returns|Yields|Raises):", text, flags=re.MULTILINE)[
            0
        ]
        described = re.findall(r"(?:^|[.;] )(\w+)(?:, \w+)*: ", prose, re.MULTILINE)
        if names.intersection(described) or re.search(r"\bRaises \w+Error\b", prose):
            outside.append(place)
    assert outside == []
