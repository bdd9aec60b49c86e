"""Random rotation, flip, scale and shift of a whole batch in one resampling."""

import math
from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor

from edgecnn.train.config import Augmentation

DEGREES = 12.0
SCALE = 0.12
SHIFT = 0.10


def augment(batch: Tensor, kinds: Collection[Augmentation], generator: torch.Generator) -> Tensor:
    """Transform each picture of a batch at random.

    Uniform within ±12° (rotate), a factor of 0.88 to 1.12 (scale), ±10 % of the side (shift),
    mirrored left to right with probability ½ (flip). Bilinear; pixels from outside repeat the
    border.

    Args:
        batch: float32[N,C,H,W].
        kinds: Which of the transforms are applied.
        generator: The only source of random numbers.

    Returns:
        A new tensor of the same shape; ``batch`` itself without ``kinds``.
    """
    if not kinds:
        return batch

    def spread(limit: float, kind: Augmentation) -> Tensor:
        drawn = torch.rand(len(batch), generator=generator) * 2 - 1
        return drawn * (limit if kind in kinds else 0.0)

    angle = spread(math.radians(DEGREES), "rotate")
    zoom = 1 + spread(SCALE, "scale")
    move_x, move_y = spread(2 * SHIFT, "shift"), spread(2 * SHIFT, "shift")
    mirror = torch.where(spread(1.0, "flip") < 0, -1.0, 1.0)
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    rows = torch.stack([cos * mirror, -sin, move_x, sin * mirror, cos, move_y], dim=1)
    grid = F.affine_grid(rows.view(-1, 2, 3), list(batch.shape), align_corners=False)
    return F.grid_sample(batch, grid, padding_mode="border", align_corners=False)
