"""Convolution, batch normalization and ReLU."""

from torch import nn


def conv_block(
    inputs: int,
    outputs: int,
    stride: int | tuple[int, int] = 1,
    *,
    size: tuple[int, int] = (3, 3),
) -> nn.Sequential:
    """Convolution, batch normalization and ReLU."""
    padding = (size[0] // 2, size[1] // 2)
    conv = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())
