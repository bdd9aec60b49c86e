"""Does the half precision artifact follow PyTorch, and does TensorRT build it?

Ten timm architectures and YOLOv8n with random weights, batch normalization statistics set from
photographs, and YuNet as it is published. Each is exported with ``--fp16``; the artifact is
compared with PyTorch (YuNet, which comes as ONNX: with its file) with every tensor rounded to
float16 where the artifact has one, and built by TensorRT-RTX for GPUs that are not here.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorrt_rtx
import torch
from lib import yolov8n
from lib.experiment import Experiment, Options, Row, main
from lib.material import HEIGHT, IOU, SCORE, WIDTH, YUNET, video_frames, write_pictures
from lib.timm_models import (
    MAIN,
    UNDESCRIBED,
    arch_of,
    photographs,
    random_model,
    reference_preprocess,
    save_weights,
    set_statistics,
)

from edgecnn_export.config import ExportConfig
from edgecnn_export.pipeline import export
from edgecnn_runtime.backends.nvidia.tensorrt_build import build_engine
from edgecnn_runtime.errors import EdgecnnError

GOAL, SIZE = 0.999, 0.55
CAPABILITIES = {"8.0": "SM80", "8.9": "SM89", "12.0": "SM120"}
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
UNIT = ((0.0,) * 3, (1.0,) * 3)
JUDGE = "onnxruntime-exact/f32"


def measure(options: Options) -> Iterator[Row]:
    """Export each network, and build its artifact for each GPU."""
    torch.set_num_threads(2)
    for name in options.names[-1:] if options.quick else options.names:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            settings = SPECIAL[name](folder) if name in SPECIAL else timm_network(name, folder)
            yield measure_network(name, folder, settings)


def timm_network(name: str, folder: Path) -> dict[str, Any]:
    """The export settings of an architecture with random weights."""
    module = random_model(name)
    config = getattr(module, "pretrained_cfg", {"input_size": (3, 224, 224), **IMAGENET})
    _, height, width = config["input_size"]
    pixels = photographs(width, height)
    set_statistics(module, reference_preprocess(pixels, config["mean"], config["std"]))
    save_weights(module, folder / "weights.pt")
    write_pictures(folder / "pictures", pixels)
    settings = {} if hasattr(module, "pretrained_cfg") else UNDESCRIBED
    return {"model": str(folder / "weights.pt"), "arch": arch_of(name), **settings}


def detector(folder: Path) -> dict[str, Any]:
    """The export settings of YOLOv8n."""
    pixels = photographs(yolov8n.WIDTH, yolov8n.HEIGHT)
    save_weights(yolov8n.random_yolov8n(reference_preprocess(pixels, *UNIT)), folder / "weights.pt")
    write_pictures(folder / "pictures", pixels)
    return {
        "model": str(folder / "weights.pt"), "arch": "lib.yolov8n:yolov8n", "preset": "unit",
        "input": f"{yolov8n.WIDTH}x{yolov8n.HEIGHT}", "color": "rgb", "task": "detect",
        "head": "yolov8", "labels": tuple(f"class {n}" for n in range(yolov8n.CLASSES)),
    }  # fmt: skip


def faces(folder: Path) -> dict[str, Any]:
    """The export settings of YuNet."""
    frames = video_frames()
    write_pictures(folder / "pictures", frames[:: max(len(frames) // 16, 1)])
    return {
        "model": str(YUNET), "input": f"{WIDTH}x{HEIGHT}", "task": "detect", "head": "yunet",
        "score": SCORE, "iou": IOU, "preset": "raw", "color": "bgr", "resize": "stretch",
        "labels": ("face",),
    }  # fmt: skip


SPECIAL = {"yolov8n": detector, "yunet": faces}


def measure_network(name: str, folder: Path, settings: dict[str, Any]) -> Row:
    """How close the artifact is, how large, what stays in float32, and where it builds."""
    row: Row = {"network": name}
    try:
        result = export(
            ExportConfig(
                **settings, name=name, fp16=True, images=str(folder / "pictures"),
                out=str(folder / "model.edge"), backends=("onnxruntime",),
            )
        )  # fmt: skip
    except EdgecnnError as error:
        return {**row, "failed": str(error)}
    report = result.half.report
    if report is None or not report.passed:
        return {**row, "failed": report.best.verdict.text if report else "not asked for"}
    artifacts = {artifact.precision: artifact for artifact in result.bundle.manifest.artifacts}
    half = artifacts["fp16"]
    (run,) = (run for run in half.runs if run.engine == JUDGE)
    file = result.bundle.file(half)
    return {
        **row,
        "cosine": min(parity.cosine for parity in run.parity.values()),
        "snr_db": min(parity.snr_db for parity in run.parity.values()),
        "agreement": run.agreement,
        "bytes": half.bytes,
        "size": half.bytes / artifacts["fp32"].bytes,
        "layers": report.layers,
        "float32": dict(Counter(layer.reason for layer in report.float32)),
        "builds": {name: builds(file, code) for name, code in CAPABILITIES.items()},
    }


def builds(file: Path, capability: str) -> str:
    """What TensorRT-RTX says where it builds no engine; empty where it does."""
    try:
        build_engine(tensorrt_rtx, file, batch=1, precision="f32", capability=capability)
    except EdgecnnError as error:
        return str(error)
    return ""


def reached(row: Row) -> bool:
    """Whether it is close, small and built everywhere."""
    if "failed" in row:
        return False
    close = row["cosine"] >= GOAL and row["size"] <= SIZE
    return bool(close and not any(row["builds"].values()))


def distance(row: Row) -> str:
    """How far it is from PyTorch, or why it was not made."""
    return row["failed"][:60] if "failed" in row else f"{max(0.0, 1 - row['cosine']):.0e}"


def floats(row: Row) -> str:
    """How many layers stay in float32."""
    return f"{sum(row['float32'].values())} of {row['layers']}" if "float32" in row else ""


def built(row: Row) -> str:
    """The compute capabilities it was built for."""
    return " ".join(name for name, problem in row.get("builds", {}).items() if not problem)


if __name__ == "__main__":
    experiment = Experiment(
        name="fp16_parity",
        title=f"1 - centered cosine, 16 pictures (goal ≤ {1 - GOAL:.0e})",
        measure=measure,
        reached=reached,
        columns={
            "network": "{network}",
            "fp16": distance,
            "size": lambda row: f"{row['size']:.1%}" if "size" in row else "",
            "in float32": floats,
            "built for": built,
        },
        names=(*MAIN, *SPECIAL),
        facts={"goal": GOAL, "largest_size": SIZE, "pictures": 16},
    )
    sys.exit(main(__doc__, experiment))
