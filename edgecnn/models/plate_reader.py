"""Reads license plates of one or two lines, and guesses the country."""

import torch
from torch import Tensor, nn

from edgecnn.models.conv_block import conv_block

WIDTHS = (24, 40, 64, 96, 128)
"""Channels of the blocks."""
REACH = 7
"""Steps that a block of the context looks at."""
BLANK = 4.0
"""The blank's logit at first: most steps are blank, and learning that takes long."""


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
        self.upper = column_block(fourth, last, 5)
        self.lower = column_block(fourth, last, 5)
        self.context = nn.Sequential(Context(last), Context(last), Context(last))
        self.characters = nn.Conv2d(last, 1 + characters, 1)
        self.countries = nn.Linear(last, countries)
        assert self.characters.bias is not None
        nn.init.constant_(self.characters.bias[:1], BLANK)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """A batch's logits."""
        features = self.features(x)
        lines = self.context(torch.cat([self.upper(features), self.lower(features)], 2))
        logits = self.characters(lines).flatten(2).permute(0, 2, 1)
        return logits, self.countries(lines.mean((2, 3)))


class Context(nn.Module):
    """What stands to the left and to the right is added to a step: float32[N,C,2,T]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        pad = REACH // 2
        self.block = nn.Sequential(
            nn.Conv2d(
                channels, channels, (1, REACH), padding=(0, pad), groups=channels, bias=False
            ),
            nn.BatchNorm2d(channels),
            conv_block(channels, channels, size=(1, 1)),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """A batch's features."""
        result: Tensor = self.relu(x + self.block(x))
        return result


def column_block(inputs: int, outputs: int, height: int) -> nn.Sequential:
    """Convolution over the whole height, batch normalization and ReLU."""
    conv = nn.Conv2d(inputs, outputs, (height, 1), bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())
