"""What an export costs beside the bare `torch.onnx.export` that it is built on.

Each in a fresh process, in turns: bare is loading the weights and torch.onnx.export with a dynamic
batch; ours is the whole of it, on 16 photographs, verified on every engine and packed. Importing
torch and timm is in neither. Medians of the turns.
Reached: ≤ 1.3 times the bare export, or at most 1.5 s more.

`python bench/experiments/export_time.py resnet18 …` measures only those, and writes nothing.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from lib.material import need_assets
from rich.console import Console
from rich.table import Table

from edgecnn_bench.results import write_result

TURNS = 3
RATIO, MORE_SECONDS = 1.3, 1.5
NETWORKS = (
    "mobilenetv3_large_100", "resnet18", "mobilenetv2_100", "efficientnet_lite0", "repvgg_a0",
    "ghostnet_100", "regnety_002", "convnext_atto", "vit_tiny_patch16_224", "shufflenet",
)  # fmt: skip


def main() -> int:
    """Measure, print, write; 0 when everything is reached."""
    need_assets()
    console = Console()
    rows = []
    for name in sys.argv[1:] or NETWORKS:
        rows.append(measure(name))
        console.print(" ".join(f"{value}" for value in rows[-1].values()))
    console.print(table(rows))
    if not sys.argv[1:]:
        write_result("export_time", {"turns": TURNS, "ratio": RATIO, "rows": rows})
    return 0 if all(reached(row) for row in rows) else 1


def measure(name: str) -> dict[str, Any]:
    """Both exports of one architecture, in turns."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        worker(["prepare", name, str(folder)])
        both = [
            [worker([way, name, str(folder)]) for way in ("bare", "ours")] for _ in range(TURNS)
        ]
    bare, ours = np.median(both, axis=0)
    ratio = float(np.median([b / a for a, b in both]))
    return {"architecture": name, "bare_s": float(bare), "ours_s": float(ours), "ratio": ratio}


def worker(arguments: list[str]) -> float:
    """Seconds that a fresh process measured."""
    command = [sys.executable, __file__, "--worker", *arguments]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(out.strip().splitlines()[-1])


def work(way: str, name: str, folder: Path) -> float:
    """In the fresh process: do it, and say how long it took."""
    import torch
    from lib import timm_models as models

    torch.set_num_threads(2)
    module = models.random_model(name)
    weights, pictures = folder / "weights.pt", folder / "pictures"
    start = time.perf_counter()
    if way == "prepare":
        pixels = models.photographs(224, 224)
        planes = models.textbook(pixels, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        models.set_statistics(module, planes)
        models.save_weights(module, weights)
        models.write_pictures(pixels, pictures)
    elif way == "bare":
        bare(module, weights, folder / "bare.onnx")
    else:
        ours(models.arch_of(name), weights, pictures, folder / "model.edge")
    return time.perf_counter() - start


def bare(module: Any, weights: Path, out: Path) -> None:
    """Load the weights and write the ONNX file."""
    import torch

    module.load_state_dict(torch.load(weights, weights_only=True))
    torch.onnx.export(
        module, (torch.zeros(2, 3, 224, 224),), out, dynamo=True, external_data=False,
        opset_version=20, verbose=False, dynamic_shapes=({0: torch.export.Dim("batch")},),
    )  # fmt: skip


def ours(arch: str, weights: Path, pictures: Path, out: Path) -> None:
    """The whole export, as `edgecnn export` does it."""
    from edgecnn_export.config import ExportConfig
    from edgecnn_export.pipeline import export

    said: dict[str, Any] = {}
    if not arch.startswith("timm"):
        said = {"input": "224x224", "task": "classify", "preset": "imagenet", "color": "rgb"}
    files = {"model": str(weights), "images": str(pictures), "out": str(out)}
    export(ExportConfig(**files, arch=arch, overwrite=True, **said))


def reached(row: dict[str, Any]) -> bool:
    """Whether one architecture keeps the figure."""
    return bool(row["ratio"] <= RATIO or row["ours_s"] - row["bare_s"] <= MORE_SECONDS)


def table(rows: list[dict[str, Any]]) -> Table:
    """One line an architecture."""
    drawn = Table(title="seconds for a bare export, and for ours, verified on 16 photographs")
    for heading in ("architecture", "bare", "ours", "ratio"):
        drawn.add_column(heading, justify="left" if heading == "architecture" else "right")
    for row in rows:
        drawn.add_row(
            row["architecture"],
            f"{row['bare_s']:.1f}",
            f"{row['ours_s']:.1f}",
            f"{row['ratio']:.2f}",
        )
    return drawn


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        print(work(sys.argv[2], sys.argv[3], Path(sys.argv[4])))
        sys.exit(0)
    sys.exit(main())
