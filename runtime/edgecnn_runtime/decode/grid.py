"""The cells of a head's grids, in the order in which its rows have them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edgecnn_runtime.bundle.manifest import Input
from edgecnn_runtime.types import Floats

STRIDES = (8, 16, 32)
"""Of the grids of most detectors."""


class Grid(NamedTuple):
    """All cells: by stride, then row by row.

    Attributes:
        cells: Column and row of each, float32[A,2].
        strides: Pixels per cell of each, float32[A,1].
    """

    cells: Floats
    strides: Floats


def grid_cells(size: Input, strides: Sequence[int]) -> Grid:
    """Lay out the cells of a network's input; a cell that the edge cuts counts as one."""
    sizes = [(-(-size.width // stride), -(-size.height // stride)) for stride in strides]
    counts = [columns * rows for columns, rows in sizes]
    return Grid(
        np.concatenate([cells_of(columns, rows) for columns, rows in sizes]),
        np.repeat(np.array(strides, np.float32), counts)[:, None],
    )


def cells_of(columns: int, rows: int) -> Floats:
    """Column and row of every cell of one grid, row by row: float32[rows·columns, 2]."""
    y, x = np.divmod(np.arange(columns * rows), columns)
    return np.stack((x, y), axis=1).astype(np.float32)
