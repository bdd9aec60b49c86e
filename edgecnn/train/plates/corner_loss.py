"""What a detector of corners still gets wrong."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from edgecnn.models.plate_detector import STRIDES, PlateDetector
from edgecnn.train.plates.scenes import Scene
from edgecnn.train.plates.training_state import prefers_bfloat16

SPANS = ((0.0, 72.0), (44.0, 170.0), (120.0, np.inf))
"""Sizes of plates, the larger one of width and twice the height in pixels, that each stride finds;
where two overlap both do, so that no plate falls between them."""
NEAR = (1.5, 0.75)
"""Cells whose middle is as near to a plate's, in strides along x and y, learn to find it."""
LEAST = 0.25
"""The score that a cell learns for a plate whose box it does not yet find."""
CORNER_WEIGHT = 4.0


def corner_loss(network: PlateDetector, scenes: Sequence[Scene]) -> Tensor:
    """The loss of a batch, a number.

    Scores learn how well their boxes overlap, by quality focal loss (X. Li et al., "Generalized
    Focal Loss", 2020); corners learn by smooth L1 in units of the plate's size, and by the
    generalized IoU of the boxes around them.

    Args:
        network: In training mode; bfloat16 is used where the processor has it.
        scenes: Of one size.
    """
    device = next(network.parameters()).device
    pixels = torch.from_numpy(np.stack([scene.pixels for scene in scenes])).to(device)
    planes = (pixels.permute(0, 3, 1, 2).float() / 255).to(memory_format=torch.channels_last)
    with torch.autocast(device.type, torch.bfloat16, enabled=prefers_bfloat16(device)):
        corners, logits, grid = network.cells(planes)
    logits = logits[:, 0].float()
    item, cell, truth = assign([scene.plates for scene in scenes], grid.cpu().numpy())
    at = torch.from_numpy(item).to(device), torch.from_numpy(cell).to(device)
    real = torch.from_numpy(truth).to(device)
    ours = corners.float().permute(0, 3, 1, 2)[at]
    overlap, generalized = _overlaps(ours, real)
    target = torch.zeros_like(logits)
    target[at] = LEAST + (1 - LEAST) * overlap.detach()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    score = ((target - logits.sigmoid()).abs() ** 2 * entropy).sum()
    size = (real.amax(1) - real.amin(1)).prod(1).sqrt()[:, None, None]
    places = F.smooth_l1_loss(ours / size, real / size, beta=0.05, reduction="none")
    total = score + CORNER_WEIGHT * places.mean((1, 2)).sum() + (1 - generalized).sum()
    return total / max(len(item), 1)


def assign(
    plates: Sequence[NDArray[np.float32]], grid: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Which cells are to find which plates.

    Args:
        plates: float32[P,4,2] of each picture.
        grid: float32[3,A], middle and stride of each cell.

    Returns:
        int64[K] pictures, int64[K] cells, float32[K,4,2] corners.
    """
    middle, stride = grid[:2].T, grid[2]
    spans = np.array([SPANS[STRIDES.index(int(value))] for value in stride], np.float32)
    items: list[int] = []
    cells: list[int] = []
    corners: list[NDArray[np.float32]] = []
    for number, quads in enumerate(plates):
        for quad in quads:
            low, high = quad.min(0), quad.max(0)
            size = max(high[0] - low[0], 2 * (high[1] - low[1]))
            away = np.abs(middle - (low + high) / 2) / stride[:, None]
            near = (away[:, 0] < NEAR[0]) & (away[:, 1] < NEAR[1])
            chosen = np.flatnonzero(near & (spans[:, 0] <= size) & (size <= spans[:, 1]))
            items += [number] * len(chosen)
            cells += chosen.tolist()
            corners += [quad] * len(chosen)
    truth = np.array(corners, np.float32).reshape(-1, 4, 2)
    return np.array(items, np.int64), np.array(cells, np.int64), truth


def _overlaps(ours: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalized IoU of the boxes around corners (Rezatofighi et al., CVPR 2019)."""
    low, high = ours.amin(1), ours.amax(1)
    real_low, real_high = real.amin(1), real.amax(1)
    both = (torch.minimum(high, real_high) - torch.maximum(low, real_low)).clamp(min=0).prod(1)
    union = (high - low).prod(1) + (real_high - real_low).prod(1) - both
    hull = (torch.maximum(high, real_high) - torch.minimum(low, real_low)).prod(1)
    iou = both / union.clamp(min=1e-6)
    return iou, iou - (hull - union) / hull.clamp(min=1e-6)
