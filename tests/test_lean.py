"""A device installs the runtime alone: no torch, no onnx, no export code, and it is small."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

IMPORT_ALL = """
import importlib, json, pkgutil, sys
import edgecnn_runtime
names = [m.name for m in pkgutil.walk_packages(edgecnn_runtime.__path__, "edgecnn_runtime.")]
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        optional = name.rpartition(".")[2]
        if error.name.split(".")[0] not in OPTIONAL:
            raise
loaded = {name.split(".")[0] for name in sys.modules}
print(json.dumps({"imported": names, "loaded": sorted(loaded)}))
"""
OPTIONAL = {"openvino", "tensorrt", "tensorrt_rtx", "av"}
FORBIDDEN = {"torch", "onnx", "onnxscript", "pandas", "matplotlib", "edgecnn_export", "edgecnn"}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A fresh environment with nothing but ``./runtime[cpu]``; gives its python."""
    folder = tmp_path_factory.mktemp("bare")
    python = folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q"]
    subprocess.run([*pip, f"{root / 'runtime'}[cpu]"], check=True)
    return python


@pytest.mark.slow
def test_every_runtime_module_imports_in_a_bare_environment(bare: Path) -> None:
    code = f"OPTIONAL = {OPTIONAL!r}\n{IMPORT_ALL}"
    done = subprocess.run([bare, "-c", code], check=True, capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert "edgecnn_runtime.model" in report["imported"]
    assert not FORBIDDEN & set(report["loaded"])


@pytest.mark.slow
def test_the_bare_runtime_stays_small(bare: Path) -> None:
    site = next((bare.parent.parent / "lib").glob("python*/site-packages"))
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    assert 200e6 < size <= 310e6
