"""Does INT8 answer as float does? Trained networks, on real pictures it was not made from.

Each is exported with ``--int8`` and its calibration pictures, nothing else; the gate knows no
labels. Then every other picture goes through the INT8 form that each engine takes and through the
float form on ONNX Runtime, and decoded results are compared: the class, the text, and every box
that either of them has (equal: IoU ≥ 0.8 and scores within 0.05; with landmarks, which have to be
within a tenth of the box's side, the comparison is stricter, and is in the file too).
Reached: ≥ 99 % equal on ONNX Runtime and on OpenVINO. There are few texts, so each half of them is
measured on, calibrated on the other: of 152 alone, two that change would be too many.

How close to a threshold some results are is shown by the float form in OpenVINO's bf16, where the
processor has it: the same weights with eight bits of mantissa.
"""

import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import msgspec
import torch
from lib.experiment import Experiment, Options, Row, main
from lib.quantized import ENGINES, FORMS, export_int8, forms_in_float, open_artifact
from lib.trained import TRAINED, TrainedNetwork

from edgecnn_runtime.backends import get_engine
from edgecnn_runtime.tasks import task_of
from edgecnn_runtime.types import Detection
from edgecnn_runtime.verification.result_matching import agreement_rate

GOAL = 0.99
QUICK = 200
"""Pictures of a short try."""
BF16 = ("openvino", "bf16")
RATES = (*ENGINES, *(f"{engine}_with_landmarks" for engine in ENGINES), "float_in_bf16")


def measure(options: Options) -> Iterator[Row]:
    """Each network on both engines."""
    torch.set_num_threads(2)
    for name in options.names:
        halves = TRAINED[name](options.cache).halves()
        count = QUICK if options.quick else None
        yield join([measure_half(half, count) for half in halves])


def measure_half(network: TrainedNetwork, count: int | None) -> Row:
    """The rates of equal results on ``count`` pictures; none where a form did not pass its gate."""
    with tempfile.TemporaryDirectory() as folder:
        int8 = export_int8(network.int8_config(folder, targets=FORMS))
        row: Row = {"network": network.name, "task": network.task, "forms": int8.forms()}
        if not all(map(int8.form, ENGINES)):
            return row
        frames = list(network.frames())[:count]

        def results(artifact: str, engine: str, precision: str = "f32") -> list[Any]:
            with open_artifact(int8, artifact, engine, precision) as model:
                return model.batch(frames)

        expected = results("fp32", ENGINES[0])
        spec = int8.bundle.manifest.model

        def rate(actual: list[Any], *, landmarks: bool = False) -> float:
            pairs = zip(expected, actual, strict=True)
            if network.task == "detect" and not landmarks:
                pairs = ((without_points(a), without_points(b)) for a, b in pairs)
            return agreement_rate(spec, pairs)

        row["pictures"] = len(frames)
        row["results"] = sum(map(task_of(spec).count, expected))
        for engine in ENGINES:
            actual = results(f"int8-{int8.form(engine)}", engine)
            row[engine] = rate(actual)
            row[f"{engine}_with_landmarks"] = rate(actual, landmarks=True)
        if BF16[1] in get_engine(BF16[0]).precisions():
            row["float_in_bf16"] = rate(results("fp32", *BF16))
    return row


def join(halves: list[Row]) -> Row:
    """One row of both halves: rates over all results, and each half's own row."""
    if len(halves) == 1:
        return halves[0]
    row = {key: halves[0][key] for key in ("network", "task", "forms")} | {"halves": halves}
    if not all("results" in half for half in halves):
        return row
    for key in ("pictures", "results"):
        row[key] = sum(half[key] for half in halves)
    for key in RATES:
        if key in halves[0]:
            row[key] = sum(half[key] * half["results"] for half in halves) / row["results"]
    return row


def reached(row: Row) -> bool:
    """Whether both engines answer as float does often enough."""
    return min(row.get(engine, 0.0) for engine in ENGINES) >= GOAL


def without_points(boxes: list[Detection]) -> list[Detection]:
    """The same boxes without their landmarks."""
    return [msgspec.structs.replace(box, points=()) for box in boxes]


def percent(key: str, row: Row, otherwise: str) -> str:
    """A rate of the row, or what stands for one that is missing."""
    return f"{row[key]:.2%}" if key in row else otherwise


if __name__ == "__main__":
    experiment = Experiment(
        name="int8_agreement",
        title=f"INT8 results equal to float's (goal ≥ {GOAL:.0%})",
        measure=measure,
        reached=reached,
        columns={
            "network": "{network}",
            "pictures": lambda row: f"{row.get('pictures', 0):,}",
            "results": lambda row: f"{row.get('results', 0):,}",
            "ONNX Runtime": lambda row: percent("onnxruntime", row, "gate not met"),
            "OpenVINO": lambda row: percent("openvino", row, "gate not met"),
            "float in bf16": lambda row: percent("float_in_bf16", row, ""),
            "in float": forms_in_float,
        },
        names=list(TRAINED),
        facts={"goal": GOAL},
    )
    sys.exit(main(__doc__, experiment))
