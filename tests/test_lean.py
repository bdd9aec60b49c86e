"""A device installs the runtime alone: no torch, no onnx, no export code, and it is small."""

import json
import subprocess
import sys
import zipfile
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
OPTIONAL = {
    "openvino", "tensorrt", "tensorrt_rtx", "av",  # engines and streams
    "starlette", "uvicorn", "prometheus_client",  # pages and metrics
}  # fmt: skip
FORBIDDEN = {"torch", "onnx", "onnxscript", "pandas", "matplotlib", "edgecnn_export", "edgecnn"}


RUN = """
import sys
import numpy
from edgecnn_runtime import load
with load(sys.argv[1], cache_dir=sys.argv[2]) as model:
    print(model.choice.candidate.backend, model(numpy.full((48, 64, 3), 90, numpy.uint8)).label)
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory, root: Path) -> dict[str, Path]:
    """What ``make dist`` writes, by distribution."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(["make", "-s", "-C", root, "dist", f"DIST={folder}"], check=True)
    files = {path.name.partition("-")[0]: path for path in folder.iterdir()}
    assert set(files) == {"edgecnn", "edgecnn_runtime"}
    assert all(path.name.endswith("-py3-none-any.whl") for path in files.values())
    return files


def install(folder: Path, *packages: str | Path) -> Path:
    """A fresh environment with these packages; gives its folder of programs."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "-q"]
    subprocess.run([*pip, *packages], check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, wheels: dict[str, Path]) -> Path:
    """The python of an environment with the runtime's wheel, ONNX Runtime and pip's OpenCV."""
    folder = tmp_path_factory.mktemp("bare")
    return install(folder, f"{wheels['edgecnn_runtime']}[cpu,opencv]") / "python"


@pytest.fixture
def bundle(root: Path) -> Path:
    return root / "tests" / "data" / "v1" / "bundle"


def output(*words: str | Path, cwd: Path) -> str:
    """What a program prints, run outside the checkout."""
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_runtimes_wheel_has_the_pages(wheels: dict[str, Path], root: Path) -> None:
    folder = root / "runtime" / "edgecnn_runtime" / "web" / "static"
    with zipfile.ZipFile(wheels["edgecnn_runtime"]) as wheel:
        packed = {name for name in wheel.namelist() if "/web/static/" in name}
    files = {f"edgecnn_runtime/web/static/{path.name}" for path in folder.iterdir()}
    assert packed == files
    assert "edgecnn_runtime/web/static/index.html" in packed


@pytest.mark.slow
def test_every_runtime_module_imports_in_a_bare_environment(bare: Path, tmp_path: Path) -> None:
    code = f"OPTIONAL = {OPTIONAL!r}\n{IMPORT_ALL}"
    report = json.loads(output(bare, "-c", code, cwd=tmp_path))
    assert "edgecnn_runtime.model" in report["imported"]
    assert not FORBIDDEN & set(report["loaded"])


@pytest.mark.slow
def test_the_runtimes_wheel_runs_a_bundle(bare: Path, bundle: Path, tmp_path: Path) -> None:
    assert output(bare, "-c", RUN, bundle, tmp_path, cwd=tmp_path).startswith("onnxruntime ")


@pytest.mark.slow
def test_the_bare_runtime_stays_small(bare: Path) -> None:
    site = next((bare.parent.parent / "lib").glob("python*/site-packages"))
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    assert 200e6 < size <= 312e6  # 2 MB of it are our own code, compiled too


@pytest.mark.slow
def test_both_wheels_are_a_device(
    wheels: dict[str, Path], bundle: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """No torch: the commands of a device work, and export says what to install."""
    runtime = f"{wheels['edgecnn_runtime']}[cpu,opencv]"
    programs = install(tmp_path_factory.mktemp("device"), runtime, wheels["edgecnn"])
    edgecnn = programs / "edgecnn"
    output(edgecnn, "verify", bundle, cwd=tmp_path)
    diagnosis = json.loads(output(edgecnn, "doctor", "--json", cwd=tmp_path))
    assert diagnosis["engines"][0]["version"]
    advice = {each["what"]: each["fix"] for each in diagnosis["advice"]}
    assert "'onnx>=" in advice["torch"], "read from the metadata of the wheel"
    code = "import cv2, numpy; cv2.imwrite('gray.png', numpy.full((48, 64, 3), 90, numpy.uint8))"
    output(programs / "python", "-c", code, cwd=tmp_path)
    summary = json.loads(output(edgecnn, "run", bundle, "gray.png", "--json", cwd=tmp_path))
    assert summary["sources"][0]["frames"] == 1
    refused = subprocess.run([edgecnn, "export", "m.pt"], cwd=tmp_path, capture_output=True)
    assert refused.returncode in {2, 5}
    assert b"Traceback" not in refused.stderr
