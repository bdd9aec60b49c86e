"""A ShuffleNetV2 (Ma et al., 2018) of width 1.0: channel split, shuffle, depthwise convolutions."""

import torch
from torch import Tensor, nn

STAGES = ((116, 4), (232, 8), (464, 4))
"""Channels and units: table 5 of the paper."""


def unit(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    """Convolution and normalization, and ReLU behind pointwise ones."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    after = nn.Identity() if groups > 1 else nn.ReLU(inplace=True)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), after)


class Shuffle(nn.Module):
    """A unit of figure 3c, or 3d where it halves the picture."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        own = inputs if stride > 1 else half
        self.left = (
            nn.Sequential(unit(inputs, inputs, 3, 2, inputs), unit(inputs, half, 1))
            if stride > 1
            else nn.Identity()
        )
        self.right = nn.Sequential(
            unit(own, half, 1), unit(half, half, 3, stride, half), unit(half, half, 1)
        )
        self.splits = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """float32[N,inputs,H,W] → float32[N,outputs,H/stride,W/stride]."""
        left, right = x.chunk(2, 1) if self.splits else (x, x)
        joined = torch.cat([self.left(left), self.right(right)], 1)
        n, c, h, w = joined.shape
        return joined.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def shufflenet(classes: int = 1000) -> nn.Module:
    """float32[N,3,224,224] → logits[N,classes]."""
    layers: list[nn.Module] = [unit(3, 24, 3, 2), nn.MaxPool2d(3, 2, 1)]
    channels = 24
    for width, count in STAGES:
        layers += [
            Shuffle(channels, width, 2),
            *(Shuffle(width, width, 1) for _ in range(count - 1)),
        ]
        channels = width
    layers += [unit(channels, 1024, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(1024, classes))
