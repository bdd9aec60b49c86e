"""Starting from nothing: a fresh process loads a bundle, gives one result, and says what it took.

``python -m edgecnn_bench.cold_start`` is the child; it imports what a device's own program would.
Rows of torch have none: they are loaded by the exporter, and nobody starts a camera with that.
"""

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from edgecnn_bench.schema import Cold, Memory

TIME_LIMIT = 300.0
RUNS = 5
"""After the first result, before the memory is read."""


@dataclass(frozen=True, slots=True)
class ColdStart:
    """What a fresh process is to load; the fields are ``load()``'s arguments."""

    bundle: str
    backend: str
    artifact: str
    precision: str
    threads: int
    batch: int
    self_test: bool


def cold_start(start: ColdStart, times: int) -> tuple[Cold, Memory]:
    """Start that process again and again; medians.

    Raises RuntimeError with the child's last words where it fails.
    """
    found = [_once(start) for _ in range(times)]
    middle = {name: median(each[name] for each in found) for name in found[0]}
    return (
        Cold(
            seconds=middle["seconds"],
            import_seconds=middle["import_seconds"],
            load_seconds=middle["load_seconds"],
            first_seconds=middle["first_seconds"],
            starts=times,
        ),
        Memory(
            resident_mib=middle["resident_mib"],
            peak_mib=middle["peak_mib"],
            base_mib=middle["base_mib"],
        ),
    )


def _once(start: ColdStart) -> dict[str, float]:
    began = time.monotonic()
    command = [
        sys.executable,
        "-m",
        "edgecnn_bench.cold_start",
        json.dumps(asdict(start)),
        str(began),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RuntimeError(words[-1])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _child(start: dict[str, object], began: float) -> dict[str, float]:
    import numpy as np

    from edgecnn_runtime import load

    imported = time.monotonic()
    base = _memory()["VmRSS"]
    model = load(**start)  # type: ignore[arg-type]
    loaded = time.monotonic()
    frame = np.full((1080, 1920, 3), 114, np.uint8)
    model(frame)
    first = time.monotonic()
    for _ in range(RUNS):
        model(frame)
    memory = _memory()
    return {
        "seconds": first - began,
        "import_seconds": imported - began,
        "load_seconds": loaded - imported,
        "first_seconds": first - loaded,
        "base_mib": base,
        "resident_mib": memory["VmRSS"],
        "peak_mib": memory["VmHWM"],
    }


def _memory() -> dict[str, float]:
    """MiB by the kernel's name."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) / 1024 for words in lines if words[-1] == "kB"}


if __name__ == "__main__":
    print(json.dumps(_child(json.loads(sys.argv[1]), float(sys.argv[2]))))
