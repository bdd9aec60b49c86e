"""Do exported networks compute what PyTorch computes? Architectures that nobody here wrote.

Random weights, batch normalization statistics set from 16 photographs, exported with default
flags; then the bundle's graph gets the photographs' bytes, and PyTorch the textbook's float
picture. Cosines are of what remains after subtracting PyTorch's mean output over the photographs.
Reached: all of them export; centered cosine ≥ 0.9999 on ONNX Runtime and on OpenVINO at f32.

`python bench/experiments/timm_parity.py resnet18 …` measures only those, and writes nothing.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import openvino as ov
import torch
from lib.material import need_assets
from lib.timm_models import (
    ASKED,
    MORE,
    arch_of,
    centered_cosine,
    photographs,
    random_model,
    save_weights,
    set_statistics,
    textbook,
    write_pictures,
)
from rich.console import Console
from rich.table import Table

from edgecnn_bench.results import write_result
from edgecnn_export.config import ExportConfig
from edgecnn_export.pipeline import export
from edgecnn_runtime.errors import EdgecnnError
from edgecnn_runtime.types import Pixels

WANTED = 0.9999
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def main() -> int:
    """Measure, print, write; 0 when everything is reached."""
    need_assets()
    torch.set_num_threads(2)
    console = Console()
    rows = []
    for name in sys.argv[1:] or (*ASKED, *MORE):
        rows.append(measure(name))
        console.print(" ".join(f"{value}" for value in rows[-1].values()))
    console.print(table(rows))
    if not sys.argv[1:]:
        write_result("timm_parity", {"wanted": WANTED, "photographs": 16, "rows": rows})
    return 0 if all(reached(row) for row in rows) else 1


def measure(name: str) -> dict[str, Any]:
    """Export one architecture and compare it with PyTorch."""
    module = random_model(name)
    config = getattr(module, "pretrained_cfg", {"input_size": (3, 224, 224), **IMAGENET})
    _, height, width = config["input_size"]
    pixels = photographs(width, height)
    planes = textbook(pixels, config["mean"], config["std"])
    set_statistics(module, planes)
    with torch.no_grad():
        wanted = module(planes).numpy()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        save_weights(module, folder / "weights.pt")
        write_pictures(pixels, folder / "pictures")
        told: dict[str, Any] = {} if hasattr(module, "pretrained_cfg") else SAID
        start = time.perf_counter()
        try:
            bundle = export(
                ExportConfig(
                    model=str(folder / "weights.pt"), arch=arch_of(name),
                    images=str(folder / "pictures"), out=str(folder / "model.edge"), **told,
                )
            ).bundle  # fmt: skip
        except EdgecnnError as error:
            return {"architecture": name, "failed": str(error)}
        seconds = time.perf_counter() - start
        graph = folder / "model.edge" / bundle.manifest.artifacts[0].file
        engines = {"onnxruntime": on_onnxruntime, "openvino": on_openvino}
        cosines = {e: centered_cosine(run(graph, pixels), wanted) for e, run in engines.items()}
    spread = float(np.abs(wanted - wanted.mean(0)).max() / np.abs(wanted).max())
    return {"architecture": name, **cosines, "spread": spread, "export_seconds": seconds}


SAID = {"input": "224x224", "task": "classify", "preset": "imagenet", "color": "rgb"}
"""What timm's configuration says of its own models."""


def on_onnxruntime(graph: Path, pixels: Pixels) -> Any:
    """Outputs for the bytes of the photographs."""
    session = ort.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    return session.run(None, {"pixels": pixels})[0]


def on_openvino(graph: Path, pixels: Pixels) -> Any:
    """The same; in f32, for its default is bf16 on some processors."""
    core = ov.Core()
    model = core.compile_model(str(graph), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return model(pixels)[0]


def reached(row: dict[str, Any]) -> bool:
    """Whether it was exported and follows PyTorch on both engines."""
    return "failed" not in row and min(row["onnxruntime"], row["openvino"]) >= WANTED


def table(rows: list[dict[str, Any]]) -> Table:
    """One line an architecture: how far each engine is from 1."""
    drawn = Table(title=f"1 - centered cosine, 16 photographs (wanted ≤ {1 - WANTED:.0e})")
    for heading in ("architecture", "ONNX Runtime", "OpenVINO f32", "export"):
        drawn.add_column(heading, justify="left" if heading == "architecture" else "right")
    for row in rows:
        if "failed" in row:
            drawn.add_row(row["architecture"], "failed", row["failed"][:60], "")
            continue
        distances = [f"{max(0.0, 1 - row[e]):.0e}" for e in ("onnxruntime", "openvino")]
        drawn.add_row(row["architecture"], *distances, f"{row['export_seconds']:.1f} s")
    return drawn


if __name__ == "__main__":
    sys.exit(main())
