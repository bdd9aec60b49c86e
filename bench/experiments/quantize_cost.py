"""What quantizing costs: ResNet-18 with 300 calibration pictures, method by method.

Random weights, batch normalization set from photographs; the gate is set aside, so that nothing
has to be repaired. Each export runs in a process of its own with ``int8``, the method and the
target that this processor takes; the clock and the peak of resident memory are of the whole
process, importing torch and the float export included.
Reached: ≤ 90 s and ≤ 2 GB each.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from lib.material import need_assets, photographs_apart
from lib.options import options
from rich.console import Console
from rich.table import Table

from edgecnn_bench.results import write_result

NAME = "resnet18"
METHODS = ("minmax", "percentile", "entropy", "mse", "all")
"""``all`` compares them, as an export does that is told none."""
PICTURES, QUICK = 300, 30
SECONDS, GIGABYTES = 90.0, 2.0
SETTINGS = "settings.json"


def main() -> int:
    """Measure, print, write; 0 when everything is reached."""
    need_assets()
    asked = options(__doc__, METHODS)
    pictures = QUICK if asked.quick else PICTURES
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        subprocess.run([sys.executable, __file__, "--prepare", scratch, str(pictures)], check=True)
        rows = [measure(folder, method) for method in asked.names]
    Console().print(table(rows))
    if asked.whole(METHODS):
        data = {"network": NAME, "pictures": pictures, "rows": rows}
        write_result("quantize_cost", data | {"wanted": {"seconds": SECONDS, "gb": GIGABYTES}})
    return 0 if all(row["reached"] for row in rows) else 1


def prepare(folder: Path, pictures: int) -> None:
    """Weights, pictures and the export's settings."""
    from lib.quantized import ungated
    from lib.timm_models import int8_network

    calibration, _ = photographs_apart()
    _, config = int8_network(NAME, folder, calibration[:pictures])
    (folder / SETTINGS).write_bytes(msgspec.json.encode(ungated(config, folder)))


def quantize(folder: Path, method: str) -> None:
    """The export."""
    from lib.timm_models import import_timm

    from edgecnn_export.config import ExportConfig
    from edgecnn_export.pipeline import export

    import_timm()
    config = msgspec.json.decode((folder / SETTINGS).read_bytes(), type=ExportConfig)
    chosen = None if method == "all" else method
    out, work = str(folder / f"{method}.edge"), str(folder / f"work-{method}")
    export(msgspec.structs.replace(config, method=chosen, out=out, work_dir=work))


def measure(folder: Path, method: str) -> dict[str, Any]:
    """One export; returned: layers that went back to float, which have to be none."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, __file__, "--quantize", str(folder), method])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{method}: the export ended with exit code {process.returncode}")
    report = folder / f"{method}.edge" / "report.json"
    (made,) = msgspec.json.decode(report.read_bytes())["int8"]["targets"]
    gigabytes = usage.ru_maxrss * 1024 / 1e9
    returned = sum(layer["in_float"] for layer in made["layers"])
    return {
        "method": method,
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "gb": gigabytes,
        "passed": made["passed"],
        "verdict": made["verdict"],
        "returned": returned,
        "reached": seconds <= SECONDS and gigabytes <= GIGABYTES and not returned,
    }


def table(rows: list[dict[str, Any]]) -> Table:
    """One line a method."""
    drawn = Table(title=f"{NAME}: exporting with INT8 (wanted ≤ {SECONDS:.0f} s, ≤ {GIGABYTES} GB)")
    for heading in ("method", "seconds", "of CPU", "peak GB", "layers in float"):
        drawn.add_column(heading, justify="left" if heading == "method" else "right")
    for row in rows:
        seconds = (f"{row['seconds']:.0f}", f"{row['cpu_seconds']:.0f}")
        drawn.add_row(row["method"], *seconds, f"{row['gb']:.2f}", str(row["returned"]))
    return drawn


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--prepare", scratch, pictures]:
            prepare(Path(scratch), int(pictures))
        case ["--quantize", scratch, method]:
            quantize(Path(scratch), method)
        case _:
            sys.exit(main())
