"""NanoDet-Plus, whose package no index has: its head on a few layers, and its published formulas.

Source: github.com/RangiLyu/nanodet, ``nanodet_plus_head.py`` (``get_bboxes``) and ``nms.py``.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import torch
from heads.common import plain, plane, read, resized, set_statistics, spread, to_onnx
from heads.faces import Pyramid
from torch import nn

STRIDES = (8, 16, 32, 64)
CLASSES, BINS = 80, 8


class NanoDet(nn.Module):
    """Class scores and bins of the four distances of each cell."""

    def __init__(self):
        super().__init__()
        self.pyramid = Pyramid(4, (CLASSES, 4 * BINS))

    def forward(self, images):
        """float32[N,A,80+32]."""
        levels = self.pyramid(images)
        return torch.cat([torch.cat([s.sigmoid(), bins], 2) for s, bins in levels], 1)


def nanodet(*, out, pictures, threshold, iou):
    """The published decoding of such a table."""
    torch.manual_seed(0)
    size = 320
    model, images = NanoDet(), read(pictures)
    mean, std = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
    planes = torch.cat(
        [plane(resized(image, size, size), mean, std, rgb=False) for image in images]
    )
    set_statistics(model, planes)
    heads = model.pyramid.heads
    with torch.no_grad():
        for _, bins in heads:
            bins.weight *= 4.0
    spread([(scores, slice(None)) for scores, _ in heads], lambda: model(planes), threshold)
    results = []
    with torch.no_grad():
        tables = model(planes)
    for table, image in zip(tables, images, strict=True):
        boxes, scores, classes = decode(table, size, threshold, iou)
        gain = torch.tensor(image.shape[1::-1]).repeat(2) / size
        results.append(plain(boxes * gain, scores, classes, image))
    return {
        "model": to_onnx(model, planes[:1], Path(out) / "nanodet.onnx", ["output"]),
        "results": results,
    }


def decode(table, size, threshold, iou):
    """Boxes in pixels of the input, scores and classes of float32[A,112]."""
    from torchvision.ops import nms  # importable since heads.common declares its operators

    points, strides = [], []
    for stride in STRIDES:
        x = torch.arange(-(-size // stride)) * stride
        y, x = torch.meshgrid(x, x, indexing="ij")
        points.append(torch.stack([x.flatten(), y.flatten()], 1))
        strides.append(torch.full((x.numel(), 1), stride))
    points, strides = torch.cat(points).float(), torch.cat(strides).float()
    bins = table[:, CLASSES:].reshape(-1, 4, BINS).softmax(2)
    distances = bins @ torch.arange(BINS).float() * strides
    boxes = torch.cat([points - distances[:, :2], points + distances[:, 2:]], 1).clamp(0, size)
    cells, classes = (table[:, :CLASSES] > threshold).nonzero(as_tuple=True)
    scores, boxes = table[cells, classes], boxes[cells]
    stay = nms(boxes + classes[:, None] * (boxes.max() + 1), scores, iou)
    return boxes[stay], scores[stay], classes[stay]
