"""Starting from nothing: a fresh process loads a bundle, gives one result, and reports the times.

``python -m edgecnn_bench.cold_start`` is the child; it imports what a device's own program would.
Rows of torch have no cold start: the exporter loads them, and nobody starts a camera with that.
"""

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from edgecnn_bench.schema import Cold, Memory

TIME_LIMIT = 300.0
RUNS = 5
"""Runs after the first result, before the memory is read."""


@dataclass(frozen=True, slots=True)
class ColdStart:
    """What a fresh process loads; the fields are the arguments of ``load()``."""

    bundle: str
    backend: str
    artifact: str
    precision: str
    threads: int
    batch: int
    self_test: bool


def cold_start(start: ColdStart, times: int) -> tuple[Cold, Memory]:
    """Start that process again and again.

    Args:
        start: What it loads.
        times: How many processes are started, one after the other.

    Returns:
        Medians of its times in seconds, and of its memory in MiB.

    Raises:
        RuntimeError: A process failed; the message is its last line.
    """
    runs = [_run_child(start) for _ in range(times)]
    seconds, memory = (
        {name: median(run[part][name] for run in runs) for name in runs[0][part]}
        for part in ("seconds", "memory")
    )
    return Cold(starts=times, **seconds), Memory(**memory)


def _run_child(start: ColdStart) -> dict[str, dict[str, float]]:
    command = [sys.executable, "-m", "edgecnn_bench.cold_start", json.dumps(asdict(start))]
    command.append(str(time.monotonic()))
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RuntimeError(lines[-1])
    times: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return times


def _child(start: dict[str, Any], started_at: float) -> dict[str, dict[str, float]]:
    """The fields of ``Cold`` and ``Memory``, from the start on the parent's monotonic clock on."""
    import numpy as np

    from edgecnn_runtime import load

    imported = time.monotonic()
    base = _memory()["VmRSS"]
    model = load(**start)
    loaded = time.monotonic()
    frame = np.full((1080, 1920, 3), 114, np.uint8)
    model(frame)
    first = time.monotonic()
    for _ in range(RUNS):
        model(frame)
    memory = _memory()
    return {
        "seconds": {
            "seconds": first - started_at,
            "import_seconds": imported - started_at,
            "load_seconds": loaded - imported,
            "first_seconds": first - loaded,
        },
        "memory": {
            "base_mib": base,
            "resident_mib": memory["VmRSS"],
            "peak_mib": memory["VmHWM"],
        },
    }


def _memory() -> dict[str, float]:
    """MiB of this process by the kernel's name."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) / 1024 for words in lines if words[-1] == "kB"}


if __name__ == "__main__":
    print(json.dumps(_child(json.loads(sys.argv[1]), float(sys.argv[2]))))
