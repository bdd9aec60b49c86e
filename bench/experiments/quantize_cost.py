"""What quantizing costs: ResNet-18 with 300 calibration pictures, method by method.

Random weights, batch normalization set from photographs; the gate is set aside, so that nothing
has to be repaired. Each export runs in a process of its own with ``int8``, the method and the
target that this processor takes; the clock and the peak of resident memory are of the whole
process, importing torch and the float export included.
Reached: ≤ 90 s and ≤ 2 GB each, with no layer returned to float.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from lib.experiment import Experiment, Options, Row, main
from lib.fresh_process import in_fresh_process
from lib.material import photographs_apart

NAME = "resnet18"
METHODS = ("minmax", "percentile", "entropy", "mse", "all")
"""``all`` compares them, as an export does when no method is named."""
PICTURES, QUICK = 300, 30
SECONDS, GIGABYTES = 90.0, 2.0
SETTINGS = "settings.json"


def measure(options: Options) -> Iterator[Row]:
    """One export per method."""
    pictures = QUICK if options.quick else PICTURES
    with tempfile.TemporaryDirectory() as folder:
        in_fresh_process(prepare, folder, pictures)
        for method in options.names:
            start = time.perf_counter()
            usage = in_fresh_process(quantize, folder, method)
            seconds = time.perf_counter() - start
            report = Path(folder) / f"{method}.edge" / "report.json"
            (target,) = msgspec.json.decode(report.read_bytes())["int8"]["targets"]
            yield {
                "method": method,
                "pictures": pictures,
                "seconds": seconds,
                **usage,
                "passed": target["passed"],
                "verdict": target["best"]["verdict"]["text"],
                "in_float": sum(layer["in_float"] for layer in target["layers"]),
            }


def reached(row: Row) -> bool:
    """Whether it is quick and small enough, and everything is in INT8."""
    return row["seconds"] <= SECONDS and row["gb"] <= GIGABYTES and not row["in_float"]


def prepare(folder: str, pictures: int) -> None:
    """Write weights, pictures and the export's settings."""
    from lib.quantized import ungated
    from lib.timm_models import int8_network

    calibration, _ = photographs_apart()
    _, config = int8_network(NAME, Path(folder), calibration[:pictures])
    (Path(folder) / SETTINGS).write_bytes(msgspec.json.encode(ungated(config, Path(folder))))


def quantize(folder: str, method: str) -> dict[str, Any]:
    """Run the export; return the process's seconds of CPU and its peak memory in gigabytes."""
    from lib.timm_models import import_timm

    from edgecnn_export.config import ExportConfig
    from edgecnn_export.pipeline import export

    import_timm()
    config = msgspec.json.decode((Path(folder) / SETTINGS).read_bytes(), type=ExportConfig)
    export(
        msgspec.structs.replace(
            config,
            method=None if method == "all" else method,
            out=f"{folder}/{method}.edge",
            work_dir=f"{folder}/work-{method}",
        )
    )
    usage = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "cpu_seconds": sum(each.ru_utime + each.ru_stime for each in (usage, children)),
        "gb": usage.ru_maxrss * 1024 / 1e9,
    }


if __name__ == "__main__":
    experiment = Experiment(
        name="quantize_cost",
        title=f"{NAME}: exporting with INT8 (goal ≤ {SECONDS:.0f} s, ≤ {GIGABYTES} GB)",
        measure=measure,
        reached=reached,
        columns={
            "method": "{method}", "seconds": "{seconds:.0f}", "of CPU": "{cpu_seconds:.0f}",
            "peak GB": "{gb:.2f}", "layers in float": "{in_float}",
        },
        names=METHODS,
        facts={"network": NAME, "goal": {"seconds": SECONDS, "gb": GIGABYTES}},
    )  # fmt: skip
    sys.exit(main(__doc__, experiment))
