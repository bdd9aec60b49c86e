"""How closely INT8 follows PyTorch, for architectures that nobody here wrote or tuned for.

Random weights, batch normalization set from photographs: nothing a trained network has that
makes it forgiving. Exported with ``--int8``; then photographs that took no part in any of it go
through the INT8 form on each engine. Cosines are of what remains after subtracting PyTorch's mean
output over the photographs; the smallest over the photographs counts.
Reached: centered cosine ≥ 0.99 on ONNX Runtime and on OpenVINO.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from lib.experiment import Experiment, Options, Row, main
from lib.material import photographs_apart
from lib.quantized import ENGINES, export_int8, forms_in_float
from lib.timm_models import centered_cosine, int8_network, normalization, reference_preprocess

from edgecnn_export.verification.compare import infer
from edgecnn_runtime.preprocess import prepare

GOAL = 0.99
QUICK = 32
"""Photographs to calibrate on in a short try."""
NETWORKS = (
    "resnet18", "mobilenetv2_100", "mobilenetv3_large_100", "regnety_002", "repvgg_a0",
)  # fmt: skip


def measure(options: Options) -> Iterator[Row]:
    """Each architecture on both engines; no cosine where a form did not pass its gate."""
    torch.set_num_threads(2)
    calibration, others = photographs_apart()
    for name in options.names:
        with tempfile.TemporaryDirectory() as folder:
            pictures = calibration[: QUICK if options.quick else None]
            module, config = int8_network(name, Path(folder), pictures)
            int8 = export_int8(config)
            row = {
                "architecture": name,
                "seconds": sum(int8.result.seconds.values()),
                "forms": int8.forms(),
            }
            if all(map(int8.form, ENGINES)):
                spec = int8.bundle.manifest.model
                unseen = prepare(spec.input, others)
                row["photographs"] = len(unseen)
                with torch.no_grad():
                    reference = module(
                        reference_preprocess(unseen, **normalization(module))
                    ).numpy()
                (output,) = spec.outputs
                for engine in ENGINES:
                    artifact = int8.bundle.path / f"model.int8-{int8.form(engine)}.onnx"
                    outputs = infer(artifact, spec, engine, unseen, 1)
                    row[engine] = centered_cosine(outputs[output.name], reference)
        yield row


def reached(row: Row) -> bool:
    """Whether it follows PyTorch on both engines."""
    return min(row.get(engine, 0.0) for engine in ENGINES) >= GOAL


def cosine(row: Row, engine: str) -> str:
    """The cosine on an engine, in words where there is none."""
    return f"{row[engine]:.4f}" if engine in row else "gate not met"


if __name__ == "__main__":
    experiment = Experiment(
        name="int8_timm",
        title=f"centered cosine of INT8 on unseen photographs (goal ≥ {GOAL})",
        measure=measure,
        reached=reached,
        columns={
            "architecture": "{architecture}",
            "ONNX Runtime": lambda row: cosine(row, "onnxruntime"),
            "OpenVINO": lambda row: cosine(row, "openvino"),
            "in float": forms_in_float,
            "export": "{seconds:.0f} s",
        },
        names=NETWORKS,
        facts={"goal": GOAL},
    )
    sys.exit(main(__doc__, experiment))
