"""What an export costs beside the bare `torch.onnx.export` that it is built on.

Each runs in a fresh process, in turns. Bare: load the weights and call torch.onnx.export with a
dynamic batch. Ours: the whole export, on 16 photographs, verified on every engine and packed.
Importing torch and timm is in neither. Medians over the turns.
Reached: ≤ 1.3 times the bare export, or at most 1.5 s more.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from lib.experiment import Experiment, Options, Row, main
from lib.fresh_process import in_fresh_process

TURNS = 3
RATIO, MORE_SECONDS = 1.3, 1.5
NETWORKS = (
    "mobilenetv3_large_100", "resnet18", "mobilenetv2_100", "efficientnet_lite0", "repvgg_a0",
    "ghostnet_100", "regnety_002", "convnext_atto", "vit_tiny_patch16_224", "shufflenet",
)  # fmt: skip


def measure(options: Options) -> Iterator[Row]:
    """Both exports of each architecture, in turns."""
    for name in options.names:
        with tempfile.TemporaryDirectory() as folder:
            in_fresh_process(prepare, name, folder)
            both = [
                [in_fresh_process(export, name, folder) for export in (export_bare, export_bundle)]
                for _ in range(1 if options.quick else TURNS)
            ]
        bare, ours = np.median(both, axis=0)
        ratio = float(np.median([ours / bare for bare, ours in both]))
        yield {"architecture": name, "bare_s": bare, "ours_s": ours, "ratio": ratio}


def reached(row: Row) -> bool:
    """Whether one architecture is within either limit."""
    return bool(row["ratio"] <= RATIO or row["ours_s"] - row["bare_s"] <= MORE_SECONDS)


def prepare(name: str, folder: str) -> None:
    """Write the weights and the photographs that both exports use."""
    from lib import timm_models as models

    module = models.random_model(name)
    pixels = models.photographs(224, 224)
    planes = models.reference_preprocess(pixels, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    models.set_statistics(module, planes)
    models.save_weights(module, Path(folder) / "weights.pt")
    models.write_pictures(Path(folder) / "pictures", pixels)


def export_bare(name: str, folder: str) -> float:
    """Seconds to load the weights and write the ONNX file."""
    import torch
    from lib.timm_models import random_model

    torch.set_num_threads(2)
    module = random_model(name)
    start = time.perf_counter()
    module.load_state_dict(torch.load(Path(folder) / "weights.pt", weights_only=True))
    torch.onnx.export(
        module, (torch.zeros(2, 3, 224, 224),), Path(folder) / "bare.onnx", dynamo=True,
        external_data=False, opset_version=20, verbose=False,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )  # fmt: skip
    return time.perf_counter() - start


def export_bundle(name: str, folder: str) -> float:
    """Seconds of the whole export, as `edgecnn export` does it."""
    import torch
    from lib.timm_models import UNDESCRIBED, arch_of, random_model

    torch.set_num_threads(2)
    random_model(name)  # the same imports as in the bare export
    start = time.perf_counter()
    from edgecnn_export.config import ExportConfig
    from edgecnn_export.pipeline import export

    arch = arch_of(name)
    settings: dict[str, Any] = {} if arch.startswith("timm") else UNDESCRIBED
    export(
        ExportConfig(
            model=f"{folder}/weights.pt", images=f"{folder}/pictures", out=f"{folder}/model.edge",
            arch=arch, overwrite=True, **settings,
        )
    )  # fmt: skip
    return time.perf_counter() - start


if __name__ == "__main__":
    experiment = Experiment(
        name="export_time",
        title="seconds for a bare export, and for ours, verified on 16 photographs",
        measure=measure,
        reached=reached,
        columns={
            "architecture": "{architecture}", "bare": "{bare_s:.1f}", "ours": "{ours_s:.1f}",
            "ratio": "{ratio:.2f}",
        },
        names=NETWORKS,
        facts={"turns": TURNS, "goal": {"ratio": RATIO, "more_seconds": MORE_SECONDS}},
    )  # fmt: skip
    sys.exit(main(__doc__, experiment))
