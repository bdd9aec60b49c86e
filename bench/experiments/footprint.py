"""What the runtime costs to have: megabytes on disk, seconds to import, seconds to a first result.

`pip install ./runtime[cpu]` goes into a bare environment of its own, without pip counted. Imports
and loads are timed in fresh processes, the reference (numpy and cv2 alone) in between.
Reached: ≤ 310 MB; import ≤ 60 ms beyond numpy and cv2; load() to the first result of a MobileNetV2
≤ 0.3 s on ONNX Runtime, ≤ 1 s on OpenVINO, the median.
"""

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import numpy as np
from lib.mobilenet import export_mobilenet
from rich.console import Console
from rich.table import Table

from edgecnn_bench.results import write_result
from edgecnn_runtime.backends import installed

RUNTIME = Path(__file__).parents[2] / "runtime"
TIMES = 9
WANTED = {"disk_mb": 310.0, "import_ms": 60.0, "onnxruntime": 0.3, "openvino": 1.0}

IMPORT = """
import json, time
start = time.perf_counter()
import numpy, cv2
reference = time.perf_counter()
import edgecnn_runtime
edgecnn_runtime.load, edgecnn_runtime.Model
end = time.perf_counter()
print(json.dumps([(reference - start) * 1e3, (end - reference) * 1e3]))
"""

LOAD = """
import json, sys, time
import numpy
from edgecnn_runtime import load
bundle, backend, cache = sys.argv[1:]
frame = numpy.zeros((1080, 1920, 3), numpy.uint8)
start = time.perf_counter()
model = load(bundle, backend=backend, cache_dir=cache)
loaded = time.perf_counter()
model(frame)
print(json.dumps([loaded - start, time.perf_counter() - start]))
"""


def main() -> int:
    """Measure, print, write; 0 when everything is reached."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = install(folder / "env")
        disk = sizes(folder / "env")
        imports = np.array([timed(python, IMPORT) for _ in range(TIMES + 1)][1:])
        bundle = export_mobilenet(folder)
        loads = {
            engine: first_results(bundle, engine, folder)
            for engine in ("onnxruntime", "openvino")
            if engine in installed()
        }
    total = sum(disk.values())
    import_ms = float(np.median(imports[:, 1]))
    rows = [
        ("pip install ./runtime\\[cpu]", total, WANTED["disk_mb"], "MB"),
        ("import, beyond numpy and cv2", import_ms, WANTED["import_ms"], "ms"),
    ]
    for engine, runs in loads.items():
        for kind, seconds in runs.items():
            what = f"load to first result, {engine}, {kind}"
            rows.append((what, float(np.median(seconds)), WANTED[engine], "s"))
    reached = all(value <= wanted for _, value, wanted, _ in rows)
    write_result(
        "footprint",
        {
            "disk_mb": disk,
            "total_mb": total,
            "import_ms": {"numpy_cv2": imports[:, 0], "edgecnn_runtime": imports[:, 1]},
            "first_result_s": loads,
            "wanted": WANTED,
            "reached": reached,
        },
    )
    table = Table("", "measured", "wanted", title="footprint")
    for what, value, wanted, unit in rows:
        digits = 2 if unit == "s" else 0
        note = "" if value <= wanted else "  MISSED"
        table.add_row(what, f"{value:.{digits}f} {unit}", f"≤ {wanted:g} {unit}{note}")
    Console().print(table)
    largest = sorted(disk.items(), key=lambda item: -item[1])[:5]
    print("largest: " + ", ".join(f"{name} {size:.0f} MB" for name, size in largest))
    return 0 if reached else 1


def install(folder: Path) -> Path:
    """A bare environment with the runtime and ONNX Runtime in it; its python."""
    venv.create(folder)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-cache-dir"]
    subprocess.run([*pip, f"{RUNTIME}[cpu]"], check=True)
    return python


def sizes(folder: Path) -> dict[str, float]:
    """Megabytes on disk by top package."""
    site = next(folder.glob("lib/python*/site-packages"))
    found = {}
    for entry in site.iterdir():
        files = [entry] if entry.is_file() else [f for f in entry.rglob("*") if f.is_file()]
        found[entry.name] = sum(file.stat().st_size for file in files) / 1e6
    return found


def first_results(bundle: Path, engine: str, folder: Path) -> dict[str, list[float]]:
    """Seconds from load() to the first result: with the self-test, and with it remembered."""
    found: dict[str, list[float]] = {"the first time": [], "again": []}
    for number in range(TIMES):
        cache = str(folder / f"cache-{engine}-{number}")
        for seconds in found.values():
            _, total = timed(sys.executable, LOAD, str(bundle), engine, cache)
            seconds.append(total)
    return found


def timed(python: Path | str, code: str, *words: str) -> Any:
    """What the code prints, run in a process of its own."""
    done = subprocess.run([python, "-c", code, *words], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
