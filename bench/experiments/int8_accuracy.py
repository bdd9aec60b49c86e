"""What INT8 costs in accuracy: networks trained here on MNIST, on all 10,000 test pictures.

Each is exported with every INT8 form and 300 of the training pictures to calibrate on; the gate
sees no label. Accuracy is of the PyTorch checkpoint's own float graph, and of each INT8 form on
each engine that takes it.
Reached: no form loses more than 0.2 points on any engine.
"""

import csv
import sys
import tempfile
from typing import Any

import numpy as np
import torch
from lib.options import options
from lib.quantized import ENGINES, Int8Made, export_int8, in_float, open_artifact
from lib.trained import TRAINED, Trained
from rich.console import Console
from rich.table import Table

from edgecnn_bench.results import write_result
from edgecnn_export.verification.verify import engines_for

WANTED = 0.2
NETWORKS = ("mnist_net", "mnist_cnn3", "digits")
TARGETS = ("cpu", "cpu-rr", "trt")


def main() -> int:
    """Measure, print, write; 0 when everything is reached."""
    torch.set_num_threads(2)
    asked = options(__doc__, NETWORKS)
    rows = []
    for name in asked.names:
        rows += measure(TRAINED[name](asked.cache), 1000 if asked.quick else None)
    Console().print(table(rows))
    reached = all(row["drop"] <= WANTED for row in rows)
    if asked.whole(NETWORKS):
        write_result("int8_accuracy", {"wanted": WANTED, "rows": rows, "reached": reached})
    return 0 if reached else 1


def measure(network: Trained, count: int | None) -> list[dict[str, Any]]:
    """One network in every form on every engine that takes it; a form that was not made is missed.

    drop: in points of a hundred.
    """
    assert network.labels is not None
    with network.labels.open(newline="", encoding="utf-8") as lines:
        labels = [row["label"] for row in csv.DictReader(lines, delimiter="\t")][:count]
    frames = list(network.frames())[:count]
    with tempfile.TemporaryDirectory() as scratch:
        config = network.config(
            int8=True, calib=str(network.calibration), targets=TARGETS,
            out=f"{scratch}/model.edge", work_dir=f"{scratch}/work",
        )  # fmt: skip
        made = export_int8(config)

        def accuracy(made: Int8Made, artifact: str, engine: str) -> float:
            with open_artifact(made, artifact, engine) as model:
                results: list[Any] = model.batch(frames)
            same = [one.label == label for one, label in zip(results, labels, strict=True)]
            return 100 * float(np.mean(same))

        plain = accuracy(made, "fp32", ENGINES[0])
        rows = []
        for target in TARGETS:
            form = made.row(target)
            for engine in engines_for(target, ENGINES):
                found = accuracy(made, f"int8-{target}", engine) if form["passed"] else 0.0
                rows.append(
                    {"network": network.name, "pictures": len(frames), "target": target,
                     "engine": engine, "float": plain, "int8": found, "drop": plain - found, **form}
                )  # fmt: skip
    return rows


def table(rows: list[dict[str, Any]]) -> Table:
    """One line a form and engine."""
    drawn = Table(title=f"accuracy of INT8, points (wanted: a drop of at most {WANTED})")
    for heading in ("network", "form", "engine"):
        drawn.add_column(heading)
    for heading in ("float", "INT8", "drop", "in float"):
        drawn.add_column(heading, justify="right")
    for row in rows:
        numbers = (f"{row['float']:.2f}", f"{row['int8']:.2f}", f"{row['drop']:+.2f}")
        drawn.add_row(row["network"], row["target"], row["engine"], *numbers, in_float(row))
    return drawn


if __name__ == "__main__":
    sys.exit(main())
