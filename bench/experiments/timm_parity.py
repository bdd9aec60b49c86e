"""Do exported networks compute what PyTorch computes? Architectures that nobody here wrote.

Random weights, batch normalization statistics set from 16 photographs, exported with default
flags; then the bundle's graph gets the photographs' bytes, and PyTorch the textbook's float
picture. Cosines are of what remains after subtracting PyTorch's mean output over the photographs.
Reached: all of them export; centered cosine ≥ 0.9999 on ONNX Runtime and on OpenVINO at f32.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lib.experiment import Experiment, Options, Row, main
from lib.timm_models import (
    MAIN,
    MORE,
    UNDESCRIBED,
    arch_of,
    centered_cosine,
    photographs,
    random_model,
    reference_preprocess,
    save_weights,
    set_statistics,
    write_pictures,
)

from edgecnn_export.config import ExportConfig
from edgecnn_export.pipeline import export
from edgecnn_runtime.backends.openvino import import_openvino
from edgecnn_runtime.backends.ort_session import import_onnxruntime
from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.types import Pixels

GOAL = 0.9999
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def measure(options: Options) -> Iterator[Row]:
    """Export each architecture and compare it with PyTorch."""
    torch.set_num_threads(2)
    for name in options.names[:2] if options.quick else options.names:
        yield measure_network(name)


def measure_network(name: str) -> Row:
    """The cosines on both engines; ``failed`` holds the message of an export that did not work."""
    module = random_model(name)
    config = getattr(module, "pretrained_cfg", {"input_size": (3, 224, 224), **IMAGENET})
    _, height, width = config["input_size"]
    pixels = photographs(width, height)
    planes = reference_preprocess(pixels, config["mean"], config["std"])
    set_statistics(module, planes)
    with torch.no_grad():
        reference = module(planes).numpy()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        save_weights(module, folder / "weights.pt")
        write_pictures(folder / "pictures", pixels)
        settings: dict[str, Any] = {} if hasattr(module, "pretrained_cfg") else UNDESCRIBED
        start = time.perf_counter()
        try:
            bundle = export(
                ExportConfig(
                    model=str(folder / "weights.pt"), arch=arch_of(name),
                    images=str(folder / "pictures"), out=str(folder / "model.edge"), **settings,
                )
            ).bundle  # fmt: skip
        except EdgecnnError as error:
            return {"architecture": name, "failed": str(error)}
        seconds = time.perf_counter() - start
        graph = folder / "model.edge" / bundle.manifest.artifacts[0].file
        engines = {"onnxruntime": on_onnxruntime, "openvino": on_openvino}
        cosines = {e: centered_cosine(run(graph, pixels), reference) for e, run in engines.items()}
    spread = float(np.abs(reference - reference.mean(0)).max() / np.abs(reference).max())
    return {"architecture": name, **cosines, "spread": spread, "export_seconds": seconds}


def on_onnxruntime(graph: Path, pixels: Pixels) -> Any:
    """Outputs for the bytes of the photographs."""
    session = import_onnxruntime().InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    return session.run(None, {"pixels": pixels})[0]


def on_openvino(graph: Path, pixels: Pixels) -> Any:
    """The same; in f32, for its default is bf16 on some processors."""
    core = import_openvino().Core()
    model = core.compile_model(str(graph), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return model(pixels)[0]


def reached(row: Row) -> bool:
    """Whether it was exported and follows PyTorch on both engines."""
    return min(row.get(engine, 0.0) for engine in ("onnxruntime", "openvino")) >= GOAL


def distance(row: Row, engine: str) -> str:
    """How far an engine is from PyTorch."""
    return f"{max(0.0, 1 - row[engine]):.0e}" if engine in row else "failed"


def seconds(row: Row) -> str:
    """The export's seconds, or why it failed."""
    return row["failed"][:60] if "failed" in row else f"{row['export_seconds']:.1f} s"


if __name__ == "__main__":
    experiment = Experiment(
        name="timm_parity",
        title=f"1 - centered cosine, 16 photographs (goal ≤ {1 - GOAL:.0e})",
        measure=measure,
        reached=reached,
        columns={
            "architecture": "{architecture}",
            "ONNX Runtime": lambda row: distance(row, "onnxruntime"),
            "OpenVINO f32": lambda row: distance(row, "openvino"),
            "export": seconds,
        },
        names=(*MAIN, *MORE),
        facts={"goal": GOAL, "photographs": 16},
    )
    sys.exit(main(__doc__, experiment))
