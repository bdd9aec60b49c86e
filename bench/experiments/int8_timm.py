"""How closely INT8 follows PyTorch, for architectures that nobody here wrote or tuned for.

Random weights, batch normalization set from photographs: nothing a trained network has that
makes it forgiving. Exported with ``--int8``; then photographs that took no part in any of it go
through the INT8 form on each engine. Cosines are of what remains after subtracting PyTorch's mean
output over the photographs; the smallest over the photographs counts.
Reached: centered cosine ≥ 0.99 on ONNX Runtime and on OpenVINO.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from lib.material import need_assets, photographs_apart
from lib.options import options
from lib.quantized import ENGINES, export_int8, in_float
from lib.timm_models import centered_cosine, int8_network, normalization, textbook
from rich.console import Console
from rich.table import Table

from edgecnn_bench.results import write_result
from edgecnn_export.verification.verify import infer
from edgecnn_runtime.preprocess import prepare

WANTED = 0.99
NETWORKS = (
    "resnet18", "mobilenetv2_100", "mobilenetv3_large_100", "regnety_002", "repvgg_a0",
)  # fmt: skip


def main() -> int:
    """Measure, print, write; 0 when everything is reached."""
    need_assets()
    torch.set_num_threads(2)
    asked = options(__doc__, NETWORKS)
    console = Console()
    rows = []
    for name in asked.names:
        rows.append(measure(name, 32 if asked.quick else None))
        console.print(rows[-1], highlight=False)
    console.print(table(rows))
    if asked.whole(NETWORKS):
        write_result("int8_timm", {"wanted": WANTED, "rows": rows})
    return 0 if all(row["reached"] for row in rows) else 1


def measure(name: str, count: int | None) -> dict[str, Any]:
    """One architecture on both engines. count: of the photographs to calibrate on."""
    calibration, others = photographs_apart()
    with tempfile.TemporaryDirectory() as scratch:
        module, config = int8_network(name, Path(scratch), calibration[:count])
        made = export_int8(config)
        seconds = sum(made.result.seconds.values())
        row = {"architecture": name, "seconds": seconds, "forms": made.forms()}
        if not all(map(made.form, ENGINES)):
            return row | {"reached": False}
        spec = made.bundle.manifest.model
        unseen = prepare(spec.input, others)
        with torch.no_grad():
            wanted = module(textbook(unseen, **normalization(module))).numpy()
        (output,) = spec.outputs
        for engine in ENGINES:
            artifact = made.bundle.path / f"model.int8-{made.form(engine)}.onnx"
            found = infer(artifact, spec, engine, unseen, 1)[output.name]
            row[engine] = centered_cosine(found, wanted)
    return row | {"photographs": len(unseen), "reached": min(row[e] for e in ENGINES) >= WANTED}


def table(rows: list[dict[str, Any]]) -> Table:
    """One line an architecture."""
    drawn = Table(title=f"centered cosine of INT8 on unseen photographs (wanted ≥ {WANTED})")
    for heading in ("architecture", "ONNX Runtime", "OpenVINO", "in float", "export"):
        drawn.add_column(heading, justify="left" if heading == "architecture" else "right")
    for row in rows:
        found = [f"{row[e]:.4f}" if e in row else "gate not met" for e in ENGINES]
        floats = ", ".join(f"{form['target']}: {in_float(form)}" for form in row["forms"])
        drawn.add_row(row["architecture"], *found, floats, f"{row['seconds']:.0f} s")
    return drawn


if __name__ == "__main__":
    sys.exit(main())
