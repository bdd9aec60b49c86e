"""On a device where a part is missing or broken, every command says what to type."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ABSENT = "raise ModuleNotFoundError(\"No module named '{0}'\", name='{0}')"
BROKEN = (
    "raise ImportError('\\n\\nRead this!\\n\\nOriginal error was: libblas.so.3 is not there\\n')"
)


@pytest.fixture
def edgecnn(tmp_path: Path, root: Path):
    """Runs a command where importing a module runs this code."""

    def run(module: str, code: str, *words: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / f"{module}.py").write_text(code.format(module))
        return subprocess.run(
            [sys.executable, "-m", "edgecnn", *words],
            env={**os.environ, "PYTHONPATH": str(tmp_path)}, cwd=root,
            capture_output=True, text=True,
        )  # fmt: skip

    return run


BUNDLE = "tests/data/v1/bundle"


@pytest.mark.parametrize(
    "words",
    [
        ("run", BUNDLE, "picture.png"),
        ("run", "--help"),
        ("verify", BUNDLE),
        ("bench", BUNDLE),
        ("export", "edgecnn/demo/digits.pt"),
    ],
)
def test_without_opencv_both_ways_to_get_one_are_named(edgecnn, words):
    done = edgecnn("cv2", ABSENT, *words)
    assert done.returncode == 5, done.stderr
    assert "pip install" in done.stderr
    assert "python3-opencv" in done.stderr
    assert "Traceback" not in done.stderr


def test_as_json_it_is_an_object(edgecnn):
    done = edgecnn("cv2", ABSENT, "run", BUNDLE, "picture.png", "--json")
    assert json.loads(done.stdout)["error"] == "BackendMissingError"


@pytest.mark.parametrize("words", [("doctor",), ("inspect", BUNDLE), ("run", BUNDLE, "a.png")])
def test_a_numpy_that_cannot_be_loaded_is_told_from_an_absent_opencv(edgecnn, words):
    done = edgecnn("numpy", BROKEN, *words)
    assert done.returncode == 5, done.stderr
    assert "NumPy cannot be loaded (Original error was: libblas.so.3 is not there)" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_neither_is_not_hidden(edgecnn):
    done = edgecnn("msgspec", ABSENT, "inspect", BUNDLE)
    assert done.returncode == 1
    assert "No module named 'msgspec'" in done.stderr
