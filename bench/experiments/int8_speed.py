"""How much faster the chosen candidate is than float, on one thread of this processor.

Random weights, batch normalization set from photographs, 224x224. Everything is in INT8: what
the gate returns to float in a trained network is another figure's question. Chosen with
``edgecnn bench --select``; then, in turns in one process on one core, a picture
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime as ort
import torch
from lib.material import need_assets, photographs_apart
from lib.options import options
from lib.quantized import export_int8, in_float, ungated
from lib.timm_models import int8_network, normalization, photographs, textbook
from rich.console import Console
from rich.table import Table

from edgecnn_bench.autotune import select
from edgecnn_bench.config import BenchConfig
from edgecnn_bench.latency import measure as in_turns
from edgecnn_bench.results import write_result
from edgecnn_bench.schema import BenchSettings
from edgecnn_bench.stats import Samples, paired_ratio
from edgecnn_runtime import load
from edgecnn_runtime.device.cpu import cpu_features
from edgecnn_runtime.selection.record import CandidateTiming

WANTED = {"resnet18": {"ort": 3.4, "eager": 6.0}, "mobilenetv2_100": {"ort": 2.1, "eager": 6.0}}
SLOT, ROUNDS, QUICK = 0.5, 30, 6


@dataclass
class SpeedRunner:
    """A subject of a measurement: one way to run the network once."""

    key: str
    run: Callable[[], object]
    frames: int = 1

    def begin(self) -> None:
        """Nothing to prepare."""

    def stages(self) -> Mapping[str, Sequence[float]]:
        """Nothing but the run."""
        return {}


def main() -> int:
    """Measure, print, write; 0 when everything is reached."""
    need_assets()
    asked = options(__doc__, list(WANTED))
    rows = [measure(name, asked.quick) for name in asked.names]
    console = Console()
    console.print(table(rows))
    for row in rows:
        console.print(row["network"], row["selection_ms"])
    if asked.whole(list(WANTED)):
        write_result("int8_speed", {"wanted": WANTED, "rows": rows})
    return 0 if all(row["reached"] for row in rows) else 1


def measure(name: str, quick: bool) -> dict[str, Any]:
    """Export, choose, and run all three in turns."""
    calibration, _ = photographs_apart()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        module, config = int8_network(name, folder, calibration[:: 10 if quick else 3])
        made = export_int8(ungated(config, folder))
        image = textbook(photographs(224, 224)[:1], **normalization(module))
        plain = plain_session(module, image, folder / "plain.onnx")
        with one_core():
            standings, times = race(made.bundle.path, module, image, plain, quick)
    p50 = {key: [float(np.median(slot)) for slot in slots] for key, slots in times.items()}
    ratios = {key: paired_ratio(p50[key], p50["chosen"]) for key in ("ort", "eager")}
    return {
        "network": name,
        "chosen": standings[0].name,
        "selection_ms": {one.name: one.milliseconds for one in standings},
        "p50_ms": {key: float(np.median(times)) for key, times in p50.items()},
        "ratio": {key: msgspec.structs.asdict(ratio) for key, ratio in ratios.items()},
        "features": sorted(cpu_features()),
        "reached": all(ratios[key].value >= wanted for key, wanted in WANTED[name].items()),
        **made.row("cpu"),
    }


def race(
    bundle: Path, module: torch.nn.Module, image: torch.Tensor, plain: Any, quick: bool
) -> tuple[tuple[CandidateTiming, ...], dict[str, list[Samples]]]:
    """The selection, and milliseconds of each of the three, round by round."""
    cache = bundle.parent / "cache"
    standings = select(bundle, BenchConfig(threads=(1,)), cache).measured.standings
    fed = {plain.get_inputs()[0].name: image.numpy()}
    rounds = QUICK if quick else ROUNDS
    settings = BenchSettings(
        seconds=SLOT * rounds, rounds=rounds, warmup_seconds=0.5, seed=0, frame="", cold_starts=0
    )
    with load(bundle, threads=1, cache_dir=cache) as model, torch.inference_mode():
        model.prepare(photographs(224, 224)[0])
        runners = [
            SpeedRunner("chosen", model.infer),
            SpeedRunner("ort", lambda: plain.run(None, fed)),
            SpeedRunner("eager", lambda: module(image)),
        ]
        found = in_turns(runners, settings)
    return standings, {key: track.times for key, track in found.tracks.items()}


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
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, ["CPUExecutionProvider"])


def table(rows: list[dict[str, Any]]) -> Table:
    """One line a network."""
    drawn = Table(title="one thread, 224x224: times as long as the chosen candidate takes")
    for heading in ("network", "chosen"):
        drawn.add_column(heading)
    for heading in ("ms", "ONNX Runtime float", "torch eager", "in float"):
        drawn.add_column(heading, justify="right")
    for row in rows:
        ratios = [
            f"{row['ratio'][key]['value']:.2f} (wanted {wanted})"
            for key, wanted in WANTED[row["network"]].items()
        ]
        p50 = f"{row['p50_ms']['chosen']:.1f}"
        drawn.add_row(row["network"], row["chosen"], p50, *ratios, in_float(row))
    return drawn


if __name__ == "__main__":
    sys.exit(main())
