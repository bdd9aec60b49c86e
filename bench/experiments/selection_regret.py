"""Is the measured choice the right one? MobileNetV3-L, where INT8 does not win everywhere.

Random weights, batch normalization set from photographs; the gate is set aside, so that all of the
network is INT8. Float, bf16 and INT8 on every engine here, with one thread and with all cores.
Five times: choose with `edgecnn bench --select`, then measure every candidate again in a longer run
that knows nothing of the choice. The regret is how much longer the chosen one takes there than the
fastest of that run, round by round.
Reached: at most 5 % in each of the five.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from lib.experiment import Experiment, Options, Row, main
from lib.material import photographs_apart
from lib.quantized import export_int8, ungated
from lib.timm_models import int8_network

from edgecnn_bench.autotune import select
from edgecnn_bench.bench import bench
from edgecnn_bench.config import BenchConfig
from edgecnn_bench.schema import BenchReport
from edgecnn_bench.stats import paired_ratio
from edgecnn_runtime import load
from edgecnn_runtime.selection.record import SelectionRecord

NAME = "mobilenetv3_large_100"
REPEATS, GOAL = 5, 0.05
LONGER = BenchConfig(scopes=("engine",), seconds=8.0, rounds=60, warmup=0.3, starts=0)


def measure(options: Options) -> Iterator[Row]:
    """Choose, and measure longer, again and again."""
    calibration, _ = photographs_apart()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _, config = int8_network(NAME, folder, calibration[:: 10 if options.quick else 3])
        int8 = export_int8(ungated(config, folder))
        bundle = int8.bundle.path
        for number in range(1 if options.quick else REPEATS):
            cache = folder / f"cache{number}"
            record = select(bundle, BenchConfig(seed=number), cache).record
            with load(bundle, cache_dir=cache) as model:
                reason = model.choice.candidate.reason
            report = bench([bundle], msgspec.structs.replace(LONGER, seed=100 + number))
            yield regret(record, report) | {"choice": reason, "int8": int8.forms()}


def regret(record: SelectionRecord, report: BenchReport) -> Row:
    """How much longer the chosen one takes than whichever is fastest in the longer run."""
    candidates = {timing.name: timing for timing in record.standings}
    times = {
        name: [slot.p50_ms for slot in row.slots]
        for row in report.rows
        if (name := row.key.partition(": ")[2]) in candidates
    }
    chosen = record.standings[0].name
    ratios = {name: paired_ratio(times[chosen], other).value for name, other in times.items()}
    fastest = max(ratios, key=lambda name: ratios[name])
    return {
        "chosen": chosen,
        "fastest": fastest,
        "regret": ratios[fastest] - 1,
        "p50_ms": {name: float(np.median(values)) for name, values in times.items()},
        "selection_ms": {name: timing.milliseconds for name, timing in candidates.items()},
        "rounds": {name: timing.rounds for name, timing in candidates.items()},
        "others_cores": float(np.mean([m.others_cores for m in report.machine.moments])),
    }


if __name__ == "__main__":
    experiment = Experiment(
        name="selection_regret",
        title=f"{NAME}: the choice against a longer run",
        measure=measure,
        reached=lambda row: row["regret"] <= GOAL,
        columns={
            "chosen": "{chosen}", "fastest in the longer run": "{fastest}", "regret": "{regret:.1%}"
        },
        facts={"network": NAME, "goal": GOAL},
    )  # fmt: skip
    sys.exit(main(__doc__, experiment))
