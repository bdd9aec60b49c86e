"""YOLOv8n's layers, with random weights: what its published configuration file describes.

Cross-stage blocks, a feature pyramid, and a head whose box sides are expected values over 16 bins.
"""

import torch
from torch import Tensor, nn

from lib.timm_models import set_statistics

WIDTH, HEIGHT, CLASSES, BINS = 640, 384, 80, 16
STRIDES, CHANNELS = (8, 16, 32), (64, 128, 256)
FOUND = 0.997
"""The share of cells that a random network is made to find nothing in."""


def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> nn.Module:
    """Convolution, normalization and SiLU."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.SiLU())


class Bottleneck(nn.Module):
    """Two convolutions, with their input added where the backbone says so."""

    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(channels, channels, 3), conv(channels, channels, 3))
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """float32[N,C,H,W], as the input."""
        y: Tensor = self.body(x)
        return x + y if self.shortcut else y


class Split(nn.Module):
    """Half of the channels go through bottlenecks, and every step of it is concatenated (C2f)."""

    def __init__(self, inputs: int, outputs: int, count: int, shortcut: bool = False) -> None:
        super().__init__()
        half = outputs // 2
        self.first = conv(inputs, outputs)
        self.blocks = nn.ModuleList(Bottleneck(half, shortcut) for _ in range(count))
        self.last = conv((2 + count) * half, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """float32[N,outputs,H,W]."""
        parts = list(self.first(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        joined: Tensor = self.last(torch.cat(parts, 1))
        return joined


class Pooling(nn.Module):
    """Maxima over 5, 9 and 13 pixels beside the values themselves (SPPF)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.last = conv(channels, channels // 2), conv(2 * channels, channels)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """float32[N,C,H,W]."""
        parts = [self.first(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        joined: Tensor = self.last(torch.cat(parts, 1))
        return joined


class Yolov8n(nn.Module):
    """float32[N,3,HEIGHT,WIDTH] → float32[N,4+CLASSES,A]: cx, cy, w, h in pixels, class scores."""

    anchors: Tensor
    strides: Tensor
    bins: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Sequential(
            conv(3, 16, 3, 2), conv(16, 32, 3, 2), Split(32, 32, 1, True), conv(32, 64, 3, 2),
            Split(64, 64, 2, True),
        )  # fmt: skip
        self.middle = nn.Sequential(conv(64, 128, 3, 2), Split(128, 128, 2, True))
        self.late = nn.Sequential(conv(128, 256, 3, 2), Split(256, 256, 1, True), Pooling(256))
        self.larger = nn.Upsample(scale_factor=2)
        self.up = nn.ModuleList((Split(384, 128, 1), Split(192, 64, 1)))
        self.shrink = nn.ModuleList((conv(64, 64, 3, 2), conv(128, 128, 3, 2)))
        self.down = nn.ModuleList((Split(192, 128, 1), Split(384, 256, 1)))
        self.boxes = nn.ModuleList(_head(inputs, 64, 4 * BINS) for inputs in CHANNELS)
        self.classes = nn.ModuleList(_head(inputs, 80, CLASSES) for inputs in CHANNELS)
        anchors, strides = _anchors()
        self.register_buffer("anchors", anchors)
        self.register_buffer("strides", strides)
        self.register_buffer("bins", torch.arange(float(BINS)).reshape(1, BINS, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """The outputs, as Ultralytics exports them."""
        boxes, logits = self.raw(image)
        cells = boxes.shape[2]
        share = boxes.reshape(-1, 4, BINS, cells).transpose(1, 2).softmax(1)
        before, after = nn.functional.conv2d(
            share, self.bins.reshape(1, BINS, 1, 1)
        )[:, 0].chunk(2, 1)  # fmt: skip
        low, high = self.anchors - before, self.anchors + after
        geometry = torch.cat([(low + high) / 2, high - low], 1) * self.strides
        return torch.cat([geometry, logits.sigmoid()], 1)

    def raw(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The heads' own outputs: float32[N,64,A] and float32[N,CLASSES,A]."""
        p3 = self.early(image)
        p4 = self.middle(p3)
        p5 = self.late(p4)
        m4 = self.up[0](torch.cat([self.larger(p5), p4], 1))
        n3 = self.up[1](torch.cat([self.larger(m4), p3], 1))
        n4 = self.down[0](torch.cat([self.shrink[0](n3), m4], 1))
        n5 = self.down[1](torch.cat([self.shrink[1](n4), p5], 1))
        scales = (n3, n4, n5)
        boxes, classes = (
            torch.cat([head(x).flatten(2) for head, x in zip(heads, scales, strict=True)], 2)
            for heads in (self.boxes, self.classes)
        )
        return boxes, classes


def yolov8n() -> nn.Module:
    """The network for ``--arch``."""
    return Yolov8n()


def random_yolov8n(planes: Tensor) -> Yolov8n:
    """The network with random weights, which finds something in these pictures.

    planes: float32[N,3,HEIGHT,WIDTH].
    """
    torch.manual_seed(0)
    module = Yolov8n()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.3)
    set_statistics(module, planes)
    with torch.no_grad():
        best = module.raw(planes)[1].amax(1)
        for head in module.classes:
            head[-1].bias -= best.quantile(FOUND)  # type: ignore[index, operator] # a Sequential, to torch any Module
    return module.eval()


def _head(inputs: int, width: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        conv(inputs, width, 3), conv(width, width, 3), nn.Conv2d(width, outputs, 1)
    )


def _anchors() -> tuple[Tensor, Tensor]:
    """The cells' centers, float32[2,A], in cells, and their size in pixels, float32[1,A]."""
    centers, sizes = [], []
    for stride in STRIDES:
        y = torch.arange(HEIGHT // stride) + 0.5
        x = torch.arange(WIDTH // stride) + 0.5
        grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1]).reshape(2, -1)
        centers.append(grid)
        sizes.append(torch.full((1, grid.shape[1]), float(stride)))
    return torch.cat(centers, 1), torch.cat(sizes, 1)
