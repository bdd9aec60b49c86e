"""Can `edgecnn bench` be trusted? Its own overhead, its verdicts, and its p50 beside others'.

Verdicts: every engine three times in one run, as the base, unchanged, and slowed by a fifth; ten
runs. Others: a bare ONNX Runtime loop and OpenVINO's own benchmark_app (sync), the same file and
threads, in alternating blocks of two seconds.
Reached: ≤ 20 µs per run; no row called different where nothing changed, every row called slower
where a fifth was planted; p50 ratios ≤ 1.05.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from lib.call_workload import CallWorkload
from lib.experiment import Experiment, Options, Row, main
from lib.mobilenet import export_mobilenet

from edgecnn_bench.latency import measure as measure_rounds
from edgecnn_bench.latency import time_calls
from edgecnn_bench.schema import BenchSettings
from edgecnn_bench.stats import equivalence_verdict, paired_ratio
from edgecnn_bench.workloads import StageClock
from edgecnn_runtime import Model, load
from edgecnn_runtime.backends.ort_session import import_onnxruntime

RUNS, BLOCKS, BLOCK_SECONDS = 10, 8, 2.0
SLOWDOWN = 1.2
OVERHEAD_US, RATIO = 20.0, 1.05
ENGINES = ("onnxruntime", "openvino")


def measure(options: Options) -> Iterator[Row]:
    """The overhead, both kinds of verdict, both ratios."""
    runs, blocks = (1, 1) if options.quick else (RUNS, BLOCKS)
    times = overhead_us()
    yield {"what": "overhead per run", "unit": "µs", "value": np.median(times),
           "goal": OVERHEAD_US, "runs": times}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        bundle = export_mobilenet(Path(folder))
        file = bundle / "model.fp32.onnx"
        models = {
            name: load(bundle, backend=name, precision="f32", threads=1, cache_dir=folder)
            for name in ENGINES
        }
        same, slowed = verdicts(models, runs)
        different = sum(verdict in {"faster", "slower"} for verdict in same)
        yield {"what": f"unchanged rows called different, of {len(same)}", "unit": "",
               "value": different, "goal": 0, "verdicts": same}  # fmt: skip
        missed = sum(verdict != "slower" for verdict in slowed)
        yield {"what": f"slowed rows not called slower, of {len(slowed)}", "unit": "",
               "value": missed, "goal": 0, "verdicts": slowed}  # fmt: skip
        for what, engine, other in (
            ("a bare ONNX Runtime loop", "onnxruntime", bare_loop(file)),
            ("benchmark_app", "openvino", lambda: benchmark_app(file)),
        ):
            ratios = p50_ratios(models[engine], other, blocks)
            yield {"what": f"p50 over that of {what}", "unit": "×", "value": np.median(ratios),
                   "goal": RATIO, "ratios": ratios}  # fmt: skip


def overhead_us() -> list[float]:
    """Wall time per run of the loop around an empty function, with three stages noted."""
    clock = StageClock("prepare", "engine", "decode")
    overheads = []
    for _ in range(5):
        clock.clear()
        start = time.perf_counter()
        runs = len(time_calls(lambda: clock.note(1, 2, 3), 0.2))
        overheads.append((time.perf_counter() - start) / runs * 1e6)
    return overheads


def verdicts(models: Mapping[str, Model], runs: int) -> tuple[list[str], list[str]]:
    """The verdict on each engine against itself, and against itself slowed, in every run."""
    verdicts: dict[str, list[str]] = {"same": [], "slow": []}
    for number in range(runs):
        rows = [
            CallWorkload(f"{name} {kind}", slow(model.infer) if kind == "slow" else model.infer)
            for name, model in models.items()
            for kind in ("base", "same", "slow")
        ]
        settings = BenchSettings(
            seconds=2.0, rounds=30, warmup_seconds=0.3, seed=number, frame="", cold_starts=0
        )
        tracks = measure_rounds(rows, settings).workloads
        p50 = {key: [float(np.median(t)) for t in track.times] for key, track in tracks.items()}
        for name in models:
            for kind, column in verdicts.items():
                ratio = paired_ratio(p50[f"{name} {kind}"], p50[f"{name} base"])
                column.append(equivalence_verdict(ratio, settings.rounds))
                interval = f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"
                print(f"run {number + 1}: {name} {kind}: {interval} {column[-1]}", file=sys.stderr)
    return verdicts["same"], verdicts["slow"]


def slow(run: Callable[[], object]) -> Callable[[], None]:
    """The same work, followed by a busy wait of a fifth of its time."""
    clock = time.perf_counter_ns

    def run_slowly() -> None:
        start = clock()
        run()
        end = start + int(SLOWDOWN * (clock() - start))
        while clock() < end:
            pass

    return run_slowly


def p50_ratios(model: Model, other: Callable[[], float], blocks: int) -> list[float]:
    """Our p50 over the other's, block by block."""
    ratios = []
    for _ in range(blocks):
        ours = np.median(np.array(time_calls(model.infer, BLOCK_SECONDS))) / 1e6
        ratios.append(float(ours / other()))
    return ratios


def bare_loop(file: Path) -> Callable[[], float]:
    """``session.run`` again and again: p50 in milliseconds."""
    ort = import_onnxruntime()
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
    """p50 in milliseconds, as OpenVINO's own tool reports it."""
    tool = shutil.which("benchmark_app", path=str(Path(sys.executable).parent))
    if tool is None:
        raise SystemExit("benchmark_app is not in this environment; the openvino wheel brings it")
    shape, seconds = "[1,224,224,3]", str(int(BLOCK_SECONDS))
    command = [tool, "-m", str(file), "-shape", shape, "-t", seconds, "-hint", "none"]
    command += ["-api", "sync", "-nthreads", "1", "-infer_precision", "f32"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    median = re.search(r"Median:\s+([\d.]+) ms", done.stdout)
    assert median is not None, done.stdout
    return float(median.group(1))


if __name__ == "__main__":
    experiment = Experiment(
        name="harness", title="edgecnn bench itself", measure=measure, needs_assets=False
    )
    sys.exit(main(__doc__, experiment))
