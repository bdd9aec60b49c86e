"""What runs every experiment: command line, table, result file, exit code, fresh processes."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgecnn_bench.results import RESULTS, read_result

SCRIPT = """
'''What it asks.'''
import sys
from lib.experiment import Experiment, main
from lib.fresh_process import in_fresh_process

VALUES = {"small": 1, "large": 3}

def value_of(name):
    print("noise")
    return VALUES[name]

def measure(options):
    for name in options.names:
        value = in_fresh_process(value_of, name)
        yield {"what": f"[{name}]", "value": value, "goal": 2, "unit": "s"}

if __name__ == "__main__":
    experiment = Experiment(name="sizes", title="sizes", measure=measure, names=list(VALUES),
                            facts={"goal": 2}, needs_assets=False)
    sys.exit(main(__doc__, experiment))
"""
PACKAGES = ("torch", "timm", "onnx", "onnxruntime", "openvino", "av")


def run_script(root: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    script = folder / "sizes.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), "--out", str(folder / "results"), *words]
    environment = os.environ | {"PYTHONPATH": str(root / "bench" / "experiments")}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_a_whole_experiment_is_shown_and_written(root: Path, tmp_path: Path) -> None:
    done = run_script(root, tmp_path)
    assert done.returncode == 1, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if "≤ 2 s" in line}
    assert "MISSED" not in lines["[small]"]
    assert "MISSED" in lines["[large]"]
    data = read_result("sizes", tmp_path / "results").data
    assert (data["goal"], data["reached"]) == (2, False)
    assert [(row["value"], row["reached"]) for row in data["rows"]] == [(1, True), (3, False)]


@pytest.mark.parametrize(("words", "code"), [(["small"], 0), (["large"], 1), (["--quick"], 1)])
def test_a_part_or_a_short_try_is_not_written(
    root: Path, tmp_path: Path, words: list[str], code: int
) -> None:
    done = run_script(root, tmp_path, *words)
    assert done.returncode == code, done.stderr
    assert not (tmp_path / "results").exists()


def test_an_unknown_row_is_a_usage_error(root: Path, tmp_path: Path) -> None:
    done = run_script(root, tmp_path, "medium")
    assert done.returncode == 2
    assert "small, large" in done.stderr


def test_every_script_can_be_imported(root: Path) -> None:
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        pytest.skip(f"needs {', '.join(missing)}")
    scripts = sorted((root / "bench" / "experiments").glob("*.py"))
    code = "import runpy, sys\nfor file in sys.argv[1:]: print(runpy.run_path(file)['__doc__'])"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, scripts)], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(root / "bench" / "experiments")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("?") >= 5


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*.json")), ids=lambda file: file.stem)
def test_recorded_results_can_be_read(file: Path) -> None:
    assert read_result(file.stem).name == file.stem
