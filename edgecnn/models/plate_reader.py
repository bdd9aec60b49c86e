"""Reads license plates of one or two lines, and guesses the country."""

import torch
from torch import Tensor, nn

from edgecnn.models.conv_block import conv_block

WIDTHS = (24, 40, 72, 96, 128)
"""Channels of the blocks."""


class Residual(nn.Module):
    """A block whose input is added to its output."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        padding = (size[0] // 2, size[1] // 2)
        self.block = nn.Sequential(
            conv_block(channels, channels, size=size),
            nn.Conv2d(channels, channels, size, padding=padding, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """A batch's features."""
        result: Tensor = self.relu(x + self.block(x))
        return result


class PlateReader(nn.Module):
    """float32[N,1,40,160], 0..1 → characters' logits [N,80,1+C], and countries' [N,K].

    Class 0 is the blank. Steps 0 to 39 read a plate's upper line from left to right and are blank
    where it has one line; steps 40 to 79 read its only or lower line. Both readings see the
    whole height.
    """

    def __init__(self, characters: int, countries: int) -> None:
        """Random weights.

        Args:
            characters: C.
            countries: K.
        """
        super().__init__()
        first, second, third, fourth, last = WIDTHS
        self.features = nn.Sequential(
            conv_block(1, first, 2),
            conv_block(first, second, 2),
            conv_block(second, third),
            conv_block(third, third, (2, 1)),
            conv_block(third, fourth),
        )
        self.upper = conv_block_of_height(fourth, last, 5)
        self.lower = conv_block_of_height(fourth, last, 5)
        self.mix = nn.Sequential(Residual(last, (1, 5)), Residual(last, (1, 5)))
        self.characters = nn.Conv2d(last, 1 + characters, 1)
        self.countries = nn.Linear(2 * last, countries)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """A batch's logits."""
        features = self.features(x)
        lines = self.mix(torch.cat([self.upper(features), self.lower(features)], 2))
        logits = self.characters(lines).flatten(2).permute(0, 2, 1)
        countries = self.countries(lines.mean(3).flatten(1))
        return logits, countries


def conv_block_of_height(inputs: int, outputs: int, height: int) -> nn.Sequential:
    """Convolution over the whole height, batch normalization and ReLU."""
    conv = nn.Conv2d(inputs, outputs, (height, 3), padding=(0, 1), bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())
