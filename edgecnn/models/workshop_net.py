"""A small trunk with one head, of the task that is asked for: what finds things in a workshop."""

from collections.abc import Mapping
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecnn.models.conv_block import conv_block

STRIDE, UNIT = 8, 32.0
"""Input pixels per cell of a table, and what a box of exp(0) measures."""
WEIGHTS = 8
"""Maps that a mask is mixed of."""
NARROW, MIDDLE, WIDE = 24, 40, 48
"""Channels at a quarter, an eighth, and less of the input's size."""
EPS = 1e-6


class WorkshopNet(nn.Module):
    """float32[N,3,h,w], 0..1 → what the task's head gives; h and w are multiples of 32.

    ======== =====================================================================
    detect   [N,4+C,A]: cx, cy, w, h in pixels, and probabilities
    pose     [N,4+C+3P,A]: the same, then x, y, visibility of each point
    obb      [N,4+C+1,A]: the same, w is the longer side; then the angle
    segment  [N,4+C+M,A] with weights of maps, and the maps [N,M,h/4,w/4]
    surfaces [N,C,h/4,w/4]: logits
    ======== =====================================================================
    """

    def __init__(self, task: str, classes: int, points: int = 0) -> None:
        """Random weights.

        Args:
            task: A key of HEADS.
            classes: C.
            points: P, of a pose.
        """
        super().__init__()
        self.trunk = Trunk()
        self.head = make_head(task, classes, points)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """A batch's outputs."""
        result: Tensor | tuple[Tensor, ...] = self.head.decode(*self.trunk(x))
        return result


class Trunk(nn.Module):
    """float32[N,3,h,w] → features [N,NARROW,h/4,w/4] and [N,MIDDLE,h/8,w/8]."""

    def __init__(self) -> None:
        super().__init__()
        self.quarter = nn.Sequential(conv_block(3, 12, 2), conv_block(12, NARROW, 2))
        self.eighth = nn.Sequential(conv_block(NARROW, MIDDLE, 2), conv_block(MIDDLE, MIDDLE))
        self.sixteenth = nn.Sequential(conv_block(MIDDLE, WIDE, 2), conv_block(WIDE, WIDE))
        self.last = nn.Sequential(conv_block(WIDE, WIDE, 2), conv_block(WIDE, WIDE))
        self.up = nn.Conv2d(WIDE, MIDDLE, 1)
        self.upper = nn.Conv2d(MIDDLE, NARROW, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features of both sizes; each knows what is around it."""
        quarter = self.quarter(x)
        eighth = self.eighth(quarter)
        sixteenth = self.sixteenth(eighth)
        deep = sixteenth + F.interpolate(self.last(sixteenth), scale_factor=2.0)
        cells = F.relu(eighth + F.interpolate(self.up(deep), scale_factor=2.0))
        fine = F.relu(quarter + F.interpolate(self.upper(cells), scale_factor=2.0))
        return fine, cells


class Table(nn.Module):
    """Boxes, classes, and whatever else a box has, one for each cell."""

    def __init__(self, classes: int, extra: int) -> None:
        super().__init__()
        self.classes = classes
        self.mix = conv_block(MIDDLE, WIDE)
        self.out = nn.Conv2d(WIDE, 4 + classes + extra, 1)
        assert self.out.bias is not None
        nn.init.constant_(self.out.bias[4 : 4 + classes], -4.0)

    def forward(self, _fine: Tensor, cells: Tensor) -> Tensor:
        """Raw numbers, float32[N,4+C+extra,h/8,w/8]."""
        raw: Tensor = self.out(self.mix(cells))
        return raw

    def boxes(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes and probabilities, [N,4+C,A]; the raw rest, [N,extra,A]; the cells, [1,2,A]."""
        rows, columns = raw.shape[2:]
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        middles = (torch.stack([x, y]).reshape(1, 2, -1).float() + 0.5) * STRIDE
        flat = raw.flatten(2)
        centers = middles + flat[:, :2] * STRIDE
        sizes = torch.exp(flat[:, 2:4].clamp(-6, 6)) * UNIT
        scores = torch.sigmoid(flat[:, 4 : 4 + self.classes])
        return torch.cat([centers, sizes, scores], 1), flat[:, 4 + self.classes :], middles


class DetectHead(Table):
    """Upright boxes."""

    def __init__(self, classes: int, _points: int) -> None:
        super().__init__(classes, 0)

    def decode(self, fine: Tensor, cells: Tensor) -> Tensor:
        """[N,4+C,A]."""
        return self.boxes(self(fine, cells))[0]


class PoseHead(Table):
    """Boxes and the points inside them."""

    def __init__(self, classes: int, points: int) -> None:
        super().__init__(classes, 3 * points)
        self.points = points

    def decode(self, fine: Tensor, cells: Tensor) -> Tensor:
        """[N,4+C+3P,A]."""
        table, rest, middles = self.boxes(self(fine, cells))
        joints = rest.reshape(-1, self.points, 3, rest.shape[2])
        places = joints[:, :, :2] * UNIT + middles[:, None]
        visibility = torch.sigmoid(joints[:, :, 2:])
        return torch.cat([table, torch.cat([places, visibility], 2).flatten(1, 2)], 1)


class ObbHead(Table):
    """Turned boxes; the network gives sine and cosine of twice the angle."""

    def __init__(self, classes: int, _points: int) -> None:
        super().__init__(classes, 2)

    def decode(self, fine: Tensor, cells: Tensor) -> Tensor:
        """[N,4+C+1,A]."""
        table, rest, _ = self.boxes(self(fine, cells))
        sine, cosine = rest[:, :1], rest[:, 1:]
        length = torch.sqrt(sine * sine + cosine * cosine + EPS)
        angle = torch.atan(sine / (length + cosine + EPS))  # the tangent of half an angle
        return torch.cat([table, angle], 1)


class SegmentHead(Table):
    """Boxes with a mask each: the weighted sum of the maps is positive inside."""

    def __init__(self, classes: int, _points: int) -> None:
        super().__init__(classes, WEIGHTS)
        self.maps = nn.Sequential(conv_block(NARROW, NARROW), nn.Conv2d(NARROW, WEIGHTS, 1))

    def decode(self, fine: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        """[N,4+C+M,A] and [N,M,h/4,w/4]."""
        table, weights, _ = self.boxes(self(fine, cells))
        return torch.cat([table, weights], 1), self.maps(fine)


class SurfacesHead(nn.Module):
    """What each place shows."""

    def __init__(self, classes: int, _points: int) -> None:
        super().__init__()
        self.mix = conv_block(NARROW, NARROW)
        self.out = nn.Conv2d(NARROW, classes, 1)

    def forward(self, fine: Tensor, _cells: Tensor) -> Tensor:
        """Logits, [N,C,h/4,w/4]."""
        logits: Tensor = self.out(self.mix(fine))
        return logits

    decode = forward


AnyHead: TypeAlias = DetectHead | PoseHead | ObbHead | SegmentHead | SurfacesHead
HEADS: Mapping[str, type[AnyHead]] = {
    "detect": DetectHead,
    "pose": PoseHead,
    "obb": ObbHead,
    "segment": SegmentHead,
    "surfaces": SurfacesHead,
}


def make_head(task: str, classes: int, points: int = 0) -> AnyHead:
    """The head of a task, with random weights."""
    return HEADS[task](classes, points)
