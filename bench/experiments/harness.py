"""Can `edgecnn bench` be trusted? Its own overhead, its verdicts, and its p50 beside others'.

Verdicts: every engine three times in one run, as the base, unchanged, and slowed by a fifth; ten
runs. Others: a bare ONNX Runtime loop and OpenVINO's own benchmark_app (sync), the same file and
threads, in alternating blocks of two seconds.
Reached: ≤ 20 µs a run; no row called different where nothing changed, every row where a fifth was
planted; p50 ratios ≤ 1.05.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from lib.mobilenet import export_mobilenet
from rich.console import Console
from rich.table import Table

from edgecnn_bench.latency import measure, time_calls
from edgecnn_bench.results import write_result
from edgecnn_bench.schema import BenchSettings
from edgecnn_bench.stats import equivalence_verdict, paired_ratio
from edgecnn_bench.workloads import StageClock
from edgecnn_runtime import Model, load

RUNS, BLOCKS, BLOCK_SECONDS = 10, 8, 2.0
SLOWED = 1.2
OVERHEAD_US, RATIO = 20.0, 1.05
ENGINES = ("onnxruntime", "openvino")


def main() -> int:
    """Measure, print, write; 0 when everything is reached."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = export_mobilenet(Path(folder))
        file = bundle / "model.fp32.onnx"
        models = {
            name: load(bundle, backend=name, precision="f32", threads=1, cache_dir=folder)
            for name in ENGINES
        }
        overhead = overhead_us()
        same, slowed = verdicts(models)
        ratios = {
            "a bare ONNX Runtime loop": against(models["onnxruntime"], bare_loop(file)),
            "benchmark_app": against(models["openvino"], lambda: benchmark_app(file)),
        }
    reached = (
        overhead <= OVERHEAD_US
        and not {"faster", "slower"} & set(same)
        and set(slowed) == {"slower"}
        and all(np.median(found) <= RATIO for found in ratios.values())
    )
    write_result(
        "harness",
        {
            "overhead_us": overhead,
            "nothing_changed": same,
            "slowed_by_a_fifth": slowed,
            "p50_ratios": ratios,
            "reached": reached,
        },
    )
    table = Table("", "found", "wanted", title="edgecnn bench itself")
    table.add_row("overhead a run", f"{overhead:.2f} µs", f"≤ {OVERHEAD_US:.0f} µs")
    different = sum(word in {"faster", "slower"} for word in same)
    table.add_row("unchanged rows called different", f"{different} of {len(same)}", "0")
    table.add_row("slowed rows called slower", f"{slowed.count('slower')} of {len(slowed)}", "all")
    for name, found in ratios.items():
        table.add_row(f"p50 over {name}'s", f"{np.median(found):.3f}", f"≤ {RATIO}")
    Console().print(table)
    print("reached" if reached else "NOT REACHED")
    return 0 if reached else 1


def overhead_us() -> float:
    """Wall time a run that is not the run: the loop around nothing, with three stages noted."""
    clock = StageClock("prepare", "engine", "decode")
    found = []
    for _ in range(5):
        clock.clear()
        start = time.perf_counter()
        runs = len(time_calls(lambda: clock.note(1, 2, 3), 0.2))
        found.append((time.perf_counter() - start) / runs * 1e6)
    return float(np.median(found))


class HarnessRow:
    """An engine's run under a name of its own."""

    frames = 1

    def __init__(self, key: str, run: Callable[[], object]) -> None:
        self.key, self.run = key, run

    def begin(self) -> None:
        """Nothing to prepare."""

    def stages(self) -> Mapping[str, Sequence[float]]:
        """One stage is none."""
        return {}


def verdicts(models: Mapping[str, Model]) -> tuple[list[str], list[str]]:
    """What is said of each engine against itself, and against itself slowed, in every run."""
    words: dict[str, list[str]] = {"same": [], "slow": []}
    for number in range(RUNS):
        rows = []
        for name, model in models.items():
            rows += [
                HarnessRow(f"{name} base", model.infer),
                HarnessRow(f"{name} same", model.infer),
            ]
            rows += [HarnessRow(f"{name} slow", slow(model.infer))]
        settings = BenchSettings(
            seconds=2.0, rounds=30, warmup_seconds=0.3, seed=number, frame="", cold_starts=0
        )
        tracks = measure(rows, settings).tracks
        p50 = {key: [float(np.median(t)) for t in track.times] for key, track in tracks.items()}
        for name in models:
            for kind, said in words.items():
                ratio = paired_ratio(p50[f"{name} {kind}"], p50[f"{name} base"])
                said.append(equivalence_verdict(ratio, settings.rounds))
                interval = f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"
                print(f"run {number + 1}: {name} {kind}: {interval} {said[-1]}", file=sys.stderr)
    return words["same"], words["slow"]


def slow(run: Callable[[], object]) -> Callable[[], None]:
    """The same work, and then a fifth of its time doing nothing useful."""
    clock = time.perf_counter_ns

    def slowed() -> None:
        start = clock()
        run()
        end = start + int(SLOWED * (clock() - start))
        while clock() < end:
            pass

    return slowed


def against(model: Model, other: Callable[[], float]) -> list[float]:
    """Our p50 over the other's, block by block."""
    ratios = []
    for _ in range(BLOCKS):
        ours = np.median(np.array(time_calls(model.infer, BLOCK_SECONDS))) / 1e6
        ratios.append(float(ours / other()))
    return ratios


def bare_loop(file: Path) -> Callable[[], float]:
    """``session.run`` again and again: p50 in milliseconds."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    pixels = {session.get_inputs()[0].name: np.zeros((1, 224, 224, 3), np.uint8)}

    def block() -> float:
        times, end = [], time.perf_counter() + BLOCK_SECONDS
        while time.perf_counter() < end:
            start = time.perf_counter()
            session.run(None, pixels)
            times.append(time.perf_counter() - start)
        return float(np.median(times)) * 1e3

    return block


def benchmark_app(file: Path) -> float:
    """OpenVINO's own figure: p50 in milliseconds."""
    tool = shutil.which("benchmark_app", path=str(Path(sys.executable).parent))
    assert tool is not None
    shape, seconds = "[1,224,224,3]", str(int(BLOCK_SECONDS))
    command = [tool, "-m", str(file), "-shape", shape, "-t", seconds, "-hint", "none"]
    command += ["-api", "sync", "-nthreads", "1", "-infer_precision", "f32"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"Median:\s+([\d.]+) ms", done.stdout)
    assert found is not None, done.stdout
    return float(found.group(1))


if __name__ == "__main__":
    sys.exit(main())
