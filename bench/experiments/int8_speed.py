"""How much faster the chosen candidate is than float, on one thread of this processor.

Random weights, batch normalization set from photographs, 224x224. Everything is in INT8: how much
the gate returns to float in a trained network is the question of other experiments. The candidate
is chosen with ``edgecnn bench --select``; then, in turns in one process on one core, a picture
through

    the chosen candidate                       from the camera's bytes
    torch.onnx.export's graph, ONNX Runtime    from the float image, already normalized
    the PyTorch module itself, eager           from the same

Ratios are medians over the rounds, each of the same moment.
Reached on AVX512-VNNI: ONNX Runtime float takes ≥ 3.4 and ≥ 2.1 times as long, eager ≥ 6 times.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from lib.call_workload import CallWorkload
from lib.experiment import Experiment, Options, Row, main
from lib.material import photographs_apart
from lib.quantized import export_int8, in_float, ungated
from lib.timm_models import int8_network, normalization, photographs, reference_preprocess

from edgecnn_bench.autotune import select
from edgecnn_bench.config import BenchConfig
from edgecnn_bench.latency import measure as measure_rounds
from edgecnn_bench.schema import BenchSettings
from edgecnn_bench.stats import Samples, paired_ratio
from edgecnn_runtime import load
from edgecnn_runtime.backends.ort_session import import_onnxruntime
from edgecnn_runtime.device.cpu import cpu_features
from edgecnn_runtime.selection.record import CandidateTiming

GOALS = {"resnet18": {"ort": 3.4, "eager": 6.0}, "mobilenetv2_100": {"ort": 2.1, "eager": 6.0}}
SLOT, ROUNDS, QUICK = 0.5, 30, 6


def measure(options: Options) -> Iterator[Row]:
    """Export each network, choose, and run all three in turns."""
    calibration, _ = photographs_apart()
    for name in options.names:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            pictures = calibration[:: 10 if options.quick else 3]
            module, config = int8_network(name, folder, pictures)
            int8 = export_int8(ungated(config, folder))
            image = reference_preprocess(photographs(224, 224)[:1], **normalization(module))
            plain = plain_session(module, image, folder / "plain.onnx")
            rounds = QUICK if options.quick else ROUNDS
            with one_core():
                timings, times = race(int8.bundle.path, module, image, plain, rounds)
        p50 = {key: [float(np.median(slot)) for slot in slots] for key, slots in times.items()}
        yield {
            "network": name,
            "chosen": timings[0].name,
            "selection_ms": {timing.name: timing.milliseconds for timing in timings},
            "p50_ms": {key: float(np.median(values)) for key, values in p50.items()},
            "ratio": {
                key: msgspec.structs.asdict(paired_ratio(p50[key], p50["chosen"]))
                for key in GOALS[name]
            },
            "goal": GOALS[name],
            "features": sorted(cpu_features()),
            **int8.row("cpu"),
        }


def race(
    bundle: Path, module: torch.nn.Module, image: torch.Tensor, plain: Any, rounds: int
) -> tuple[tuple[CandidateTiming, ...], dict[str, list[Samples]]]:
    """The selection, and milliseconds of each of the three, round by round."""
    cache = bundle.parent / "cache"
    timings = select(bundle, BenchConfig(threads=(1,)), cache).record.standings
    feed = {plain.get_inputs()[0].name: image.numpy()}
    settings = BenchSettings(
        seconds=SLOT * rounds, rounds=rounds, warmup_seconds=0.5, seed=0, frame="", cold_starts=0
    )
    with load(bundle, threads=1, cache_dir=cache) as model, torch.inference_mode():
        model.prepare(photographs(224, 224)[0])
        workloads = [
            CallWorkload("chosen", model.infer),
            CallWorkload("ort", lambda: plain.run(None, feed)),
            CallWorkload("eager", lambda: module(image)),
        ]
        tracks = measure_rounds(workloads, settings).workloads
    return timings, {key: track.times for key, track in tracks.items()}


@contextmanager
def one_core() -> Iterator[None]:
    """Everything in the block runs on one core, as under ``taskset``."""
    allowed = os.sched_getaffinity(0)
    threads = torch.get_num_threads()
    os.sched_setaffinity(0, {max(allowed)})
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        os.sched_setaffinity(0, allowed)


def plain_session(module: torch.nn.Module, image: torch.Tensor, path: Path) -> Any:
    """What a user has without edgecnn: torch.onnx.export, and a session on one thread."""
    torch.onnx.export(
        module, (image,), path, dynamo=True, external_data=False, opset_version=20, verbose=False
    )
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, ["CPUExecutionProvider"])


def reached(row: Row) -> bool:
    """Whether float and eager take at least as many times as long as they should."""
    return all(row["ratio"][key]["value"] >= goal for key, goal in row["goal"].items())


def selections(rows: Sequence[Row]) -> list[str]:
    """What the selection measured, a line per network."""
    return [f"{row['network']}: {row['selection_ms']}" for row in rows]


if __name__ == "__main__":
    experiment = Experiment(
        name="int8_speed",
        title="one thread, 224x224: times as long as the chosen candidate takes",
        measure=measure,
        reached=reached,
        columns={
            "network": "{network}",
            "chosen": "{chosen}",
            "ms": "{p50_ms[chosen]:.1f}",
            "ONNX Runtime float": "{ratio[ort][value]:.2f} (≥ {goal[ort]})",
            "torch eager": "{ratio[eager][value]:.2f} (≥ {goal[eager]})",
            "in float": in_float,
        },
        names=list(GOALS),
        notes=selections,
    )
    sys.exit(main(__doc__, experiment))
