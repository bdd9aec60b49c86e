"""What the runtime costs to have: megabytes on disk, seconds to import, seconds to a first result.

`pip install ./runtime[cpu,opencv]` and the daemon's `[cpu,opencv,serve]` go into bare environments;
pip itself is not counted, nor is PyAV, which `[serve]` brings to read streams. Imports and loads
are timed in fresh processes, beside the reference (numpy and cv2 alone). Reached: ≤ 310 MB, with
the daemon ≤ 330 MB; import ≤ 60 ms beyond numpy and cv2; load() to the first result of a
MobileNetV2 ≤ 0.3 s on ONNX Runtime and ≤ 1 s on OpenVINO, the median.
"""

import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lib.experiment import Experiment, Options, Row, main
from lib.mobilenet import export_mobilenet

from edgecnn_runtime.backends import installed

RUNTIME = Path(__file__).parents[2] / "runtime"
TIMES, QUICK = 9, 2
DISK_MB, SERVE_MB, IMPORT_MS = 310.0, 330.0, 60.0
PYAV = ("av", "av.libs")
FIRST_RESULT_S = {"onnxruntime": 0.3, "openvino": 1.0}

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
model(frame)
print(json.dumps(time.perf_counter() - start))
"""


def measure(options: Options) -> Iterator[Row]:
    """Disk, import, and each engine's first result with the self-test and without."""
    times = QUICK if options.quick else TIMES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = install(folder / "env", "cpu,opencv")
        disk = sizes(folder / "env")
        yield {
            "what": "pip install ./runtime[cpu,opencv]", "unit": "MB", "value": sum(disk.values()),
            "goal": DISK_MB, "packages": disk,
        }  # fmt: skip
        install(folder / "daemon", "cpu,opencv,serve")
        disk = sizes(folder / "daemon")
        pyav = sum(size for name, size in disk.items() if is_pyav(name))
        yield {
            "what": "pip install ./runtime[cpu,opencv,serve], without PyAV", "unit": "MB",
            "value": sum(disk.values()) - pyav, "goal": SERVE_MB, "pyav": pyav, "packages": disk,
        }  # fmt: skip
        imports = np.array([run_python(python, IMPORT) for _ in range(times + 1)][1:])
        yield {
            "what": "import, beyond numpy and cv2", "unit": "ms", "value": np.median(imports[:, 1]),
            "goal": IMPORT_MS, "runs": imports[:, 1], "numpy_cv2_ms": imports[:, 0],
        }  # fmt: skip
        bundle = str(export_mobilenet(folder))
        for engine in (name for name in FIRST_RESULT_S if name in installed()):
            caches = [str(folder / f"cache-{engine}-{number}") for number in range(times)]
            for when in ("the first time", "again"):
                runs = [run_python(sys.executable, LOAD, bundle, engine, each) for each in caches]
                yield {
                    "what": f"load to first result, {engine}, {when}", "unit": "s", "runs": runs,
                    "value": np.median(runs), "goal": FIRST_RESULT_S[engine],
                }  # fmt: skip


def is_pyav(entry: str) -> bool:
    """Whether an entry of site-packages belongs to PyAV."""
    return entry in PYAV or entry.startswith("av-")


def install(folder: Path, extras: str) -> Path:
    """Make a bare environment with the runtime and these extras in it; return its python."""
    venv.create(folder)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-cache-dir"]
    subprocess.run([*pip, f"{RUNTIME}[{extras}]"], check=True)
    return python


def sizes(folder: Path) -> dict[str, float]:
    """Megabytes on disk by top-level entry of site-packages."""
    site = next(folder.glob("lib/python*/site-packages"))
    return {
        entry.name: sum(f.stat().st_size for f in [entry, *entry.rglob("*")] if f.is_file()) / 1e6
        for entry in site.iterdir()
    }


def run_python(python: Path | str, code: str, *arguments: str) -> Any:
    """The JSON that ``code`` prints in a process of its own."""
    command = [python, "-c", code, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def largest(rows: Sequence[Row]) -> list[str]:
    """The largest packages, in one line."""
    packages = sorted(rows[0]["packages"].items(), key=lambda item: -item[1])[:5]
    return ["largest: " + ", ".join(f"{name} {size:.0f} MB" for name, size in packages)]


if __name__ == "__main__":
    experiment = Experiment(
        name="footprint", title="footprint", measure=measure, notes=largest, needs_assets=False
    )
    sys.exit(main(__doc__, experiment))
