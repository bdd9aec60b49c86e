"""A MobileNetV2 (Sandler et al., 2018) with random weights, as a bundle: 3.5 M parameters."""

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from lib.material import write_pictures

if TYPE_CHECKING:
    from torch import nn

STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip
"""Expansion, channels, repeats, first stride: table 2 of the paper."""


def export_mobilenet(folder: Path) -> Path:
    """The network at 224x224 as a bundle in ``folder``, verified on random colors."""
    import torch

    from edgecnn_export.config import ExportConfig
    from edgecnn_export.pipeline import export

    torch.manual_seed(0)
    picture = torch.zeros(1, 3, 224, 224)
    module = mobilenet_v2().eval()
    torch.onnx.export(
        module, (picture,), folder / "mobilenetv2.onnx", dynamo=True, external_data=False,
        opset_version=20, verbose=False, dynamic_shapes=({0: torch.export.Dim("N")},),
    )  # fmt: skip
    coarse = np.random.default_rng(0).integers(0, 256, (16, 9, 16, 3), np.uint8)
    images = (np.asarray(cv2.resize(image, (640, 360)), np.uint8) for image in coarse)
    pictures = write_pictures(folder / "pictures", images)
    config = ExportConfig(
        model=str(folder / "mobilenetv2.onnx"), out=str(folder / "mobilenetv2.edge"),
        input="224x224", task="classify", preset="imagenet", color="rgb", images=str(pictures),
    )  # fmt: skip
    return export(config).bundle.path


def mobilenet_v2() -> "nn.Module":
    """The paper's network, width 1.0, 1000 classes."""
    from torch import nn

    def unit(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6())

    class Bottleneck(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
            super().__init__()
            hidden = inputs * expansion
            self.skips = stride == 1 and inputs == outputs
            self.body = nn.Sequential(
                unit(inputs, hidden, 1) if expansion > 1 else nn.Identity(),
                unit(hidden, hidden, 3, stride, hidden),
                nn.Conv2d(hidden, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )

        def forward(self, x):
            """Add the input where the shapes allow it."""
            return x + self.body(x) if self.skips else self.body(x)

    layers, inputs = [unit(3, 32, 3, 2)], 32
    for expansion, outputs, repeats, first in STAGES:
        for number in range(repeats):
            layers.append(Bottleneck(inputs, outputs, first if number == 0 else 1, expansion))
            inputs = outputs
    tail = (unit(inputs, 1280, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000))
    return nn.Sequential(*layers, *tail)
