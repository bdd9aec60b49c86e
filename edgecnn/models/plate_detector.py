"""Finds license plates: a narrow residual trunk, a feature pyramid, four corners for each cell.

Anchor-free, one class, strides 8, 16 and 32, ReLU throughout, half a million weights.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecnn.models.conv_block import conv_block

STRIDES = (8, 16, 32)
UNIT = 4.0
"""Strides that a raw number of 1 moves a corner from the middle of its cell."""
STEM, CHANNELS, HEAD = (16, 32), (48, 64, 96), 48
"""Channels at half and a quarter of the input's size, at each stride, and of the heads."""
CORNERS = 4
PRIOR = -4.6
"""Logit of the score that an untrained head gives, of 0.01 (Lin et al., 2017)."""


class PlateDetector(nn.Module):
    """float32[N,3,h,w], 0..1 → float32[N,13,A]; h and w are multiples of 32.

    A column for each cell: center x, y, width, height of the box around the corners, all in pixels
    of the input; the score, 0..1; x, y of the plate's own upper left, upper right, lower right and
    lower left corner. The cells of stride 8 come first, row by row.
    """

    def __init__(self) -> None:
        """Random weights."""
        super().__init__()
        eighth, sixteenth, last = CHANNELS
        self.quarter = nn.Sequential(conv_block(3, STEM[0], 2), conv_block(*STEM, 2))
        self.eighth = nn.Sequential(conv_block(STEM[1], eighth, 2), Residual(eighth))
        self.sixteenth = nn.Sequential(conv_block(eighth, sixteenth, 2), Residual(sixteenth))
        self.last = nn.Sequential(conv_block(sixteenth, last, 2), Residual(last))
        self.lateral = nn.ModuleList(
            (nn.Conv2d(sixteenth, eighth, 1), nn.Conv2d(last, sixteenth, 1))
        )
        self.mix = conv_block(sixteenth, sixteenth)
        self.heads = nn.ModuleList(_head(channels) for channels in CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        """A batch's table."""
        corners, logits, _ = self.cells(x)
        low, high = corners.amin(1), corners.amax(1)
        table = [(low + high) / 2, high - low, logits.sigmoid(), corners.flatten(1, 2)]
        return torch.cat(table, 1)

    def cells(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What each cell finds, before its score is one.

        Returns:
            The corners, float32[N,4,2,A] in pixels; the logits, float32[N,1,A]; the middle and the
            stride of each cell, float32[3,A].
        """
        eighth = self.eighth(self.quarter(x))
        sixteenth = self.sixteenth(eighth)
        last = self.last(sixteenth)
        sixteenth = self.mix(F.relu(sixteenth + _doubled(self.lateral[1](last))))
        eighth = F.relu(eighth + _doubled(self.lateral[0](sixteenth)))
        pyramid = (eighth, sixteenth, last)
        raws = [head(level) for head, level in zip(self.heads, pyramid, strict=True)]
        grid = torch.cat([_grid(raw, s) for raw, s in zip(raws, STRIDES, strict=True)], 1)
        raw = torch.cat([raw.flatten(2) for raw in raws], 2).float()
        moves = raw[:, 1:].reshape(-1, CORNERS, 2, raw.shape[2])
        return grid[:2] + moves * (UNIT * grid[2]), raw[:, :1], grid


class Residual(nn.Module):
    """Two convolutions, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.body = nn.Sequential(conv_block(channels, channels), second, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """float32[N,C,h,w], as the input."""
        return F.relu(x + self.body(x))


def _head(channels: int) -> nn.Sequential:
    out = nn.Conv2d(HEAD, 1 + 2 * CORNERS, 1)
    assert out.bias is not None
    nn.init.normal_(out.weight, std=0.01)
    nn.init.zeros_(out.bias)
    nn.init.constant_(out.bias[:1], PRIOR)
    return nn.Sequential(conv_block(channels, HEAD), out)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0)


def _grid(raw: Tensor, stride: int) -> Tensor:
    """Middle x, y in pixels and stride of each cell, float32[3,rows·columns]."""
    rows, columns = raw.shape[2:]
    y, x = torch.meshgrid(
        torch.arange(rows, device=raw.device),
        torch.arange(columns, device=raw.device),
        indexing="ij",
    )
    middles = (torch.stack([x, y]).reshape(2, -1).float() + 0.5) * stride
    return torch.cat([middles, torch.full_like(middles[:1], float(stride))])
