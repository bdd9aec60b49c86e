"""timm's architectures with random weights, their normalisation set from real photographs."""

import shutil
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import cv2
import msgspec
import numpy as np

from lib.material import ASSETS

if TYPE_CHECKING:
    from torch import nn

    from edgecnn_export.config import ExportConfig

PHOTOGRAPHS = 16
TORCHVISION = frozenset({"shufflenet_v2_x1_0"})
"""Networks that timm does not have."""
IMAGENET = {
    "input_size": (3, 224, 224), "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225),
}  # fmt: skip
KEPT: list[Any] = []
"""Operators vanish with the library that declared them."""


def photographs(folder: Path) -> Path:
    """A folder with sixteen photographs: cars, streets, people and faces."""
    scenes = sorted((ASSETS / "plates" / "scenes").glob("*/*.jpg"))
    people = [
        *sorted((ASSETS / "faces" / "people").glob("*/1.jpg")),
        ASSETS / "faces/multiface.jpg",
    ]
    step = len(scenes) // (PHOTOGRAPHS - len(people))
    folder.mkdir()
    for number, path in enumerate([*people, *scenes[::step]][:PHOTOGRAPHS]):
        shutil.copy(path, folder / f"{number:02d}.jpg")
    return folder


def save_network(name: str, folder: Path, pictures: Path) -> "ExportConfig":
    """timm's ``name`` as a plain state dict, and the export that takes it with default flags.

    Batch normalisation gets the statistics of the photographs: with those it was born with,
    outputs of deep networks hardly depend on the picture, and comparing them proves nothing.
    """
    import torch

    from edgecnn_export.config import ExportConfig

    torch.manual_seed(0)
    module = build(name)
    path = folder / f"{name}.pt"
    set_statistics(module, pictures)
    torch.save(module.state_dict(), path)
    config = ExportConfig(
        model=str(path), images=str(pictures), out=str(folder / f"{name}.edge"), overwrite=True
    )
    if name in TORCHVISION:
        arch = f"torchvision.models:{name}"
        return msgspec.structs.replace(config, arch=arch, input="224x224", preset="imagenet")
    return msgspec.structs.replace(config, arch=f"timm.models:{name}")


def build(name: str) -> "nn.Module":
    """The architecture with random weights, in evaluation mode."""
    timm = import_timm()
    if name in TORCHVISION:
        import torchvision

        module: nn.Module = torchvision.models.get_model(name, weights=None)
        module.pretrained_cfg = IMAGENET
    else:
        module = timm.create_model(name, pretrained=False)
    return module.eval()


@cache
def import_timm() -> ModuleType:
    """timm, also where torchvision is a build for another torch.

    timm imports torchvision, which then fails for want of two operators that timm never calls.
    """
    import torch

    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        KEPT.append(library)
    import timm

    found: ModuleType = timm
    return found


def set_statistics(module: "nn.Module", pictures: Path) -> None:
    """Make the running statistics of batch normalisation those of the pictures."""
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    cfg = module.pretrained_cfg
    _, height, width = cfg["input_size"]
    images = [cv2.imread(str(path)) for path in sorted(pictures.iterdir())]
    stack = np.stack([cv2.resize(i, (width, height), interpolation=cv2.INTER_AREA) for i in images])
    mean, std = (np.array(cfg[key], np.float32) for key in ("mean", "std"))
    planes = ((stack[..., ::-1] / np.float32(255) - mean) / std).transpose(0, 3, 1, 2)
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        module(torch.from_numpy(np.ascontiguousarray(planes)))
    module.eval()
