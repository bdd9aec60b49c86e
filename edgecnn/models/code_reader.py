"""Reads a line of text: four convolutions, and a look at the neighbors of each step."""

import torch
from torch import Tensor, nn

from edgecnn.models.conv_block import conv_block


class CodeReader(nn.Module):
    """float32[N,1,32,w] of a code, 0..1 → logits of characters float32[N,w/4,C], 0 is the blank."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv_block(1, 16, 2),
            conv_block(16, 32, 2),
            conv_block(32, 48, (2, 1)),
            conv_block(48, 64, (2, 1)),
        )
        self.mix = nn.Sequential(conv_block(128, 64, size=(1, 5)), nn.Conv2d(64, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        """A batch's logits."""
        high = self.features(x)
        flat = torch.cat([high[:, :, :1], high[:, :, 1:2]], 1)
        logits: Tensor = self.mix(flat).squeeze(2).permute(0, 2, 1)
        return logits
