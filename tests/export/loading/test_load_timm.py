"""What a timm model says of its own input becomes part of the spec."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from edgecnn_export.checkpoint import save_checkpoint
from edgecnn_export.config import ExportConfig
from edgecnn_export.loading.architecture import timm_spec
from edgecnn_export.loading.load import load_model

CONFIG = {
    "input_size": (3, 224, 192),
    "interpolation": "bicubic",
    "crop_pct": 0.95,
    "crop_mode": "center",
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}


def net(channels: int = 3, classes: int = 10, **config: Any) -> nn.Module:
    module = nn.Sequential(nn.Conv2d(channels, 4, 3))
    vars(module).update(pretrained_cfg=CONFIG | config, num_classes=classes)  # as timm sets them
    return module


def test_fractions_become_pixel_units() -> None:
    assert timm_spec(net()) == {
        "input": "192x224",
        "mean": (123.675, 116.28, 103.53),
        "std": (58.395, 57.12, 57.375),
        "color": "rgb",
        "resize": "crop",
        "interpolation": "linear",
        "crop_pct": 0.95,
        "task": "classify",
    }


@pytest.mark.parametrize(
    ("module", "key", "value"),
    [
        (net(crop_mode="squash"), "resize", "stretch"),
        (net(crop_mode="border"), "resize", "letterbox"),
        (net(crop_pct=None), "crop_pct", 0.875),
        (net(classes=0), "task", "embed"),
    ],
)
def test_the_rest_of_its_configuration(module: nn.Module, key: str, value: object) -> None:
    assert timm_spec(module)[key] == value


@pytest.mark.parametrize("module", [nn.Conv2d(3, 4, 3), net(channels=1), net(mean=None)])
def test_nothing_is_said_where_nothing_is_known(module: nn.Module) -> None:
    assert timm_spec(module) == {}


@pytest.mark.parametrize(
    ("arch", "arch_args", "size", "mean"),
    [
        ("timm.models:resnet18", {"num_classes": 4}, "224x224", (123.675, 116.28, 103.53)),
        ("timm:create_model", {"model_name": "resnet18"}, "224x224", (123.675, 116.28, 103.53)),
        ("timm.models:vit_tiny_patch16_224", {"img_size": 96}, "96x96", (127.5, 127.5, 127.5)),
    ],
)
def test_real_networks(
    timm: ModuleType,
    tmp_path: Path,
    arch: str,
    arch_args: dict[str, Any],
    size: str,
    mean: tuple[float, ...],
) -> None:
    name = arch_args.get("model_name", arch.partition(":")[2])
    rest = {key: value for key, value in arch_args.items() if key != "model_name"}
    model = timm.create_model(name, **rest)
    torch.save(model.state_dict(), tmp_path / "weights.pt")

    config = ExportConfig(model=str(tmp_path / "weights.pt"), arch=arch, arch_args=arch_args)
    loaded = load_model(config)

    assert loaded.origin == "timm"
    assert loaded.spec["input"] == size
    assert loaded.spec["mean"] == mean
    ExportConfig(**loaded.spec)


@pytest.mark.parametrize(
    ("spec", "origin", "mean"),
    [
        ({}, "timm", (127.5,) * 3),
        ({"mean": (1.0, 2.0, 3.0)}, "checkpoint", (1.0, 2.0, 3.0)),
        ({"preset": "unit"}, "checkpoint", None),
    ],
)
def test_a_checkpoint_knows_better(
    timm: ModuleType, tmp_path: Path, spec: dict[str, Any], origin: str, mean: Any
) -> None:
    arch, arch_args = "timm.models:vit_tiny_patch16_224", {"img_size": 32, "depth": 1}
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1)
    path = tmp_path / "model.pt"
    save_checkpoint(path, model, arch=arch, arch_args=arch_args, spec=spec)
    loaded = load_model(ExportConfig(model=str(path), arch=arch))
    assert loaded.origin == origin
    assert loaded.spec.get("mean") == mean
