"""Does INT8 say what float says? Trained networks, on real pictures that it was not made from.

Each is exported with ``--int8`` and its calibration pictures, nothing else; the gate knows no
labels. Then every other picture goes through the INT8 form that each engine takes and through the
float form on ONNX Runtime, and decoded results are compared: the class, the text, and every box
that either finds (equal: IoU ≥ 0.8 and scores within 0.05; with landmarks they have to be within a
tenth of the box's side too, which is stricter and also in the file).
Reached: ≥ 99 % equal on ONNX Runtime and on OpenVINO. There are few texts, so each half of them is
measured on, calibrated on the other: of 152 alone, two that change would be too many.

How little some results hang by is shown by the float form in OpenVINO's bf16, where the processor
has it: the same weights with eight bits of mantissa.
"""

import dataclasses
import sys
import tempfile
from typing import Any

import torch
from lib.material import need_assets
from lib.options import ExperimentOptions, options
from lib.quantized import ENGINES, FORMS, export_int8, in_float, open_artifact
from lib.trained import TRAINED, Trained
from rich.console import Console
from rich.table import Table

from edgecnn_bench.results import write_result
from edgecnn_runtime.backends import get_engine
from edgecnn_runtime.types import Result
from edgecnn_runtime.verification.result_matching import agreement_rate

WANTED = 0.99
QUICK = 200
"""Pictures of a short try."""
BF16 = ("openvino", "bf16")
SHARES = (*ENGINES, *(f"{engine}_with_landmarks" for engine in ENGINES), "float_in_bf16")


def main() -> int:
    """Measure, print, write; 0 when everything is reached."""
    need_assets()
    torch.set_num_threads(2)
    asked = options(__doc__, list(TRAINED))
    console = Console()
    rows = []
    for name in asked.names:
        halves = TRAINED[name](asked.cache).halves()
        rows.append(joined([measure(half, asked) for half in halves]))
        console.print(rows[-1], highlight=False)
    console.print(table(rows))
    if asked.whole(list(TRAINED)):
        write_result("int8_agreement", {"wanted": WANTED, "rows": rows})
    return 0 if all(row["reached"] for row in rows) else 1


def measure(network: Trained, asked: ExperimentOptions) -> dict[str, Any]:
    """One network on both engines."""
    with tempfile.TemporaryDirectory() as scratch:
        config = network.config(
            int8=True, calib=str(network.calibration), targets=FORMS,
            out=f"{scratch}/model.edge", work_dir=f"{scratch}/work",
        )  # fmt: skip
        made = export_int8(config)
        row = {"network": network.name, "task": network.task, "forms": made.forms()}
        if not all(map(made.form, ENGINES)):
            return row | {"reached": False}
        count = QUICK if asked.quick else None
        frames = list(network.frames())[:count]

        def results(artifact: str, engine: str, precision: str = "f32") -> list[Result]:
            with open_artifact(made, artifact, engine, precision) as model:
                return model.batch(frames)

        def share(found: list[Result], *, landmarks: bool = False) -> float:
            pairs = zip(expected, found, strict=True)
            kept = ((one, other) if landmarks else boxes_of(one, other) for one, other in pairs)
            return agreement_rate(kept, threshold=threshold)

        expected = results("fp32", ENGINES[0])
        threshold = float(getattr(made.bundle.manifest.model.decode, "score", 0.0))
        row["pictures"] = len(frames)
        row["results"] = sum(len(one) if isinstance(one, list) else 1 for one in expected)
        for engine in ENGINES:
            found = results(f"int8-{made.form(engine)}", engine)
            row[engine] = share(found)
            row[f"{engine}_with_landmarks"] = share(found, landmarks=True)
        if BF16[1] in get_engine(BF16[0]).precisions():
            row["float_in_bf16"] = share(results("fp32", *BF16))
    return row | {"reached": min(row[engine] for engine in ENGINES) >= WANTED}


def joined(halves: list[dict[str, Any]]) -> dict[str, Any]:
    """One row of both halves: shares of all results, and what each half had."""
    if len(halves) == 1:
        return halves[0]
    row = halves[0] | {"halves": halves, "reached": all("results" in half for half in halves)}
    if not row["reached"]:
        return row
    for key in ("pictures", "results"):
        row[key] = sum(half[key] for half in halves)
    for key in SHARES:
        if key in row:
            row[key] = sum(half[key] * half["results"] for half in halves) / row["results"]
    return row | {"reached": min(row[engine] for engine in ENGINES) >= WANTED}


def boxes_of(one: Result, other: Result) -> tuple[Result, Result]:
    """Both without landmarks."""
    return without_points(one), without_points(other)


def without_points(result: Result) -> Result:
    """The same boxes without their landmarks; any other result as it is."""
    if isinstance(result, list):
        return [dataclasses.replace(box, points=()) for box in result]
    return result


def table(rows: list[dict[str, Any]]) -> Table:
    """One line a network."""
    drawn = Table(title=f"INT8 results equal to float's (wanted ≥ {WANTED:.0%})")
    for heading in (
        "network", "pictures", "results", "ONNX Runtime", "OpenVINO", "float in bf16", "in float",
    ):  # fmt: skip
        drawn.add_column(heading, justify="left" if heading == "network" else "right")
    for row in rows:
        shares = [f"{row[e]:.2%}" if e in row else "gate not met" for e in ENGINES]
        floats = [", ".join(f"{form['target']}: {in_float(form)}" for form in row["forms"])]
        bf16 = f"{row['float_in_bf16']:.2%}" if "float_in_bf16" in row else ""
        counts = [f"{row.get(key, 0):,}" for key in ("pictures", "results")]
        drawn.add_row(row["network"], *counts, *shares, bf16, *floats)
    return drawn


if __name__ == "__main__":
    sys.exit(main())
