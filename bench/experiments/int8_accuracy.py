"""What INT8 costs in accuracy: networks trained here on MNIST, on all 10,000 test pictures.

Each is exported in every INT8 form with 300 of the training pictures to calibrate on; the gate
sees no label. Accuracy is that of the checkpoint's own float graph, and of each INT8 form on each
engine that takes it. A form that did not pass its gate counts as missed.
Reached: no form loses more than 0.2 points on any engine.
"""

import csv
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from lib.experiment import Experiment, Options, Row, main
from lib.quantized import ENGINES, export_int8, in_float, open_artifact
from lib.trained import TRAINED, TrainedNetwork

from edgecnn_export.verification.verify import engines_for

GOAL = 0.2
NETWORKS = ("mnist_net", "mnist_cnn3", "digits")
TARGETS = ("cpu", "cpu-rr", "trt")
QUICK = 1000
"""Pictures of a short try."""


def measure(options: Options) -> Iterator[Row]:
    """Each network in every form on every engine that takes it."""
    torch.set_num_threads(2)
    for name in options.names:
        yield from measure_network(
            TRAINED[name](options.cache), count=QUICK if options.quick else None
        )


def measure_network(network: TrainedNetwork, count: int | None) -> Iterator[Row]:
    """One network; accuracies and their drop in percentage points."""
    assert network.labels is not None
    with network.labels.open(newline="", encoding="utf-8") as lines:
        labels = [row["label"] for row in csv.DictReader(lines, delimiter="\t")][:count]
    frames = list(network.frames())[:count]
    with tempfile.TemporaryDirectory() as folder:
        int8 = export_int8(network.int8_config(folder, targets=TARGETS))

        def accuracy(artifact: str, engine: str) -> float:
            with open_artifact(int8, artifact, engine) as model:
                results: list[Any] = model.batch(frames)
            equal = [result.label == label for result, label in zip(results, labels, strict=True)]
            return 100 * float(np.mean(equal))

        plain = accuracy("fp32", ENGINES[0])
        for target in TARGETS:
            form = int8.row(target)
            for engine in engines_for(target, ENGINES):
                value = accuracy(f"int8-{target}", engine) if form["passed"] else 0.0
                yield {
                    "network": network.name, "pictures": len(frames), "engine": engine,
                    "float": plain, "int8": value, "drop": plain - value, **form,
                }  # fmt: skip


if __name__ == "__main__":
    experiment = Experiment(
        name="int8_accuracy",
        title=f"accuracy of INT8, points (goal: a drop of at most {GOAL})",
        measure=measure,
        reached=lambda row: row["drop"] <= GOAL,
        columns={
            "network": "{network}", "form": "{target}", "engine": "{engine}",
            "float": "{float:.2f}", "INT8": "{int8:.2f}", "drop": "{drop:+.2f}",
            "in float": in_float,
        },
        names=NETWORKS,
        facts={"goal": GOAL},
        needs_assets=False,
    )  # fmt: skip
    sys.exit(main(__doc__, experiment))
