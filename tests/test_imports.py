"""Who imports whom: in one order, without circles, and heavy packages only where they are due."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

PACKAGES = ("edgecnn", "edgecnn_export", "edgecnn_bench", "edgecnn_runtime")
HEAVY = {"torch", "onnx", "onnxscript", "onnx_ir", "safetensors"}


def sources(folder: Path) -> Iterator[Path]:
    found = sorted(folder.rglob("*.py"))
    assert found, folder
    yield from found


def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Top packages that a file imports, without those imported only for type checkers."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    names: set[str] = set()
    for node in nodes:
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_imports_keep_the_order_in_pyproject(root: Path) -> None:
    """Packages, the rooms of the runtime and of the export, and what the runtime never needs."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    words = ["-c", code, "pyproject.toml", "--no-logo", "--no-cache"]
    lint = subprocess.run([sys.executable, *words], cwd=root, capture_output=True, text=True)
    assert lint.returncode == 0, lint.stdout + lint.stderr


def test_no_module_imports_itself_through_others() -> None:
    """A folder's own module and the modules in it included."""
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    imported = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    assert len(imported) > 200
    TopologicalSorter(imported).prepare()  # raises CycleError, which names the circle


def test_bench_needs_no_torch_to_start(root: Path) -> None:
    for path in sources(root / "bench" / "edgecnn_bench"):
        assert not imports(path) & {"edgecnn"}, path
        if path.name != "torch_engine.py":  # imported only where torch is to be timed
            assert not imports(path, top_level_only=True) & (HEAVY | {"edgecnn_export"}), path


def test_torch_and_onnx_stay_in_export_models_and_train(root: Path) -> None:
    allowed = {root / "edgecnn" / "models", root / "edgecnn" / "train"}
    for path in sources(root / "edgecnn"):
        if not allowed & set(path.parents):
            assert not imports(path) & HEAVY, path


def test_commands_start_without_torch(root: Path) -> None:
    for path in sources(root / "edgecnn" / "cli"):
        found = imports(path, top_level_only=True)
        assert not found & {"edgecnn_export"}, f"{path}: import it where it is used"


def test_pipelines_have_no_threads_files_or_sockets(root: Path) -> None:
    runtime = root / "runtime" / "edgecnn_runtime"
    for name in ("pipeline", "event_maker", "inference", "rules/happenings", "track/two_pass"):
        found = imports(runtime / f"{name}.py")
        assert not found & {"threading", "socket", "pathlib", "os", "io", "sqlite3", "queue"}, name


def test_the_finder_sees_what_it_should(tmp_path: Path) -> None:
    """The rules above would pass on an empty set; this is the proof that they can fail."""
    file = tmp_path / "a.py"
    file.write_text("import torch.nn\ndef f():\n    from onnx import helper\n")
    assert imports(file) == {"torch", "onnx"}
    assert imports(file, top_level_only=True) == {"torch"}
    with pytest.raises(AssertionError):
        next(sources(tmp_path / "absent"))
